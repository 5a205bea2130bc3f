"""A model that somebody else trained is evaluated on a test set of records before it is published."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tensorflow as tf
from keras_operator.api import EvaluationData, EvaluationFormat, Gate, ImageRecords, Metric, RunSpec

from model_store import open_store, read_manifest
from tests.unit.model_trainer.conftest import encode
from tests.unit.model_trainer.test_source_evaluated import ACCURACY, LEVELS, SIZE, Served, tells_light
from tests.unit.model_trainer.tfrecord.conftest import numbers, write

LABEL = "image/class/label"
NAMES = ("dark", "light")


def picture(level: int) -> bytes:
    """A small grey PNG of its own content."""
    pixels = np.full((SIZE, SIZE), level, np.uint8)
    pixels[0, 0] += 1
    return encode(pixels)


def rows(classes: tuple[Any, Any] = (0, 1), image: str = "image/encoded", label: str = LABEL) -> list[dict[str, Any]]:
    """Records of the dark images and of the light ones, with what says the two classes; one of eight is misleading."""
    each = zip(classes, LEVELS.values(), strict=True)
    return [{image: picture(level), label: name} for name, levels in each for level in levels]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def export(store: Path, stage: Callable[..., Any], spec: Callable[..., RunSpec]) -> Callable[..., Any]:
    """Export a source as version 1: (path, file, number=, gates=, serving=, max_bad_files=, records=, classes=, …)."""

    def run(path: Path, test: Path, **given: Any) -> Any:
        of_run = {name: given.pop(name) for name in ("gates", "serving") if name in given}
        of_test = {name: given.pop(name) for name in ("max_bad_files", "records", "format") if name in given}
        made = spec(None, store, source=path, number=given.pop("number", 1))
        assert made.source is not None
        data = EvaluationData(uri=test.as_uri(), **{"format": EvaluationFormat.TFRECORD, **of_test})
        source = msgspec.structs.replace(made.source, test_data=data, **given)
        return stage("export", msgspec.structs.replace(made, source=source, **of_run))

    return run


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Right for all but one image: its second output is that of the light ones."""
    tells_light().save(tmp_path / "good.keras")
    return tmp_path / "good.keras"


def test_a_source_is_evaluated_on_records_and_published_with_what_was_measured(
    good: Path, tmp_path: Path, store: Path, export: Any
):
    for shard in range(2):
        write(tmp_path / "test" / f"test-{shard:05}-of-00002", rows()[shard::2], "GZIP" if shard else "")
    ended = export(good, tmp_path / "test")

    result = ended.result
    assert (ended.code, result.classes, result.bad_files) == (0, 2, 0), ended.message
    assert (result.evaluation["accuracy"], result.images.test) == (ACCURACY, 8)
    manifest = read_manifest(open_store(store.as_uri()), 1)
    assert manifest.metrics == result.evaluation
    evaluation = json.loads((store / ".runs/1/evaluation.json").read_text())
    assert evaluation["confusionMatrix"] == [[3, 1], [0, 4]]
    assert [score["name"] for score in evaluation["perClass"]] == ["0", "1"]
    card = json.loads((store / "1" / "assets.extra" / "data-card.json").read_text())
    assert [(each["name"], each["train"], each["test"]) for each in card["classes"]] == [("0", 0, 4), ("1", 0, 4)]
    page = (store / "1" / "assets.extra" / "report.html").read_text()
    assert 'is <b>0</b>, taken for <b class="wrong">1</b>' in page


@pytest.mark.parametrize(
    ("written", "classes", "outputs"),
    [
        ((0, 1), NAMES, (-1.0, 1.0)),
        (("dark", "light"), (), (-1.0, 1.0)),
        (("dark", "light"), ("light", "dark"), (1.0, -1.0)),
        # Two and ten are in the order of numbers, not of their spelling.
        ((2, 10), (), (-1.0, 1.0)),
        # A class of which there is no record is an output all the same.
        ((1, 2), ("background", "dark", "light"), (0.0, -1.0, 1.0)),
    ],
    ids=["numbers with names", "names", "names in an order", "numbers", "numbers from one up"],
)
def test_a_class_is_the_output_that_it_says(
    tmp_path: Path, export: Any, written: Any, classes: tuple[str, ...], outputs: tuple[float, ...]
):
    tells_light(outputs).save(tmp_path / "model.keras")
    given = {"records": ImageRecords(image="picture", label="kind"), "classes": classes}
    ended = export(tmp_path / "model.keras", write(tmp_path / "a.tfrecord", rows(written, "picture", "kind")), **given)
    assert (ended.code, ended.result.evaluation["accuracy"]) == (0, ACCURACY), ended.message


def test_a_model_that_reads_files_is_asked_with_what_stands_in_the_records(tmp_path: Path, export: Any):
    """A BMP becomes a PNG, for this graph reads no other; an image of another size only the graph resizes."""
    given = rows()
    given[1]["image/encoded"] = encode(np.full((300, 200), 20, np.uint8), "BMP")
    served = Served(tells_light(), "files")
    tf.saved_model.save(served, str(tmp_path / "saved"), signatures={"serving_default": served.answers})
    ended = export(tmp_path / "saved", write(tmp_path / "a.tfrecord", given))
    assert (ended.code, ended.result.evaluation["accuracy"]) == (0, ACCURACY), ended.message


def test_a_source_is_held_against_what_serves_on_the_same_records(good: Path, tmp_path: Path, export: Any):
    """The version that serves was tested on records with names, and its outputs are in another order."""
    test = write(tmp_path / "a.tfrecord", rows(NAMES))
    assert export(good, test).code == 0
    tells_light((1.0, -1.0)).save(tmp_path / "other.keras")
    gates = (Gate(metric=Metric.ACCURACY, max_drop_from_serving=0.1),)
    numbered = write(tmp_path / "b.tfrecord", rows((1, 0)))
    told = {"classes": ("light", "dark"), "number": 2, "serving": 1, "gates": gates}
    alike = export(tmp_path / "other.keras", numbered, **told).result
    assert alike.servable is not None
    assert alike.comparison.metrics == pytest.approx(alike.evaluation, abs=1e-5)
    worse = export(good, numbered, **{**told, "number": 3}).result
    assert (worse.servable, worse.evaluation["accuracy"]) == (None, 1 - ACCURACY)


def spoiled(place: int, **features: Any) -> list[dict[str, Any]]:
    """The records with other features in one of them; `...` takes one away."""
    copy = rows()
    copy[place] = {name: value for name, value in (copy[place] | features).items() if value is not ...}
    return copy


# What is written, fields of the test data or the source, the reason and the sentence; {0} is the file.
BAD: dict[str, tuple[list[Any], dict[str, Any], str, str]] = {
    "features of other names": (
        rows(image="picture"),
        {},
        "BadData",
        (
            "Record 0 (at byte 0) of {0} has no feature 'image/encoded'; it has 'image/class/label', 'picture'. "
            "Correct spec.source.testData.records.image."
        ),
    ),
    "a feature that is named wrongly": (
        rows(),
        {"records": ImageRecords(label="kind")},
        "BadData",
        (
            "Record 0 (at byte 0) of {0} has no feature 'kind'; it has 'image/class/label', 'image/encoded'. Correct "
            "spec.source.testData.records.label."
        ),
    ),
    "rows of a table": (
        numbers(8),
        {"records": ImageRecords(image="x", label="y")},
        "BadData",
        (
            "Record 0 (at byte 0) of {0} has 3 floats in 'x', and an image is the bytes of one file. Write those, such "
            "as tf.io.encode_png(…), or correct spec.source.testData.records.image."
        ),
    ),
    "a number that no name has": (
        rows((1, 2)),
        {"classes": NAMES},
        "BadData",
        (
            "has 2 in the label 'image/class/label', and spec.source.classes has 2 names, of 0 to 1. Name that one "
            "too, or correct the record."
        ),
    ),
    "a class that is not named": (
        rows(("dark", "grey")),
        {"classes": NAMES},
        "BadData",
        (
            "has the class 'grey' in the label 'image/class/label', which spec.source.classes does not name. Name it "
            "there, or correct the record."
        ),
    ),
    "more classes than outputs": (
        spoiled(7, **{LABEL: 2}),
        {},
        "BadData",
        "{0} has 3 classes, and the model in {model} answers with 2 numbers. Name every output of the model",
    ),
    "one class": (
        rows((1, 1)),
        {},
        "OneClass",
        (
            "All 8 records under {0} have '1' in the label 'image/class/label'; a classifier needs at least two "
            "classes. Add records of another class, or correct spec.source.testData.records.label."
        ),
    ),
    "no record": ([], {}, "BadData", "zero bytes. Write examples into it, or correct spec.source.testData.uri."),
    "unreadable images": (
        spoiled(0, **{"image/encoded": b"no picture"}),
        {"max_bad_files": 0},
        "TooManyBadFiles",
        "spec.source.testData.maxBadFiles allows 0: a.tfrecord:0 (",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_with_records_is_said(name: str, good: Path, tmp_path: Path, store: Path, export: Any):
    written, given, reason, told = BAD[name]
    path = write(tmp_path / "test" / "a.tfrecord", written)
    ended = export(good, path, **given)
    assert (ended.code, ended.reason) == (65, reason), ended.message
    assert told.replace("{0}", path.as_uri()).replace("{model}", good.as_uri()) in ended.sentence
    assert not (store / "1").exists()


def test_files_that_are_not_there_are_missed_by_the_field_that_named_them(good: Path, tmp_path: Path, export: Any):
    missing = tmp_path / "a.tfrecord"
    ended = export(good, missing)
    assert (ended.code, ended.reason) == (65, "BadData")
    put = "Put the TFRecord file there, or correct spec.source.testData."
    assert ended.sentence.endswith(f"There is no {missing.as_uri()}. {put}")
    (tmp_path / "test").mkdir()
    ended = export(good, tmp_path / "test")
    assert "nothing at all. Put .tfrecord or …-00000-of-00010 files there" in ended.sentence
    assert ended.sentence.endswith("or correct spec.source.testData.uri.")


def test_an_unreadable_image_is_left_out_and_counted(good: Path, tmp_path: Path, export: Any):
    path = write(tmp_path / "a.tfrecord", spoiled(0, **{"image/encoded": b"no picture"}))
    result = export(good, path).result
    assert (result.bad_files, result.images.test, result.evaluation["accuracy"]) == (1, 7, 6 / 7)
