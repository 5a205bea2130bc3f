"""The loss of a training: Keras' own, with its parameters."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import msgspec
from keras_operator.api import IN_OWN_UNIT, OF_SMOOTH_LABELS, Loss, Training

from model_trainer.tables.target import Target

# Keras' default of two makes one number of a batch, in which no image could have a weight of its own; the third has no
# default as a function.
_ALWAYS: dict[Loss, dict[str, Any]] = {
    Loss.CATEGORICAL_GENERALIZED_CROSS_ENTROPY: {"q": 0.5},
    Loss.DICE: {"axis": -1},
    Loss.TVERSKY: {"axis": -1},
}


def loss_of(training: Training, target: Target | None = None) -> Any:
    """What a training makes smaller: a name of Keras where nothing more is asked for."""
    if target is not None:
        return _of_number(training, target)
    arguments = _parameters(training)
    if training.label_smoothing and training.objective in OF_SMOOTH_LABELS:
        arguments["label_smoothing"] = training.label_smoothing
    return class_of(training.objective)(**arguments) if arguments else str(training.objective)


def loss_of_each(training: Training, target: Target | None = None) -> Any:
    """A function of labels and probabilities [batch, classes] to the loss of each image, by labels as they are.

    Or of true numbers and answers, float32 [batch, 1], to the loss of each row.
    """
    return _of_each(training) if target is None else _of_number(training, target)


def class_of(loss: Loss) -> Any:
    """Keras' class of a loss."""
    plain = loss.replace("_", "")
    named = (getattr(keras.losses, found) for found in dir(keras.losses) if found.lower() == plain)
    return next(each for each in named if inspect.isclass(each))


def _of_each(training: Training) -> Any:
    loss, parameters = training.objective, _parameters(training)
    return class_of(loss)(reduction=None, **parameters) if parameters else keras.losses.get(str(loss))


def _of_number(training: Training, target: Target) -> Any:
    """The loss of a number at mean 0 and variance 1, so that a learning rate suits every unit.

    It is of the difference alone, from which the mean has gone. A loss that is not has the number as it is.
    """
    measure = _of_each(training)
    if training.objective in IN_OWN_UNIT:
        return measure

    def of_each(true: Any, answered: Any) -> Any:
        return measure(true / target.deviation, answered / target.deviation)

    return of_each


def _parameters(training: Training) -> dict[str, Any]:
    written = training.loss_parameters
    values: dict[str, Any] = dict(_ALWAYS.get(training.objective, {}))
    if written is not None:
        given = {field.name: getattr(written, field.name) for field in msgspec.structs.fields(written)}
        values |= {name: value for name, value in given.items() if value is not None}
    return values
