"""What can be wrong with arrays or a table that a model is tested on, each with its one sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from keras_operator.api import EvaluationTable

from tests.unit.model_trainer.rows.conftest import KIND, LABELS, ROWS, SUM, SUMS, TEXT, arrays, saved, table


def spoiled(array: Any, place: Any, value: Any) -> Any:
    copy = np.array(array)
    copy[place] = value
    return copy


class Layer(tf.Module):  # type: ignore[misc]
    """One layer of two numbers as somebody's own SavedModel: softmax over two classes, or the sum."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = activation

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def answers(self, x: Any) -> Any:
        total = tf.reduce_sum(x, axis=1, keepdims=True)
        return {
            "y": tf.nn.softmax(tf.concat([2 - total, total - 2], axis=1)) if self.activation == "softmax" else total
        }


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A SavedModel by what its layer ends with: it need not be converted before what is wrong with the data is said."""
    folder = tmp_path_factory.mktemp("brought")
    for activation in ("softmax", "linear"):
        layer = Layer(activation)
        tf.saved_model.save(layer, str(folder / activation), signatures={"serving_default": layer.answers})
    return {activation: folder / activation for activation in ("softmax", "linear")}


# What is written beside the right arrays, the reason and the sentence; {0} is the file, {model} the model.
BAD_ARRAYS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no classes": (
        {"y": None, "y_train": LABELS},
        "BadData",
        "{0} has no array 'y_test'; it has 'x_test', 'y_train'. Save it by numpy.savez(x_test=…, y_test=…).",
    ),
    "objects": (
        {"x": np.array([[1], [2, 3]], dtype=object), "y": [0, 1]},
        "BadData",
        "x_test in {0} holds Python objects",
    ),
    "texts": ({"y": ["a"] * 8}, "BadData", "y_test in {0} holds <U1, and numbers are learned"),
    "other lengths": (
        {"y": LABELS[:7]},
        "BadData",
        "x_test (float32 [8, 2]) and y_test (int64 [7]) in {0} have different lengths: 8 and 7. Each row needs its",
    ),
    "a shape that the model does not take": (
        {"x": np.ones((8, 3), np.float32)},
        "BadSavedModel",
        (
            "The model in {model} cannot be asked about x_test (float32 [8, 3]) and y_test (int64 [8]) in {0}: "
            "that needs a signature with one output, a probability for each class [batch, classes], and one input of "
            "numbers [batch, 3]. It takes serving_default x float32 [-1,2], and answers serving_default y float32 "
            "[-1, 2]"
        ),
    ),
    "not a number": (
        {"x": spoiled(ROWS, (3, 1), np.nan)},
        "BadData",
        "x_test[3, 1] in {0} is nan. Write a number there, or leave the row out.",
    ),
    "one-hot classes": (
        {"y": np.eye(2, dtype=np.int64)[LABELS]},
        "BadData",
        "has 2 numbers a row, and a class is one whole number. Of one-hot labels, save y.argmax(axis=1).",
    ),
    "a class below zero": ({"y": spoiled(LABELS, 2, -1)}, "BadData", "y_test[2] in {0} is -1, and a class is a whole"),
    "a class that no output is": (
        {"y": spoiled(LABELS, 2, 5)},
        "BadData",
        "y_test[2] in {0} is 5, and the model in {model} tells 2 classes apart, of 0 to 1. Correct it, or leave",
    ),
    "one class": (
        {"y": LABELS * 0},
        "OneClass",
        "All 8 rows of y_test in {0} are of the class 0; a test of a classifier",
    ),
    "numbers for a model of classes": (
        {"y": SUMS},
        "BadSavedModel",
        (
            "that needs a signature with one output, a number [batch, 1], and one input of numbers [batch, 2]. It "
            "takes serving_default x float32 [-1,2], and answers serving_default y float32 [-1, 2]; of classes, save "
            "y_test.astype('int64'). Export one, or correct spec.source.testData."
        ),
    ),
    "nothing": ({"x": ROWS[:0], "y": LABELS[:0]}, "BadData", "x_test (float32 [0, 2]) in {0} has no rows"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_what_is_wrong_with_arrays_is_said(
    name: str, brought: dict[str, Path], tmp_path: Path, store: Path, export: Any
):
    given, reason, told = BAD_ARRAYS[name]
    model, path = brought["softmax"], arrays(tmp_path, **given)
    ended = export(model, path)
    assert (ended.code, ended.reason) == (65, reason), ended.message
    assert told.replace("{0}", path.as_uri()).replace("{model}", model.as_uri()) in ended.sentence
    assert not (store / "1").exists()


# What is written, fields of the source, the reason and the sentence; {0} is the file, {model} the model.
BAD_TABLES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "a target that is not there": (
        TEXT,
        {"table": EvaluationTable(target="kinds", columns=KIND.columns)},
        "BadData",
        (
            "The header in line 1 of {0} has no column 'kinds'; its columns are 'width', 'length', 'kind', 'sum'; the "
            "nearest is 'kind'. Correct spec.source.testData.table.target."
        ),
    ),
    "a column that is not there": (
        TEXT,
        {"table": EvaluationTable(target="kind", columns=("width", "height"))},
        "BadData",
        "has no column 'height'; its columns are 'width', 'length', 'kind', 'sum'",
    ),
    "a column twice": (
        TEXT,
        {"table": EvaluationTable(target="kind", columns=("width", "width"))},
        "BadData",
        "spec.source.testData.table.columns names 'width' twice. Name each column once.",
    ),
    "more columns than the model takes": (
        TEXT,
        {"table": EvaluationTable(target="kind")},
        "BadSavedModel",
        (
            "and one input of numbers [batch, 3] for the columns beside the target, or an input for each, called like "
            "it, [batch] or [batch, 1]. It takes serving_default x float32 [-1,2], and answers serving_default y"
        ),
    ),
    "text among numbers": (
        TEXT.replace("1,0,", "wide,0,"),
        {},
        "BadData",
        "Line 3 of {0} has 'wide' in the column 'width', and the model takes a number there. Write one, or",
    ),
    "an empty cell": (TEXT.replace("1,0,", ",0,"), {}, "BadData", "Line 3 of {0} has nothing in the column 'width'"),
    "not a number": (TEXT.replace("1,0,", "nan,0,"), {}, "BadData", "Line 3 of {0} has 'nan' in the column 'width'"),
    "a class that is not named": (
        TEXT.replace("large", "huge", 1),
        {"classes": ("small", "large")},
        "BadData",
        (
            "Line 6 of {0} has the class 'huge' in the target 'kind', which spec.source.classes does not name. Name it "
            "there, or correct the line."
        ),
    ),
    "more classes than outputs": (
        TEXT.replace("large", "huge", 1),
        {},
        "BadData",
        "The target 'kind' under {0} has 3 classes, and the model in {model} answers with 2 numbers. Name every output",
    ),
    "one class": (
        TEXT.replace("large", "small"),
        {},
        "OneClass",
        "All 8 rows under {0} have 'small' in the target 'kind'",
    ),
    "no class": (
        TEXT.replace("large", "", 1),
        {},
        "BadData",
        "Line 6 of {0} has nothing in the target 'kind'. Fill it in",
    ),
    "a header alone": (TEXT.splitlines()[0], {}, "BadData", "{0} has a header line and nothing below it."),
    "a number for a model of classes": (
        TEXT,
        {"table": SUM},
        "BadSavedModel",
        "that needs a signature with one output, a number [batch, 1], and one input of numbers [batch, 2]",
    ),
    "names of classes beside a number": (
        TEXT,
        {"table": SUM, "classes": ("small",), "model": "linear"},
        "BadData",
        "spec.source.classes names classes, and {0} has a number that should be answered. Remove classes, or test",
    ),
    "a target that is no number": (
        TEXT,
        {
            "table": EvaluationTable(target="kind", target_kind=SUM.target_kind, columns=KIND.columns),
            "model": "linear",
        },
        "BadData",
        "Line 2 of {0} has 'small' in the target 'kind', which is numeric. Write a number there, or remove the line;",
    ),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_what_is_wrong_with_a_table_is_said(
    name: str, brought: dict[str, Path], tmp_path: Path, store: Path, export: Any
):
    text, given, reason, told = BAD_TABLES[name]
    given = {"table": KIND, **given}
    model, path = brought[given.pop("model", "softmax")], table(tmp_path, text)
    ended = export(model, path, **given)
    assert (ended.code, ended.reason) == (65, reason), ended.message
    assert told.replace("{0}", path.as_uri()).replace("{model}", model.as_uri()) in ended.sentence
    assert not (store / "1").exists()


def test_a_file_that_is_not_there_is_missed_by_the_field_that_named_it(
    brought: dict[str, Path], tmp_path: Path, export: Any
):
    model = brought["softmax"]
    ended = export(model, tmp_path / "test.npz")
    assert ended.sentence.endswith("test.npz. Put the arrays there, or correct spec.source.testData.uri.")
    ended = export(model, tmp_path / "test.csv", table=KIND)
    assert ended.sentence.endswith("test.csv. Put the table there, or correct spec.source.testData.")
    assert (ended.code, ended.reason) == (65, "BadData")


def test_answers_that_are_none_are_refused(tmp_path: Path, export: Any):
    ended = export(saved(tmp_path, "relu"), arrays(tmp_path))
    assert (ended.code, ended.reason) == (65, "BadModelFile")
    assert "answers x_test[0] with numbers that are no probabilities" in ended.sentence
    too_large = table(tmp_path, TEXT.replace("-2,1,", "100,1,"))
    ended = export(saved(tmp_path, "linear", ((1e37,), (1e37,)), (0,)), too_large, table=SUM)
    assert (ended.code, ended.reason) == (65, "BadModelFile")
    assert "answers test.csv:4 with inf, which is no number" in ended.sentence
