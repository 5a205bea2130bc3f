"""A model that somebody else trained is evaluated on arrays or on a table before it is published."""

import json
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import pytest
import tensorflow as tf
from keras_operator.api import EvaluationTable, Gate, Metric, Table

from model_store import open_store, read_manifest
from tests.unit.model_trainer.conftest import encode
from tests.unit.model_trainer.rows.conftest import ACCURACY, KIND, LABELS, ROWS, SUM, SUMS, TEXT, arrays, saved, table
from tests.unit.model_trainer.tables.conftest import spec_of as table_spec


def test_arrays_of_classes_are_evaluated_and_published(tmp_path: Path, store: Path, export: Any):
    ended = export(saved(tmp_path), arrays(tmp_path, y=LABELS[:, None]))

    result = ended.result
    assert (ended.code, result.classes, result.bad_files) == (0, 2, 0), ended.message
    assert (result.evaluation["accuracy"], result.images.test) == (ACCURACY, 8)
    assert read_manifest(open_store(store.as_uri()), 1).metrics == result.evaluation
    evaluation = json.loads((store / ".runs/1/evaluation.json").read_text())
    assert evaluation["confusionMatrix"] == [[4, 1], [0, 3]]
    card = json.loads((store / "1" / "assets.extra" / "data-card.json").read_text())
    assert [(each["name"], each["train"], each["test"]) for each in card["classes"]] == [("0", 0, 5), ("1", 0, 3)]
    assert card["columns"][0]["greatest"] == 5
    page = (store / "1" / "assets.extra" / "report.html").read_text()
    assert 'is <b>0</b>, taken for <b class="wrong">1</b>' in page
    assert "x_test 5, 1" in page
    assert "The columns that the model was given" in page


def test_floats_in_y_test_are_numbers_that_should_be_answered(tmp_path: Path, store: Path, export: Any):
    model = saved(tmp_path, "linear", ((1,), (1,)), (0.5,))
    ended = export(model, arrays(tmp_path, y=SUMS.astype(np.float64)), gates=(Gate(metric=Metric.MAE, max=0.5),))

    result = ended.result
    assert (ended.code, result.classes, result.images.test) == (0, None, 8), ended.message
    assert result.evaluation["mae"] == pytest.approx(0.5)
    assert result.evaluation["r2"] == pytest.approx(1 - 0.25 / SUMS.var())
    assert set(result.evaluation) >= {"rmse", "rmse_high", "r2_low", "loss"}
    page = (store / "1" / "assets.extra" / "report.html").read_text()
    assert "The number y_test" in page


def test_one_sigmoid_is_the_probability_of_the_second_class(tmp_path: Path, export: Any):
    model = saved(tmp_path, "sigmoid", ((2,), (2,)), (-7,))
    assert export(model, arrays(tmp_path)).result.evaluation["accuracy"] == ACCURACY
    # Sorted, the second one of large and small is small.
    ended = export(model, table(tmp_path), table=KIND, number=2)
    assert ended.result.evaluation["accuracy"] == 1 - ACCURACY, ended.message


def test_a_table_of_classes_is_evaluated_with_names_and_with_places(tmp_path: Path, store: Path, export: Any):
    model = saved(tmp_path)
    gates = (Gate(metric=Metric.RECALL, of_class="small", min=0.9),)
    ended = export(model, table(tmp_path), table=KIND, classes=("small", "large"), gates=gates)
    assert (ended.code, ended.result.evaluation["accuracy"], ended.result.servable) == (0, ACCURACY, None)
    assert ended.result.metrics["recall of small"] == 4 / 5

    ended = export(model, table(tmp_path), table=KIND, classes=("small", "large"))
    assert ended.result.servable is not None, ended.message
    page = (store / "1" / "assets.extra" / "report.html").read_text()
    assert "width 5, length 1" in page
    assert 'is <b>small</b>, taken for <b class="wrong">large</b>' in page
    assert "<small>test.csv:9</small>" in page
    card = json.loads((store / ".runs/1/data-card.json").read_text())
    assert (card["rows"], card["ignoredColumns"]) == (8, ["sum"])

    numbered = table(tmp_path, TEXT.replace("small", "0").replace("large", "1"))
    ended = export(model, numbered, table=KIND, classes=("small", "large"), number=2)
    assert ended.result.evaluation["accuracy"] == ACCURACY, ended.message
    assert export(model, numbered, table=KIND, number=3).result.evaluation["accuracy"] == ACCURACY


def test_columns_are_given_in_the_order_that_is_written(tmp_path: Path, export: Any):
    model = saved(tmp_path, "linear", ((1,), (10,)), (0,))
    forwards = export(model, table(tmp_path), table=SUM)
    assert forwards.result.evaluation["mae"] == pytest.approx(np.abs(9 * ROWS[:, 1]).mean(), rel=1e-5)
    turned = msgspec.structs.replace(SUM, columns=("length", "width"))
    backwards = export(model, table(tmp_path), table=turned, number=2)
    assert backwards.result.evaluation["mae"] == pytest.approx(np.abs(9 * ROWS[:, 0]).mean(), rel=1e-5)
    alone = TEXT.replace(",small", "").replace(",large", "").replace(",kind", "")
    left_out = export(model, table(tmp_path, alone), table=msgspec.structs.replace(SUM, columns=()), number=3)
    assert left_out.result.evaluation == pytest.approx(forwards.result.evaluation)


def by_names(folder: Path, unit: str = "words") -> Path:
    """A file of a model with an input for each column: the length counts by its unit, which is a word or a number."""
    inputs = {name: keras.Input((1,), name=name) for name in ("width", "length")}
    kind = "string" if unit == "words" else "int64"
    lookup = keras.layers.StringLookup if unit == "words" else keras.layers.IntegerLookup
    inputs["unit"] = keras.Input((1,), name="unit", dtype=kind)
    known = lookup(vocabulary=["one", "ten"] if unit == "words" else [1, 10])(inputs["unit"])
    factor = keras.layers.Embedding(3, 1, embeddings_initializer="ones", name="factor")
    times = keras.layers.Reshape((1,))(factor(known))
    answer = keras.layers.Add()([inputs["width"], keras.layers.Multiply()([inputs["length"], times])])
    model = keras.Model(inputs, answer)
    factor.set_weights([np.array([[0.0], [1.0], [10.0]], np.float32)])
    path = folder / f"{unit}.keras"
    model.save(path)
    return path


@pytest.mark.parametrize(("unit", "one", "ten"), [("words", "one", "ten"), ("numbers", "1", "10")])
def test_a_model_with_an_input_for_each_column_takes_those_of_its_inputs_names(
    unit: str, one: str, ten: str, tmp_path: Path, export: Any
):
    rows = [
        f"{place},{one if place % 2 else ten},{place},{place + place * (1 if place % 2 else 10)},x"
        for place in range(6)
    ]
    text = "\n".join(["length,unit,width,sum,note", *rows])
    ended = export(
        by_names(tmp_path, unit),
        table(tmp_path, text),
        table=EvaluationTable(target="sum", target_kind=SUM.target_kind),
    )
    assert ended.result.evaluation["mae"] == pytest.approx(0, abs=1e-5), ended.message


def test_images_in_arrays_are_given_as_they_stand_there(tmp_path: Path, export: Any):
    """Those without channels are grey; what is measured on arrays is not held against what is measured on files."""
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    model.layers[-1].set_weights([np.tile(np.array([-4, 4], np.float32), (4, 1)), np.array([8, -8], np.float32)])
    model.save(tmp_path / "images.keras")
    levels = np.array([10, 20, 30, 40, 200, 210, 220, 40], np.uint8)
    images, labels = np.broadcast_to(levels[:, None, None], (8, 2, 2)), [0, 0, 0, 0, 1, 1, 1, 1]
    ended = export(tmp_path / "images.keras", arrays(tmp_path, images / 255, labels), tflite=True)
    assert (ended.code, ended.result.evaluation["accuracy"]) == (0, ACCURACY), ended.message

    pixels = arrays(tmp_path, images, labels)
    ended = export(tmp_path / "images.keras", pixels, number=2)
    assert (ended.code, ended.reason) == (65, "BadData")
    assert "has numbers from 10 to 220, and the model takes images in [0.0, 1.0], as spec.source.pixelRange says" in (
        ended.sentence
    )
    ended = export(tmp_path / "images.keras", pixels, pixel_range=(0.0, 255.0), number=2)
    assert (ended.code, ended.result.images.test) == (0, 8), ended.message

    for place, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = tmp_path / "files" / str(label) / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(image))
    of_files = export(tmp_path / "images.keras", tmp_path / "files", number=3, serving=1).result
    assert of_files.evaluation["accuracy"] == ACCURACY
    assert of_files.comparison.problem == "it was tested on rows, and these are images"
    of_arrays = export(tmp_path / "images.keras", arrays(tmp_path, images / 255, labels), number=4, serving=3).result
    assert of_arrays.comparison.problem == "it was tested on images, and these are rows"


def test_a_saved_model_is_asked_by_the_signature_that_takes_the_rows(tmp_path: Path, export: Any):
    class Served(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float64, name="pairs")])
        def pairs(self, pairs: Any) -> Any:
            return {"sum": tf.reduce_sum(pairs, axis=1)}

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="triples")])
        def triples(self, triples: Any) -> Any:
            return {"sum": tf.reduce_sum(triples, axis=1)}

        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.string, name="text")])
        def texts(self, text: Any) -> Any:
            return {"letters": tf.cast(tf.strings.length(text), tf.float32)}

    served = Served()
    signatures = {"serving_default": served.triples, "pairs": served.pairs, "texts": served.texts}
    tf.saved_model.save(served, str(tmp_path / "saved"), signatures=signatures)
    ended = export(tmp_path / "saved", arrays(tmp_path, y=SUMS))
    assert ended.result.evaluation["mae"] == pytest.approx(0, abs=1e-6), ended.message
    ended = export(tmp_path / "saved", table(tmp_path), table=SUM, number=2)
    assert ended.result.evaluation["mae"] == pytest.approx(0, abs=1e-6), ended.message
    of_texts = msgspec.structs.replace(SUM, columns=("text",))
    ended = export(tmp_path / "saved", table(tmp_path, "text,sum\nKöln,5\n,1\nBonn,4\n"), table=of_texts, number=3)
    assert ended.result.evaluation["mae"] == pytest.approx(1 / 3), ended.message


def test_a_source_is_held_against_what_serves_on_the_same_rows(tmp_path: Path, export: Any):
    """What serves takes the columns in another order, and its outputs are the other way round."""
    good = saved(tmp_path, weights=((-1, 2), (-1, 1)), bias=(2, -2))
    first = export(good, table(tmp_path), table=KIND, classes=("small", "large"))
    assert first.result.servable is not None, first.message
    other = saved(tmp_path, weights=((1, -1), (2, -1)), bias=(-2, 2))
    turned = EvaluationTable(target="kind", columns=("length", "width"))
    gates = (Gate(metric=Metric.ACCURACY, max_drop_from_serving=0.05),)
    told = {"number": 2, "serving": 1, "gates": gates}
    alike = export(other, table(tmp_path), table=turned, classes=("large", "small"), **told).result
    assert alike.servable is not None
    assert alike.comparison.metrics == pytest.approx(alike.evaluation, abs=1e-5)
    worse = export(other, table(tmp_path), table=turned, classes=("small", "large"), **{**told, "number": 3}).result
    assert worse.servable is None
    assert worse.comparison.metrics["accuracy"] == alike.evaluation["accuracy"] > worse.evaluation["accuracy"]

    number = saved(tmp_path, "linear", ((1,), (1,)), (0,))
    of_number = export(number, table(tmp_path), table=SUM, **{**told, "number": 4}).result
    assert of_number.comparison.problem == "it answers classes, and this one a number"
    of_arrays = export(good, arrays(tmp_path), **{**told, "number": 5}).result
    assert of_arrays.comparison.problem.startswith("its classes are others")


def test_a_source_and_a_training_are_held_against_each_other(tmp_path: Path, store: Path, stage: Any, export: Any):
    """What a training made is asked about the columns that it takes; a source is not asked about a training's rows."""
    path = table(tmp_path, TEXT + TEXT.partition("\n")[2].replace(",", ".5,", 1))
    wanted = Table(target="kind", ignored=("sum",))
    trained = table_spec(path, store, wanted, network={"hidden_units": (2,)}, epochs=1)
    assert stage("train", trained).code == stage("export", trained).code == 0
    told = {"classes": ("small", "large"), "number": 2, "serving": 1}
    comparison = export(saved(tmp_path), path, table=KIND, **told).result.comparison
    assert comparison.problem == ""
    assert comparison.metrics.keys() == {"accuracy", "accuracy_low", "macro_f1", "ece", "loss"}
    other = export(saved(tmp_path), arrays(tmp_path), **{**told, "number": 3}).result.comparison
    assert other.problem == "it takes width [], length [], and rows of x_test have the shape [2]"
    again = table_spec(path, store, wanted, network={"hidden_units": (2,)}, epochs=1, number=4, serving=2)
    problem = stage("train", again).result.comparison.problem
    assert problem == "it was trained elsewhere, and is not asked about a training's rows"


def test_a_gate_for_what_arrays_do_not_have_says_so(tmp_path: Path, export: Any):
    ended = export(saved(tmp_path), arrays(tmp_path), gates=(Gate(metric=Metric.R2, min=0.5),))
    assert ended.result.servable is None
    assert ended.result.unmeasured == {"r2": "it is of a number that is answered, and the test data has classes"}
    model = saved(tmp_path, "linear", ((1,), (1,)), (0,))
    gates = (Gate(metric=Metric.ACCURACY, min=0.5), Gate(metric=Metric.RECALL, of_class="a", min=0.5))
    ended = export(model, arrays(tmp_path, y=SUMS), gates=gates, number=2)
    assert set(ended.result.unmeasured) == {"accuracy", "recall of a"}
    assert set(ended.result.unmeasured.values()) == {
        "it is of classes, and the test data has numbers that should be answered"
    }
