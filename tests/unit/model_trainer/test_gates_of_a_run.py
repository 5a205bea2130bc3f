"""What a run measures for gates: the version that serves on the same images, single classes, and the servable."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from keras_operator.api import ColorMode, EvaluationData, Gate, Metric, RunSpec, Source

from model_trainer.evaluation.calibration import Calibration
from model_trainer.evaluation.classes import ClassScore
from model_trainer.evaluation.confidence import Interval
from model_trainer.evaluation.record import EvaluationRecord
from model_trainer.export_gates import Measured, of_classes, unmet

Stage = Callable[[str, RunSpec], Any]
SMALL = Gate(metric=Metric.SIZE_MB, max=0.001)
FAST = Gate(metric=Metric.LATENCY_MS, max=60_000)


def spec_of(trained: Any, **changes: Any) -> RunSpec:
    changed: RunSpec = msgspec.structs.replace(trained.spec, **changes)
    return changed


def next_version(trained: Any, folder: Path | None = None, **data: Any) -> RunSpec:
    """A second training, beside the first version that serves."""
    training = trained.spec.training
    if folder is not None:
        data["uri"] = folder.as_uri()
    training = msgspec.structs.replace(training, seed=7, data=msgspec.structs.replace(training.data, **data))
    return spec_of(trained, number=2, owner="uid-2", training=training, serving=1)


@pytest.fixture
def digits(simply_trained: Any, tmp_path: Path) -> Path:
    """A copy of the images that were trained on."""
    return shutil.copytree(simply_trained.spec.training.data.uri.removeprefix("file://"), tmp_path / "copy")


def test_what_serves_is_measured_on_the_same_test_images(simply_trained: Any, stage: Stage):
    ended = stage("train", next_version(simply_trained))
    comparison = ended.result.comparison
    # The images are the same, and so is their split: the first version has to get what it got.
    before = {name: value for name, value in simply_trained.ended.result.metrics.items() if not name.startswith("val_")}
    assert (comparison.version, comparison.problem) == (1, "")
    assert comparison.metrics == pytest.approx({**before, "accuracy_low": comparison.metrics["accuracy_low"]}, abs=1e-6)
    assert comparison.metrics["loss"] != pytest.approx(ended.result.metrics["loss"], abs=1e-6)
    again = stage("train", next_version(simply_trained))
    assert again.result.comparison == comparison


def test_new_test_images_are_the_ones_that_count(simply_trained: Any, digits: Path, stage: Stage, all_digits: Path):
    for path in sorted((all_digits / "3").iterdir())[20:120]:
        shutil.copy(path, digits / "3")
    comparison = stage("train", next_version(simply_trained, digits)).result.comparison
    assert comparison.metrics["loss"] != pytest.approx(simply_trained.ended.result.metrics["loss"], abs=1e-3)


def test_a_version_of_other_classes_cannot_be_compared(simply_trained: Any, digits: Path, stage: Stage):
    (digits / "9").rename(digits / "nine")
    comparison = stage("train", next_version(simply_trained, digits)).result.comparison
    assert (comparison.metrics, comparison.problem) == ({}, "its classes are others: nine came and 9 went")


def test_a_version_that_takes_other_images_cannot_be_compared(simply_trained: Any, stage: Stage):
    comparison = stage("train", next_version(simply_trained, image_size=(12, 11))).result.comparison
    assert (
        comparison.problem
        == "it takes grayscale images of 10 by 10 pixels, and these are grayscale images of 12 by 11 pixels"
    )


def test_a_version_that_nobody_trained_here_cannot_be_compared(simply_trained: Any, stage: Stage):
    shutil.rmtree(simply_trained.run)
    comparison = stage("train", next_version(simply_trained)).result.comparison
    assert comparison.problem == "there is no trained model of it in the store"


def as_source(trained: Any, **changes: Any) -> RunSpec:
    """The model of the first version, come as a file that somebody else trained, with its images as a test set."""
    data = trained.spec.training.data
    given = {"test_data": EvaluationData(uri=data.uri), **changes}
    path = trained.run.parent.parent.parent / "theirs.keras"
    shutil.copy(trained.run / "model.keras", path)
    shutil.rmtree(trained.run)
    return spec_of(trained, training=None, source=Source(uri=path.as_uri(), **given))


def test_a_source_that_serves_is_measured_on_the_same_test_images(simply_trained: Any, stage: Stage):
    before = {name: value for name, value in simply_trained.ended.result.metrics.items() if not name.startswith("val_")}
    assert stage("export", as_source(simply_trained)).code == 0
    comparison = stage("train", next_version(simply_trained)).result.comparison
    assert (comparison.version, comparison.problem) == (1, "")
    assert comparison.metrics == pytest.approx({**before, "accuracy_low": comparison.metrics["accuracy_low"]}, abs=1e-5)


@pytest.mark.parametrize(
    ("source", "data", "problem"),
    [
        (
            {},
            {"image_size": (12, 11)},
            "it takes grayscale images of 10 by 10 pixels, and these are grayscale images of 12 by 11 pixels",
        ),
        ({}, {"color_mode": ColorMode.RGB}, "and these are rgb images of 10 by 10 pixels"),
        ({"test_data": None}, {}, "it came without spec.source.testData, so nobody knows which class"),
    ],
)
def test_a_source_that_cannot_be_asked_about_them_says_why(
    simply_trained: Any, stage: Stage, source: dict[str, Any], data: dict[str, Any], problem: str
):
    assert stage("export", as_source(simply_trained, **source)).code == 0
    ended = stage("train", next_version(simply_trained, **data))
    assert (ended.code, ended.result.comparison.metrics) == (0, {})
    assert problem in ended.result.comparison.problem


def test_a_source_of_other_classes_cannot_be_compared(simply_trained: Any, digits: Path, stage: Stage):
    assert stage("export", as_source(simply_trained)).code == 0
    (digits / "9").rename(digits / "nine")
    comparison = stage("train", next_version(simply_trained, digits)).result.comparison
    assert (comparison.metrics, comparison.problem) == ({}, "its classes are others: nine came and 9 went")


def test_a_version_whose_model_is_damaged_cannot_be_compared(simply_trained: Any, stage: Stage):
    (simply_trained.run / "model.keras").write_bytes(b"no model")
    ended = stage("train", next_version(simply_trained))
    assert (ended.code, ended.result.comparison.problem) == (0, "its model.keras cannot be loaded (ValueError)")


def test_an_export_whose_servable_is_too_large_publishes_nothing_until_the_gate_is_eased(
    simply_trained: Any, stage: Stage
):
    ended = stage("export", spec_of(simply_trained, gates=(SMALL, FAST)))
    assert (ended.code, ended.result.ok, ended.result.servable) == (0, True, None)
    assert ended.result.metrics["size_mb"] > 0.001
    assert not (simply_trained.store / "1").exists()
    assert not (simply_trained.run / "manifest.json").exists()

    eased = stage("export", spec_of(simply_trained, gates=(FAST,)))
    size = sum(path.stat().st_size for path in (simply_trained.store / "1").rglob("*") if path.is_file())
    assert eased.result.servable.bytes == size
    assert eased.result.metrics["size_mb"] == pytest.approx(size / 1e6)
    assert 0 < eased.result.metrics["latency_ms"] < 60_000
    again = stage("export", spec_of(simply_trained, gates=(FAST,)))
    assert again.result.metrics == eased.result.metrics


def test_an_export_is_held_back_by_one_bad_class(simply_trained: Any, stage: Stage):
    scores = json.loads((simply_trained.run / "evaluation.json").read_text())["perClass"]
    worst = min((score for score in scores if score["images"]), key=lambda score: float(score["recall"]))
    gate = Gate(metric=Metric.RECALL, of_class=worst["name"], min=1)
    assert worst["recall"] < 1
    ended = stage("export", spec_of(simply_trained, gates=(gate,)))
    assert ended.result.servable is None
    assert ended.result.metrics[f"recall of {worst['name']}"] == worst["recall"]


EVALUATION = EvaluationRecord(
    accuracy=0.9,
    accuracy_interval=Interval(0.8, 0.95, 0.95, 1000, 1),
    top_5_accuracy=None,
    macro_f1=0.8,
    loss=0.3,
    images=10,
    calibration=Calibration(0.1, ()),
    per_class=(
        ClassScore("beagle", 0.7, 0.6, 0.65, 6),
        ClassScore("pug", 1.0, 0.9, 0.95, 4),
        ClassScore("fox", 0, 0, 0, 0),
    ),
    confusion_matrix=[],
)


def test_numbers_of_classes_come_from_the_evaluation():
    gates = [
        Gate(metric=Metric.PRECISION, of_class="beagle", min=0.5),
        Gate(metric=Metric.RECALL, of_class="pug", min=0.5),
        Gate(metric=Metric.F1, of_class="pugg", min=0.5),
        Gate(metric=Metric.F1, of_class="fox", min=0.5),
        Gate(metric=Metric.ACCURACY, min=0.5),
    ]
    measured = of_classes(gates, EVALUATION)
    assert measured.metrics == {"precision of beagle": 0.7, "recall of pug": 0.9}
    assert measured.unmeasured == {
        "f1 of pugg": "there is no such class; the nearest is pug",
        "f1 of fox": "no test image is of this class",
    }
    assert unmet(gates, measured) == [
        "f1 of pugg was not measured (there is no such class; the nearest is pug), and its gate asks for >= 0.5",
        "f1 of fox was not measured (no test image is of this class), and its gate asks for >= 0.5",
    ]


def test_the_export_judges_what_only_it_can_tell():
    gates = [Gate(metric=Metric.ACCURACY, min=0.99), SMALL]
    assert unmet(gates, Measured({"size_mb": 0.001})) == []
    assert unmet(gates, Measured({"size_mb": 0.00100001})) == ["size_mb is 0.00100001, and its gate asks for <= 0.001"]


def test_the_export_judges_by_the_digits_that_the_status_will_show():
    assert unmet([SMALL], Measured({"size_mb": 0.0010000001})) == []
