"""The loss of a training: Keras' own, with its parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import msgspec
from keras_operator.api import Loss, Training

from model_trainer.tables.target import Target

_CLASSES = {
    Loss.CATEGORICAL_CROSSENTROPY: keras.losses.CategoricalCrossentropy,
    Loss.CATEGORICAL_FOCAL_CROSSENTROPY: keras.losses.CategoricalFocalCrossentropy,
}


def loss_of(training: Training, target: Target | None = None) -> Any:
    """What a training makes smaller: a name of Keras where nothing more is asked for."""
    if target is not None:
        return _in_deviations(training.objective, target)
    arguments = _parameters(training)
    if training.label_smoothing:
        arguments["label_smoothing"] = training.label_smoothing
    return _CLASSES[training.objective](**arguments) if arguments else str(training.objective)


def loss_of_each(training: Training, target: Target | None = None) -> Any:
    """A function of labels and probabilities [batch, classes] to the loss of each image, by labels as they are.

    Or of true numbers and answers, float32 [batch, 1], to the loss of each row.
    """
    if target is not None:
        return _in_deviations(training.objective, target)
    loss, parameters = training.objective, _parameters(training)
    return _CLASSES[loss](reduction=None, **parameters) if parameters else keras.losses.get(str(loss))


def _in_deviations(loss: Loss, target: Target) -> Callable[[Any, Any], Any]:
    """The loss of a number at mean 0 and variance 1, so that a learning rate suits every unit.

    Each of these losses is of the difference alone, from which the mean has gone.
    """
    measure = keras.losses.get(str(loss))

    def of_each(true: Any, answered: Any) -> Any:
        return measure(true / target.deviation, answered / target.deviation)

    return of_each


def _parameters(training: Training) -> dict[str, float]:
    written = training.loss_parameters
    if written is None:
        return {}
    values = {field.name: getattr(written, field.name) for field in msgspec.structs.fields(written)}
    return {name: value for name, value in values.items() if value is not None}
