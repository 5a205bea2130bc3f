"""Keras' metrics as `spec.training.metrics` asks for them, each called by its name there."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import msgspec
from keras_operator.api import MetricName, TrainingMetric

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


def measures_of(wanted: Sequence[TrainingMetric]) -> list[Any]:
    """New metrics of one-hot labels and probabilities [batch, classes] each; every result is one number."""
    return [_measure(each) for each in wanted]


def _measure(wanted: TrainingMetric) -> Any:
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


def _plain(value: Any) -> Any:
    """As Keras wants it and writes it into a model's file: no enumeration."""
    return str(value) if isinstance(value, str) else value


def class_of(name: MetricName) -> Any:
    """The class of a metric; `keras.metrics.get` gives a function for some names."""
    plain = name.replace("_", "")
    named = (getattr(keras.metrics, found) for found in dir(keras.metrics) if found.lower() == plain)
    return next(each for each in named if inspect.isclass(each))
