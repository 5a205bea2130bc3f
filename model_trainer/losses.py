"""The loss of a training: Keras' own, with its parameters."""

from __future__ import annotations

from typing import Any

import keras
import msgspec
from keras_operator.api import Loss, Training

_CLASSES = {
    Loss.CATEGORICAL_CROSSENTROPY: keras.losses.CategoricalCrossentropy,
    Loss.CATEGORICAL_FOCAL_CROSSENTROPY: keras.losses.CategoricalFocalCrossentropy,
}


def loss_of(training: Training) -> Any:
    """What a training makes smaller: a name of Keras where nothing more is asked for."""
    arguments = _parameters(training)
    if training.label_smoothing:
        arguments["label_smoothing"] = training.label_smoothing
    return _CLASSES[training.loss](**arguments) if arguments else str(training.loss)


def loss_of_each(training: Training) -> Any:
    """A function of labels and probabilities [batch, classes] to the loss of each image, by labels as they are."""
    parameters = _parameters(training)
    return _CLASSES[training.loss](reduction=None, **parameters) if parameters else keras.losses.get(str(training.loss))


def _parameters(training: Training) -> dict[str, float]:
    written = training.loss_parameters
    if written is None:
        return {}
    values = {field.name: getattr(written, field.name) for field in msgspec.structs.fields(written)}
    return {name: value for name, value in values.items() if value is not None}
