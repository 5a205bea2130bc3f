"""A team's own image trains: it is shown no test image, and nothing that it leaves is trusted."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import pytest
from keras_operator.api import ColorMode, Data, DataFormat, OwnContainer, RunSpec, RunStage, Store, Training
from keras_operator.plan.own_container import own_container

from model_store import open_store, read_manifest
from tests.own_program import program

Stage = Callable[..., Any]
Spec = Callable[..., RunSpec]

CONTAINER = OwnContainer(image="registry.example.com/vision/net:1.4", params={"filters": 4})
SHAPE, CLASSES = (10, 10, 1), 10


@dataclass(frozen=True)
class Pod:
    """The folders of a pod, as its volumes are."""

    data: Path
    output: Path
    prepared: Path
    work: Path

    @classmethod
    def at(cls, folder: Path) -> "Pod":
        pod = cls(*(folder / name for name in ("data", "output", "prepared", "work")))
        for path in (pod.data, pod.output, pod.prepared, pod.work):
            path.mkdir(parents=True, exist_ok=True)
        return pod

    def mounted(self, patch: pytest.MonkeyPatch) -> "Pod":
        for name in ("data", "output", "prepared"):
            patch.setenv(f"KERAS_{name.upper()}", str(getattr(self, name)))
        return self


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pod:
    return Pod.at(tmp_path / "pod").mounted(monkeypatch)


def run_program(pod: Pod, spec: RunSpec, source: str | None = None) -> None:
    """The page's program, in a process of its own, with what the Job gives it and nothing else."""
    assert spec.training is not None
    own = own_container(spec.training, RunStage.TRAIN, spec.model, spec.number, {})
    assert own is not None
    environment = dict(own["environment"])  # type: ignore[call-overload]
    environment |= {f"KERAS_OPERATOR_{name.upper()}": str(getattr(pod, name)) for name in ("data", "output", "work")}
    environment |= {"HOME": str(pod.work), "TMPDIR": str(pod.work), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", program() if source is None else source]
    subprocess.run(command, env=environment, cwd=pod.work, check=True, capture_output=True, timeout=300)


def network(shape: Any = SHAPE, classes: int = CLASSES, activation: str = "softmax", *layers: Any) -> Any:
    last = keras.layers.Dense(classes, activation=activation)
    return keras.Sequential([keras.Input(shape), *layers, keras.layers.Flatten(), last])


def with_container(made: RunSpec, **training: Any) -> RunSpec:
    """The run by a team's own image, on the same data unless `training` names another."""
    assert made.training is not None
    own = Training(**{"data": made.training.data, "container": CONTAINER, **training})
    return msgspec.structs.replace(made, training=own)


@pytest.fixture
def run(few_digits: Path, tmp_path: Path, spec: Spec) -> RunSpec:
    return with_container(spec(few_digits, tmp_path / "store"), epochs=6, batch_size=16)


def test_a_program_of_ones_own_trains_and_its_model_is_evaluated_exported_and_published(
    few_digits: Path, tmp_path: Path, pod: Pod, run: RunSpec, stage: Stage
):
    assert stage("train", run, "--prepare").code == 0
    run_program(pod, run)
    trained = stage("train", run)
    assert trained.code == 0, trained.message
    assert trained.result.metrics["accuracy"] > 0.3
    assert trained.result.metrics["val_accuracy"] > 0.3
    assert trained.result.epochs == 6
    images = trained.result.images
    assert images.train + images.validation + images.test == len(list(few_digits.rglob("*.png")))
    assert {"started", "dataReady", "trained", "evaluated", "saved"} <= trained.result.times.keys()
    assert trained.result.times["dataReady"] < trained.result.times["trained"]
    folder = tmp_path / "store/.runs/1"
    assert len(json.loads((folder / "history.json").read_text())["val_loss"]) == 6
    assert "registry.example.com/vision/net:1.4" in (folder / "report.html").read_text()

    exported = stage("export", run)
    assert exported.code == 0, exported.message
    assert exported.result.parity <= 1e-5
    manifest = read_manifest(open_store((tmp_path / "store").as_uri()), 1)
    assert manifest.lineage["container"] == CONTAINER.image

    (pod.output / "model.keras").unlink()
    again = stage("train", run)
    assert (again.code, again.result.metrics) == (0, trained.result.metrics), "what is finished is not done again"


def test_it_is_handed_two_parts_of_the_images_and_nothing_of_the_third(pod: Pod, run: RunSpec, stage: Stage):
    assert stage("train", run, "--prepare").code == 0
    about = json.loads((pod.data / "description.json").read_text())
    assert about["classes"] == [str(digit) for digit in range(10)]
    assert (about["imageShape"], about["model"]) == ([10, 10, 1], "vision/digits")
    shown = set()
    for part in ("train", "validation"):
        images, labels = (np.load(pod.data / part / f"{name}.npy", mmap_mode="r") for name in ("images", "labels"))
        assert (images.dtype, images.shape) == (np.uint8, (about[part], 10, 10, 1))
        assert (labels.dtype, labels.shape) == (np.int64, (about[part],))
        shown |= {hashlib.sha256(image.tobytes()).hexdigest() for image in images}
    held_back = np.load(pod.prepared / "test.npy")
    assert len(held_back)
    assert not shown & {hashlib.sha256(image.tobytes()).hexdigest() for image in held_back}
    files = {path.relative_to(pod.data).as_posix() for path in pod.data.rglob("*") if path.is_file()}
    assert files == {
        "description.json",
        *(f"{part}/{name}.npy" for part in ("train", "validation") for name in ("images", "labels")),
    }
    assert list(pod.output.iterdir()) == list(pod.work.iterdir()) == []


def test_arrays_are_handed_over_as_images_of_their_own_size(tmp_path: Path, pod: Pod, spec: Spec, stage: Stage):
    random = np.random.default_rng(1)
    x, y = random.integers(0, 256, (40, 6, 5), dtype=np.uint8), np.arange(40) % 2
    np.savez(tmp_path / "tiny.npz", x_train=x, y_train=y)
    made = spec(tmp_path, tmp_path / "store")
    data = Data(uri=(tmp_path / "tiny.npz").as_uri(), format=DataFormat.NPZ, color_mode=ColorMode.RGB)
    ended = stage("train", with_container(made, data=data), "--prepare")
    assert ended.code == 0, ended.message
    assert json.loads((pod.data / "description.json").read_text())["imageShape"] == [6, 5, 1]


@pytest.fixture(scope="module")
def handed_over(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pod, RunSpec]:
    """What `prepare` leaves, once for all that is wrong afterwards."""
    from tests.unit.model_trainer import conftest

    folder = tmp_path_factory.mktemp("handed-over")
    made = conftest.spec_of(conftest.write_digits(folder / "digits", 12), folder / "store")
    run = with_container(made)
    with pytest.MonkeyPatch.context() as patch:
        pod = Pod.at(folder / "pod").mounted(patch)
        assert conftest.run_stage("train", run, folder / "run", "--prepare").code == 0
    return pod, run


@pytest.fixture
def left(
    handed_over: tuple[Pod, RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> Callable[[Callable[[Path], object]], Any]:
    """How `train` ends after a container that filled the output folder so."""
    before, run = handed_over

    def finish(fill: Callable[[Path], object]) -> Any:
        pod = Pod(before.data, tmp_path / "output", before.prepared, tmp_path / "work").mounted(monkeypatch)
        pod.output.mkdir()
        fill(pod.output)
        return stage("train", msgspec.structs.replace(run, store=Store(uri=(tmp_path / "store").as_uri())))

    return finish


def saved(*arguments: Any, **options: Any) -> Callable[[Path], None]:
    return lambda output: network(*arguments, **options).save(output / "model.keras")


def told(text: str) -> Callable[[Path], None]:
    def fill(output: Path) -> None:
        network().save(output / "model.keras")
        (output / "result.json").write_text(text)

    return fill


def of_keras_2(output: Path) -> None:
    network().save(output / "made.keras")
    with zipfile.ZipFile(output / "made.keras") as made, zipfile.ZipFile(output / "model.keras", "w") as model:
        for name in made.namelist():
            old = json.dumps({"keras_version": "2.15.0"}).encode()
            model.writestr(name, old if name == "metadata.json" else made.read(name))


def cut_off(output: Path) -> None:
    network().save(output / "whole.keras")
    (output / "model.keras").write_bytes((output / "whole.keras").read_bytes()[:2000])


def diverged(output: Path) -> None:
    model = network()
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    model.save(output / "model.keras")


def of_a_class(output: Path) -> None:
    class Scale(keras.layers.Layer):  # type: ignore[misc] # keras has no types
        def call(self, images: Any) -> Any:
            return images * 2.0

    network(SHAPE, CLASSES, "softmax", Scale()).save(output / "model.keras")


WHO = "The model.keras of the container own"
RESULT = "The result.json of the container own"
WRONG: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "nothing": (
        lambda output: None,
        "BadOutput",
        "no model.keras, but nothing. End it with model.save(os.environ['KERAS_OPERATOR_OUTPUT'] + '/model.keras').",
    ),
    "other files": (
        lambda output: [(output / name).write_text("") for name in ("weights.pt", "log.txt")],
        "BadOutput",
        "The container own left no model.keras, but log.txt, weights.pt. End it",
    ),
    "an empty file": (lambda output: (output / "model.keras").write_bytes(b""), "BadOutput", "for it begins with b''"),
    "another format": (
        lambda output: network().save(output / "x.h5") or shutil.move(output / "x.h5", output / "model.keras"),
        "BadOutput",
        f"{WHO[4:]} is no Keras archive, for it begins with b'\\x89HDF",
    ),
    "a folder": (lambda output: (output / "model.keras").mkdir(), "BadOutput", f"{WHO} is drwx"),
    "a link": (
        lambda output: (output / "model.keras").symlink_to("/proc/self/environ"),
        "BadOutput",
        f"{WHO} is lrwxrwxrwx and no plain file. Write a file of that name.",
    ),
    "a pipe": (lambda output: os.mkfifo(output / "model.keras"), "BadOutput", "and no plain file"),
    "half a file": (
        cut_off,
        "BadModelFile",
        "is a damaged Keras archive (File is not a zip file). Let the container write it whole, and end with 0 only",
    ),
    "Keras 2": (of_keras_2, "BadOutput", f"{WHO} was written by Keras 2.15.0, and Keras {keras.__version__} reads it"),
    "a Lambda layer": (
        saved(SHAPE, CLASSES, "softmax", keras.layers.Lambda(lambda images: images - 0.5, name="shift")),
        "BadModelFile",
        f"{WHO} is not loaded: its layer shift is a Lambda layer, whose Python code is in the file. Build it of Keras'",
    ),
    "a class of its own": (of_a_class, "BadModelFile", "which Keras does not have. Build it of Keras' own layers"),
    "another input": (
        saved((8, 8, 3)),
        "BadOutput",
        "is a model that takes (8, 8, 3), and the data has (10, 10, 1): begin with one keras.Input((10, 10, 1)).",
    ),
    "other classes": (
        saved(SHAPE, 3),
        "BadOutput",
        f"{WHO} is a model that answers with (3,), and the data has 10 classes: end with keras.layers.Dense(10, act",
    ),
    "no probabilities": (saved(SHAPE, CLASSES, "relu"), "BadOutput", "so they are no probabilities"),
    "weights that are no numbers": (diverged, "BadModelFile", f"Weights in {WHO} are no numbers"),
    "a result in Python": (told("{'epochs': 3}"), "BadOutput", f"{RESULT} cannot be read (JSON is malformed"),
    "a result with NaN": (told('{"history": {"loss": [NaN]}}'), "BadOutput", "in JSON, which has no NaN"),
    "a result with more": (told('{"accuracy": 1.0}'), "BadOutput", "Object contains unknown field `accuracy`"),
    "a result that is markup": (told('{"history": {"<b>": [1]}}'), "BadOutput", f"{RESULT} cannot be read"),
    "a result that disagrees": (
        told('{"history": {"loss": [1, 2], "val_loss": [1]}, "epochs": 2}'),
        "BadOutput",
        f"{RESULT} has 1 and 2 numbers or epochs, and wants a number for each epoch of each series in history.",
    ),
    "a result that is a book": (told(" " * 1_048_577), "BadOutput", "has 1,048,577 bytes, and at most 1,048,576"),
}


@pytest.mark.parametrize(("fill", "reason", "sentence"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_what_it_left_is_one_sentence_and_not_tried_again(
    left: Any, fill: Callable[[Path], object], reason: str, sentence: str
):
    ended = left(fill)
    assert (ended.code, ended.reason) == (65, reason), ended.sentence
    assert sentence in ended.sentence


def test_a_network_that_computes_in_16_bits_is_published_in_32(left: Any, tmp_path: Path, stage: Stage):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        ended = left(saved(SHAPE, CLASSES, "softmax", keras.layers.Conv2D(2, 3)))
    finally:
        keras.config.set_dtype_policy(before)
    assert ended.code == 0, ended.message
    assert ended.result.epochs is None, "nobody said how many"
    kept = keras.models.load_model(tmp_path / "store/.runs/1/model.keras")
    assert {layer.compute_dtype for layer in kept.layers} == {"float32"}


def test_without_its_folders_it_says_which_is_missing(run: RunSpec, stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("KERAS_DATA", raising=False)
    ended = stage("train", run, "--prepare")
    assert (ended.code, "KERAS_DATA is not set" in ended.sentence) == (65, True)
