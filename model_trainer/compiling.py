"""What a network is trained by: optimizer, loss and metrics."""

from __future__ import annotations

from typing import Any

import keras
import msgspec
from keras_operator.api import Training

from model_trainer.losses import loss_of
from model_trainer.measures import measures_of
from model_trainer.optimizer import optimizer_of
from model_trainer.tables.target import Target


def compile_for(
    training: Training, model: Any, steps: int, learning_rate: float | None = None, target: Target | None = None
) -> None:
    """Compile `model` for epochs of so many steps, by another learning rate than the optimizer's where one is given.

    `target` is the number that is learned; None: classes are.
    """
    optimizer = training.optimizer
    if learning_rate is not None:
        optimizer = msgspec.structs.replace(optimizer, learning_rate=learning_rate)
    of_number = [keras.metrics.MeanAbsoluteError(name="mae"), keras.metrics.RootMeanSquaredError(name="rmse")]
    model.compile(
        optimizer=optimizer_of(optimizer, steps),
        loss=loss_of(training, target),
        metrics=["accuracy", *measures_of(training.metrics)] if target is None else of_number,
        # XLA cannot wait for other workers in the middle of what it compiled.
        jit_compile=False if training.workers > 1 else "auto" if training.jit_compile is None else training.jit_compile,
    )
