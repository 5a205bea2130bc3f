"""Keras' metrics as `spec.training.metrics` asks for them, each called by its name there."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import msgspec
from keras_operator.api import MetricName, TrainingMetric

from model_trainer.tables.target import Target

# Keras' own spelling, where a threshold may be a list of them.
_SEVERAL_THRESHOLDS = frozenset(
    {
        MetricName.FALSE_NEGATIVES,
        MetricName.FALSE_POSITIVES,
        MetricName.PRECISION,
        MetricName.RECALL,
        MetricName.TRUE_NEGATIVES,
        MetricName.TRUE_POSITIVES,
    }
)
_F_SCORES = frozenset({MetricName.F1_SCORE, MetricName.F_BETA_SCORE})


def measures_of(wanted: Sequence[TrainingMetric], target: Target | None = None) -> list[Any]:
    """New metrics of one-hot labels and probabilities [batch, classes] each; every result is one number.

    Where there is a `target`, they are of true numbers and answers, float32 [batch, 1].
    """
    return [_measure(each, target) for each in wanted]


def _measure(wanted: TrainingMetric, target: Target | None) -> Any:
    if target is not None and wanted.name is MetricName.R2_SCORE:
        return _Explained(target)
    arguments = {
        field.name: value
        for field in msgspec.structs.fields(wanted)
        if field.name != "name" and (value := getattr(wanted, field.name)) is not None
    }
    if wanted.name in _SEVERAL_THRESHOLDS and "threshold" in arguments:
        arguments["thresholds"] = arguments.pop("threshold")
    if wanted.name in _F_SCORES:
        # Keras' own default is a number for each class, which the evaluation has anyway.
        arguments = {"average": "macro", **arguments}
    return class_of(wanted.name)(name=str(wanted.name), **{name: _plain(value) for name, value in arguments.items()})


class _Explained(keras.metrics.R2Score):  # type: ignore[misc] # keras has no types
    """Keras' R2Score of numbers at mean 0 and variance 1, which is the same.

    Keras takes the variance for a difference of sums, of which a float32 has seven digits: nothing is left of the years
    1990 to 2020. Where all true numbers are the same, it is 0.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(name=str(MetricName.R2_SCORE))
        self._target = target

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        super().update_state(self._standard(y_true), self._standard(y_pred), sample_weight)

    def result(self) -> Any:
        score = super().result()
        return keras.ops.where(keras.ops.isfinite(score), score, 0.0)

    def _standard(self, numbers: Any) -> Any:
        return (keras.ops.convert_to_tensor(numbers, "float32") - self._target.mean) / self._target.deviation


def _plain(value: Any) -> Any:
    """As Keras wants it and writes it into a model's file: no enumeration."""
    return str(value) if isinstance(value, str) else value


def class_of(name: MetricName) -> Any:
    """The class of a metric; `keras.metrics.get` gives a function for some names."""
    plain = name.replace("_", "")
    named = (getattr(keras.metrics, found) for found in dir(keras.metrics) if found.lower() == plain)
    return next(each for each in named if inspect.isclass(each))
