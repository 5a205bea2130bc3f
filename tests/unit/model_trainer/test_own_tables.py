"""A team's own image learns from a table: it is shown rows of two parts, and what it leaves takes raw columns."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras_operator.api import Data, DataFormat, RunSpec, Table, TargetKind, Training

from model_store import open_store, read_manifest
from tests.own_program import program_of_a_table
from tests.unit.model_trainer.tables.conftest import people, spec_of, write
from tests.unit.model_trainer.test_own_image import CONTAINER, Pod, run_program

HOME = Table(target="at home", ignored=("number",))
COLUMNS = ("age", "town", "shoe size (EU)")
CLASSES = ("Aare", "Danube", "Rhine", "nowhere")


def with_container(made: RunSpec, **training: Any) -> RunSpec:
    assert made.training is not None
    own = Training(**{"data": made.training.data, "container": CONTAINER, **training})
    return msgspec.structs.replace(made, training=own)


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pod:
    return Pod.at(tmp_path / "pod").mounted(monkeypatch)


def with_opinions(count: int) -> list[list[Any]]:
    """The people, with a text of each, some of them empty."""
    head, *rows = people(count)
    texts = ["", 'says "so, or so"', "NA", "two\nlines"]
    return [["opinion", *head], *([texts[place % 4], *row] for place, row in enumerate(rows))]


@pytest.fixture
def run(tmp_path: Path) -> RunSpec:
    data = write(tmp_path / "people.csv", with_opinions(300))
    table = msgspec.structs.replace(HOME, text=("opinion",))
    return with_container(spec_of(data, tmp_path / "store", table), epochs=15, batch_size=16)


def test_a_program_of_ones_own_learns_from_rows_and_its_model_is_served_by_columns(
    tmp_path: Path, pod: Pod, run: RunSpec, stage: Any
):
    prepared = stage("train", run, "--prepare")
    assert prepared.code == 0, prepared.message
    run_program(pod, run, program_of_a_table())
    trained = stage("train", run)
    assert trained.code == 0, trained.message
    assert trained.result.metrics["accuracy"] > 0.7
    assert trained.result.metrics["val_accuracy"] > 0.7
    assert trained.result.epochs == 15
    folder = tmp_path / "store/.runs/1"
    assert len(json.loads((folder / "history.json").read_text())["val_loss"]) == 15
    assert "registry.example.com/vision/net:1.4" in (folder / "report.html").read_text()
    assert not (folder / "model.h5").exists()

    exported = stage("export", run)
    assert exported.code == 0, exported.message
    assert exported.result.parity <= 1e-5
    manifest = read_manifest(open_store((tmp_path / "store").as_uri()), 1)
    assert (tuple(manifest.classes), manifest.lineage["container"]) == (CLASSES, CONTAINER.image)
    asked = tf.saved_model.load(str(tmp_path / "store/1")).signatures["serving_default"]
    row = {"opinion": ["never heard"], "age": [70.0], "town": ["Bonn"], "shoe size (EU)": [42.0]}
    cells = {name: tf.constant(value) for name, value in row.items()}
    assert CLASSES[int(np.argmax(asked(**cells)["probabilities"]))] == "nowhere"

    held_against = msgspec.structs.replace(run, number=2, serving=1)
    assert stage("train", held_against, "--prepare").code == 0
    again = stage("train", held_against)
    assert (again.code, again.result.comparison.problem) == (0, ""), again.message
    assert again.result.comparison.metrics["accuracy"] == trained.result.metrics["accuracy"]


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_it_is_handed_two_parts_of_the_rows_and_nothing_of_the_third(pod: Pod, run: RunSpec, stage: Any):
    assert stage("train", run, "--prepare").code == 0
    about = json.loads((pod.data / "description.json").read_text())
    kinds = {"opinion": "text", "age": "numeric", "town": "categorical", "shoe size (EU)": "numeric"}
    assert about["columns"] == [{"name": name, "kind": kind} for name, kind in kinds.items()]
    assert (about["target"], tuple(about["classes"]), about["model"]) == ("at home", CLASSES, "people/table")
    files = {path.relative_to(pod.data).as_posix() for path in pod.data.rglob("*") if path.is_file()}
    assert files == {"description.json", "train.csv", "validation.csv"}

    everything = {tuple(map(str, [row[0], *row[2:]])) for row in with_opinions(300)[1:]}
    shown = []
    for part in ("train", "validation"):
        header, *rows = rows_of(pod.data / f"{part}.csv")
        assert header == [*kinds, "at home"]
        assert len(rows) == about[part]
        # A whole number is a float32 by now.
        shown += [(opinion, age.removesuffix(".0"), *rest) for opinion, age, *rest in rows]
    assert set(shown) < everything
    assert len(shown) < 300, "the test part is not among them"
    assert list(pod.output.iterdir()) == list(pod.work.iterdir()) == []


def write_numbers(folder: Path) -> Path:
    random = np.random.default_rng(3)
    x = random.normal(size=(60, 2)).round(3)
    rows = [[a, b, 100 + 10 * a + 3 * b] for a, b in x.tolist()]
    return write(folder / "numbers.csv", [["a", "b", "y"], *rows])


PRICE = Table(target="y", target_kind=TargetKind.NUMERIC)


def summing(*shapes: tuple[int, ...], names: tuple[str, ...] = ("b", "a")) -> Any:
    """What is learned from `write_numbers`, with its inputs in another order than the columns."""
    given = [keras.Input(shape, name=name) for shape, name in zip(shapes, names, strict=True)]
    flat = [each if len(each.shape) == 2 else layers.Reshape((1,))(each) for each in given]
    last = layers.Dense(1)
    model = keras.Model(dict(zip(names, given, strict=True)), last(layers.Concatenate()(flat)))
    last.set_weights([np.array([[3], [10]], np.float32), np.full(1, 100, np.float32)])
    return model


def test_a_number_is_answered_in_its_own_unit(tmp_path: Path, pod: Pod, stage: Any):
    made = with_container(spec_of(write_numbers(tmp_path), tmp_path / "store", PRICE))
    assert stage("train", made, "--prepare").code == 0
    about = json.loads((pod.data / "description.json").read_text())
    assert (about["classes"], about["target"]) == ([], "y")
    summing((1,), ()).save(pod.output / "model.keras")
    trained = stage("train", made)
    assert trained.code == 0, trained.message
    assert trained.result.metrics["mae"] < 1e-3
    assert trained.result.metrics["r2"] > 0.999
    exported = stage("export", made)
    assert exported.code == 0, exported.message
    asked = tf.saved_model.load(str(tmp_path / "store/1")).signatures["serving_default"]
    answer = asked(a=tf.constant([1.0]), b=tf.constant([2.0]))["prediction"].numpy()
    np.testing.assert_allclose(answer, [116.0], rtol=1e-5)


@pytest.fixture(scope="module")
def handed_over(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pod, RunSpec]:
    """What `prepare` leaves, once for all that is wrong afterwards."""
    from tests.unit.model_trainer import conftest

    folder = tmp_path_factory.mktemp("handed-over")
    made = with_container(spec_of(write(folder / "people.csv", people(60)), folder / "store", HOME))
    with pytest.MonkeyPatch.context() as patch:
        pod = Pod.at(folder / "pod").mounted(patch)
        assert conftest.run_stage("train", made, folder / "run", "--prepare").code == 0
    return pod, made


def of_people(
    *columns: tuple[str, str],
    outputs: int = 4,
    activation: str | None = "softmax",
    unknown: int = 1,
    towns: tuple[str, ...] = ("Bonn",),
) -> Callable[[], Any]:
    """A model that takes these inputs, (name, dtype), and knows of words whether they are Bonn."""

    def make() -> Any:
        inputs = [keras.Input((), name=name, dtype=dtype) for name, dtype in columns]
        parts = [
            layers.StringLookup(vocabulary=list(towns), num_oov_indices=unknown, output_mode="one_hot")(each)
            if each.dtype == "string"
            else layers.Reshape((1,))(layers.Rescaling(0.01)(each))
            for each in inputs
        ]
        joined = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
        return keras.Model(inputs, layers.Dense(outputs, activation=activation)(joined))

    return make


AGE, TOWN, SIZE = ("age", "float32"), ("town", "string"), ("shoe size (EU)", "float32")
WHO = "The model.keras of the container own"
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "too few inputs": (
        of_people(AGE, TOWN),
        (
            f"{WHO} has 2 inputs, and the data has 3 columns beside the target: 'age', 'town', 'shoe size (EU)'. "
            "Begin it with one keras.Input(()) for each."
        ),
    ),
    "one input called otherwise": (
        of_people(AGE, TOWN, ("size", "float32")),
        (
            f"{WHO} has an input 'size', and no column is called so: there are 'age', 'town', 'shoe size (EU)'. Call "
            "each input like its column, or none of them and keep the columns' order."
        ),
    ),
    "words as numbers": (
        of_people(AGE, ("town", "float32"), SIZE),
        f"{WHO} takes float32 of the shape () for the categorical column 'town'. Write keras.Input((), dtype='string')",
    ),
    "other classes": (
        of_people(AGE, TOWN, SIZE, outputs=3),
        f"{WHO} is a model that answers with (3,), and the data has 4 classes: end with keras.layers.Dense(4, activ",
    ),
    "no probabilities": (
        of_people(AGE, TOWN, SIZE, activation="sigmoid"),
        "and not to 1, so they are no probabilities: end with activation='softmax'.",
    ),
    "words that it never saw": (
        of_people(AGE, TOWN, SIZE, unknown=0, towns=("Rome",)),
        f"{WHO} does not answer rows such as people.csv:",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_the_columns_is_one_sentence_and_not_tried_again(
    name: str, handed_over: tuple[Pod, RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Any
):
    (before, made), (make, sentence) = handed_over, WRONG[name]
    pod = Pod(before.data, tmp_path / "output", before.prepared, tmp_path / "work").mounted(monkeypatch)
    pod.output.mkdir()
    make().save(pod.output / "model.keras")
    ended = stage("train", made)
    assert (ended.code, ended.reason) == (65, "BadOutput"), ended.sentence
    assert sentence in ended.sentence


def test_inputs_without_the_columns_names_are_taken_in_the_columns_order(
    handed_over: tuple[Pod, RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Any
):
    before, made = handed_over
    pod = Pod(before.data, tmp_path / "output", before.prepared, tmp_path / "work").mounted(monkeypatch)
    pod.output.mkdir()
    of_people(("x", "float32"), ("y", "string"), ("z", "float32"))().save(pod.output / "model.keras")
    ended = stage("train", made)
    assert ended.code == 0, ended.message
    assert set(ended.result.metrics) >= {"accuracy", "val_accuracy"}


def test_arrays_are_refused_before_the_program_runs(tmp_path: Path, pod: Pod, stage: Any):
    from tests.unit.model_trainer.tfrecord.conftest import Y, data_of, numbers
    from tests.unit.model_trainer.tfrecord.conftest import write as write_records

    records = write_records(tmp_path / "a.tfrecord", numbers())
    made = spec_of(tmp_path, tmp_path / "store", HOME)
    ended = stage("train", with_container(made, data=data_of(records, table=Y)), "--prepare")
    assert (ended.code, ended.reason) == (65, "BadData")
    assert ended.sentence.startswith(
        "The column 'x' has an array in each row, and an image of your own is given tables"
    )
    assert not list(pod.data.iterdir())

    np.savez(tmp_path / "rows.npz", x_train=np.arange(80.0).reshape(40, 2), y_train=np.arange(40) % 2)
    data = Data(uri=(tmp_path / "rows.npz").as_uri(), format=DataFormat.NPZ)
    ended = stage("train", with_container(made, data=data), "--prepare")
    assert (ended.code, ended.reason) == (65, "BadData")
    assert (
        "has rows of features, and an image of your own is given images, or tables of other formats." in ended.sentence
    )


def test_records_of_single_cells_are_handed_over_as_rows(tmp_path: Path, pod: Pod, stage: Any):
    from tests.unit.model_trainer.tfrecord.conftest import data_of, numbers
    from tests.unit.model_trainer.tfrecord.conftest import write as write_records

    records = write_records(tmp_path / "a.tfrecord", numbers())
    made = spec_of(tmp_path, tmp_path / "store", HOME)
    data = data_of(records, table=Table(target="y", ignored=("x",)))
    ended = stage("train", with_container(made, data=data), "--prepare")
    assert ended.code == 0, ended.message
    assert rows_of(pod.data / "train.csv")[0] == ["age", "town", "y"]
