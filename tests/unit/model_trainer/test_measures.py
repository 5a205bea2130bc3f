"""Every metric that the API offers is measured while a network learns, and one number by its own name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import pytest
from keras_operator.api import Average, Curve, Data, MetricName, RunSpec, Training, TrainingMetric
from keras_operator.api.metrics import ANSWERS_OF_NUMBERS, ANSWERS_OF_NUMBERS_ALONE
from sklearn.metrics import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_log_error,
    r2_score,
    root_mean_squared_error,
)

from model_trainer.compiling import compile_for
from model_trainer.measures import measures_of
from model_trainer.tables.target import Target

AT: dict[MetricName, dict[str, Any]] = {
    MetricName.PRECISION_AT_RECALL: {"recall": 0.5},
    MetricName.RECALL_AT_PRECISION: {"precision": 0.5},
    MetricName.SENSITIVITY_AT_SPECIFICITY: {"specificity": 0.5},
    MetricName.SPECIFICITY_AT_SENSITIVITY: {"sensitivity": 0.5},
}
INPUTS = np.random.default_rng(0).random((12, 4), np.float32)
OF_CLASSES = [name for name in MetricName if name not in ANSWERS_OF_NUMBERS_ALONE]
LABELS = np.eye(3, dtype=np.float32)[np.arange(12) % 3]


def test_each_is_one_number_by_its_name_and_is_in_the_model_s_file(tmp_path: Path):
    wanted = tuple(TrainingMetric(name=name, **AT.get(name, {})) for name in OF_CLASSES)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    compile_for(Training(data=Data(uri="s3://x/y"), metrics=wanted), model, 1)
    history = model.fit(INPUTS, LABELS, validation_data=(INPUTS, LABELS), batch_size=5, verbose=0).history
    names = {"accuracy", "loss", *map(str, OF_CLASSES)}
    assert history.keys() == names | {f"val_{name}" for name in names}
    assert all(np.isfinite(values).all() and np.shape(values) == (1,) for values in history.values())
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").evaluate(INPUTS, LABELS, verbose=0, return_dict=True)
    assert again == pytest.approx({name: history[f"val_{name}"][0] for name in names}, abs=1e-5)


@pytest.mark.parametrize(
    ("wanted", "like"),
    [
        (TrainingMetric(name=MetricName.AUC, curve=Curve.PR), keras.metrics.AUC(curve="PR")),
        (TrainingMetric(name=MetricName.PRECISION, threshold=0.3), keras.metrics.Precision(thresholds=0.3)),
        (TrainingMetric(name=MetricName.F1_SCORE), keras.metrics.F1Score(average="macro")),
        (
            TrainingMetric(name=MetricName.F1_SCORE, average=Average.MICRO, threshold=0.3),
            keras.metrics.F1Score(average="micro", threshold=0.3),
        ),
        (TrainingMetric(name=MetricName.TOP_K_CATEGORICAL_ACCURACY, k=7), lambda *_: 1.0),
    ],
    ids=["curve", "threshold", "macro", "micro", "more than there are classes"],
)
def test_parameters_are_those_of_keras(wanted: TrainingMetric, like: Any):
    (measure,) = measures_of((wanted,))
    answers = INPUTS[:, :3] / INPUTS[:, :3].sum(axis=1, keepdims=True)
    assert float(measure(LABELS, answers)) == pytest.approx(float(like(LABELS, answers)))


def test_those_of_numbers_are_scikit_learn_s_in_batches():
    """Of years, of which a float32 squared keeps too little to know how they vary."""
    random = np.random.default_rng(4)
    true = random.uniform(1990, 2020, 200)
    answers = true + random.normal(0, 4, 200)
    measures = measures_of([TrainingMetric(name=name) for name in ANSWERS_OF_NUMBERS], Target("year", 2005.0, 8.7))
    for first in range(0, 200, 32):
        for each in measures:
            batch = (numbers[first : first + 32, None].astype(np.float32) for numbers in (true, answers))
            each.update_state(*batch)
    off = np.abs(answers - true)
    assert {each.name: float(each.result()) for each in measures} == {
        "cosine_similarity": pytest.approx(1),
        "mean_absolute_error": pytest.approx(mean_absolute_error(true, answers), rel=1e-4),
        "mean_squared_error": pytest.approx(mean_squared_error(true, answers), rel=1e-4),
        "root_mean_squared_error": pytest.approx(root_mean_squared_error(true, answers), rel=1e-4),
        "log_cosh_error": pytest.approx(np.log(np.cosh(off)).mean(), rel=1e-4),
        "mean_absolute_percentage_error": pytest.approx(100 * mean_absolute_percentage_error(true, answers), rel=1e-4),
        "mean_squared_logarithmic_error": pytest.approx(mean_squared_log_error(true, answers), rel=1e-2),
        "r2_score": pytest.approx(r2_score(true, answers), abs=1e-4),
    }


def test_nothing_is_explained_of_rows_that_are_all_the_same():
    (measure,) = measures_of((TrainingMetric(name=MetricName.R2_SCORE),), Target("year", 2005.0, 8.7))
    assert float(measure(np.full((3, 1), 2005.0), np.full((3, 1), 2005.0))) == 0


def test_they_are_measured_of_a_version_and_of_the_one_that_serves(
    few_digits: Path, tmp_path: Path, stage: Callable[[str, RunSpec], Any], spec: Callable[..., RunSpec]
):
    wanted = (TrainingMetric(name=MetricName.AUC), TrainingMetric(name=MetricName.TOP_K_CATEGORICAL_ACCURACY, k=2))
    first = stage("train", spec(few_digits, tmp_path / "store", metrics=wanted)).result
    assert first.metrics["accuracy"] <= first.metrics["top_k_categorical_accuracy"] <= 1
    assert {"auc", "val_auc", "val_top_k_categorical_accuracy"} <= first.metrics.keys()
    report = (tmp_path / "store/.runs/1/report.html").read_text()
    assert "top k categorical accuracy" in report
    run = spec(few_digits, tmp_path / "store", number=2, owner="uid-2", metrics=wanted)
    second = stage("train", msgspec.structs.replace(run, serving=1))
    assert second.result.comparison.metrics["auc"] == pytest.approx(first.metrics["auc"], abs=1e-6)
