"""Parts that a team has split off itself, weights of classes and the data card, through whole trainings."""

import base64
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_operator.api import ClassWeights, Labels, RunSpec
from PIL import Image

from model_trainer import training
from model_trainer.data.split import Part, split_with_own_parts

Stage = Callable[..., Any]
Spec = Callable[..., RunSpec]


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def shas(*numbers: int) -> list[str]:
    return [f"{number:064x}" for number in numbers]


def test_what_a_team_split_off_stays_and_copies_of_it_are_not_learned_from():
    own = [None, None, None, None, Part.VALIDATION, Part.VALIDATION, Part.TEST, Part.TEST]
    # 2 is also a validation image, 3 also a test image, 6 is in both.
    split = split_with_own_parts(
        shas(0, 1, 2, 3, 2, 6, 3, 6), [0, 1, 0, 1, 0, 1, 1, 0], own, validation_fraction=0.5, test_fraction=0.4
    )
    assert [part.tolist() for part in (split.train, split.validation, split.test)] == [[0, 1], [4], [6, 7]]


def test_one_part_of_its_own_leaves_the_other_to_the_fraction():
    own = [*[None] * 10, Part.TEST]
    high, low = 15 << 252, 1
    split = split_with_own_parts(
        shas(low, *range(high, high + 9), 5), [0, *[1, 0] * 4, 1, 1], own, validation_fraction=0.2, test_fraction=0.1
    )
    assert split.test.tolist() == [10]
    # The lowest hash falls into validation: without a test fraction nothing lies below it.
    assert split.validation.tolist() == [0]
    assert split.train.tolist() == list(range(1, 10))


@pytest.fixture
def parted(few_digits: Path) -> Path:
    """Digits in train/ (eight of each), val/ and test/ (two of each); one test image is also in train/."""
    root = few_digits.parent / "parted"
    for folder in sorted(few_digits.iterdir()):
        for index, file in enumerate(sorted(folder.iterdir())):
            part = "train" if index < 8 else "val" if index < 10 else "test"
            (root / part / folder.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, root / part / folder.name / file.name)
    leaked = next((root / "test" / "3").iterdir())
    shutil.copy(leaked, root / "train" / "3" / "leaked.png")
    return root


def test_own_parts_labels_and_weights_go_through_to_the_published_version(
    parted: Path, tmp_path: Path, stage: Stage, spec: Spec
):
    for part in ("train", "val", "test"):
        lines = [f"{file.stem},number {file.parent.name}" for file in sorted((parted / part).rglob("*.png"))]
        (parted / part / "labels.csv").write_text("\n".join(["id,digit", *lines]))
    store = tmp_path / "store"
    run = spec(
        parted / "train",
        store,
        data={
            "validation_uri": (parted / "val").as_uri(),
            "test_uri": (parted / "test").as_uri(),
            "labels": Labels(file_column="id", class_column="digit"),
            "class_weights": ClassWeights.BALANCED,
        },
    )
    ended = stage("train", run)
    assert ended.code == 0, ended.message
    images = ended.result.images
    assert (images.train, images.validation, images.test) == (80, 20, 20)
    split = read(store / ".runs" / "1" / "split.json")
    assert {entry["key"] for entry in split["test"]} == {
        str(file.relative_to(parted / "test")) for file in (parted / "test").rglob("*.png")
    }
    assert "3/leaked.png" not in {entry["key"] for part in split.values() for entry in part}

    exported = stage("export", run)
    assert (exported.code, exported.result.parity <= 1e-4) == (0, True)
    card = read(store / "1" / "assets.extra" / "data-card.json")
    assert (card["images"], card["distinctImages"], card["notInAPart"], card["badFiles"]) == (121, 120, 1, 0)
    assert card["classes"][3] == {"name": "number 3", "train": 8, "validation": 2, "test": 2}
    assert len(card["duplicates"]) == 1
    sizes = sorted(path.stat().st_size for path in parted.rglob("*.png"))
    middle = {"smallest": sizes[0], "median": sizes[len(sizes) // 2], "largest": sizes[-1], "total": sum(sizes)}
    assert (len(sizes), card["fileSizes"]) == (121, middle)
    mean = np.asarray(Image.open(io.BytesIO(base64.b64decode(card["meanImage"]))))
    assert mean.shape == (10, 10)
    assert card["channelMeans"][0] == pytest.approx(mean.mean() / 255, abs=0.002)


def test_a_class_that_only_the_test_part_has(parted: Path, tmp_path: Path, stage: Stage, spec: Spec):
    shutil.copytree(parted / "test" / "3", parted / "test" / "three")
    ended = stage("train", spec(parted / "train", tmp_path / "store", data={"test_uri": (parted / "test").as_uri()}))
    assert (ended.code, ended.reason) == (65, "BadData")
    assert "has the class 'three', which " in ended.sentence


def test_a_class_whose_every_image_was_split_off(parted: Path, tmp_path: Path, stage: Stage, spec: Spec):
    shutil.rmtree(parted / "train" / "3")
    shutil.copytree(parted / "test" / "3", parted / "train" / "3")
    ended = stage("train", spec(parted / "train", tmp_path / "store", data={"test_uri": (parted / "test").as_uri()}))
    assert (ended.code, ended.reason) == (65, "BadData")
    assert "Every image of the class '3' under " in ended.sentence


def test_a_part_of_its_own_with_nothing_there(parted: Path, tmp_path: Path, stage: Stage, spec: Spec):
    nowhere = (parted / "nowhere").as_uri()
    ended = stage("train", spec(parted / "train", tmp_path / "store", data={"validation_uri": nowhere}))
    assert (ended.code, ended.reason) == (65, "NoImages")
    assert f"No images under {nowhere}: nothing was found there at all" in ended.sentence


class _Labelled:
    """A data set that has labels and nothing else."""

    classes = ("a", "b", "c")

    def labels(self, part: Any) -> Any:
        return np.array([0, 0, 0, 0, 1, 2])[part]


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    data: Any = _Labelled()
    part = np.arange(6)
    weights = training.class_weights(data, part, ClassWeights.BALANCED)
    assert weights is not None
    expected = compute_class_weight("balanced", classes=np.arange(3), y=data.labels(part))
    assert [weights[label] for label in range(3)] == pytest.approx(expected.tolist())
    assert training.class_weights(data, part, None) is None


def test_weights_reach_the_loss(few_digits: Path, tmp_path: Path, stage: Stage, spec: Spec, monkeypatch: Any):
    """With the weight of every class but one at nothing, the model learns to say that one."""
    monkeypatch.setattr(
        training, "class_weights", lambda *_: {label: 1.0 if label == 4 else 0.0 for label in range(10)}
    )
    ended = stage("train", spec(few_digits, tmp_path / "store", epochs=12))
    assert ended.code == 0
    confusion = np.array(read(tmp_path / "store" / ".runs" / "1" / "evaluation.json")["confusionMatrix"])
    assert confusion[:, 4].sum() == confusion.sum()
