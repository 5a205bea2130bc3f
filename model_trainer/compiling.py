"""What a network is trained by: optimizer, loss and metrics."""

from __future__ import annotations

from typing import Any

import keras
from keras_operator.api import Loss, Training

from model_trainer.measures import measures_of
from model_trainer.optimizer import optimizer_of

_SMOOTHING = {
    Loss.CATEGORICAL_CROSSENTROPY: keras.losses.CategoricalCrossentropy,
    Loss.CATEGORICAL_FOCAL_CROSSENTROPY: keras.losses.CategoricalFocalCrossentropy,
}


def compile_for(training: Training, model: Any, steps: int) -> None:
    """Compile `model` for epochs of so many steps."""
    loss: Any = str(training.loss)
    if training.label_smoothing:
        loss = _SMOOTHING[training.loss](label_smoothing=training.label_smoothing)
    model.compile(
        optimizer=optimizer_of(training.optimizer, steps),
        loss=loss,
        metrics=["accuracy", *measures_of(training.metrics)],
        jit_compile="auto" if training.jit_compile is None else training.jit_compile,
    )
