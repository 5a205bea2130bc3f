"""Compile and fit, with progress on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras_operator.api import ClassWeights, EarlyStopping, Optimizer, Training

from model_trainer.data.dataset import Dataset
from model_trainer.data.pipeline import Batches, Shuffling
from model_trainer.data.split import Indices, Split
from model_trainer.failure import Diverged

History = dict[str, list[float]]

# Progress within an epoch: often enough for people, seldom enough to cost nothing.
SECONDS_BETWEEN_UPDATES = 1.0


@dataclass(frozen=True, slots=True)
class Tick:
    """Where training is: epochs done, part of the present epoch that is done, metrics so far, seconds left or None."""

    epoch: int
    part: float
    metrics: dict[str, float]
    seconds_left: float | None


class _Report(keras.callbacks.Callback):  # type: ignore[misc] # keras has no types
    """Tells `tell` after each epoch and about once a second in between."""

    def __init__(self, epochs: int, steps: int, tell: Callable[[Tick], None]) -> None:
        super().__init__()
        self._epochs = epochs
        self._steps = steps
        self._tell = tell
        self._done = 0
        self._metrics: dict[str, float] = {}
        self._untimed = 0.0
        self._started = self._told = time.monotonic()

    def on_train_begin(self, logs: Any = None) -> None:
        del logs
        self._started = self._told = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        del logs
        if not self._done and not batch:
            # The first step also builds the graph, which can take a hundred times as long as a step.
            self._started, self._untimed = time.monotonic(), 1 / self._steps
        if time.monotonic() - self._told >= SECONDS_BETWEEN_UPDATES and batch + 1 < self._steps:
            self._report((batch + 1) / self._steps)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._done = epoch + 1
        self._metrics = {name: float(value) for name, value in (logs or {}).items() if math.isfinite(float(value))}
        self._report(0.0)

    def _report(self, part: float) -> None:
        self._told = time.monotonic()
        done = self._done + part
        timed = done - self._untimed
        left = (self._told - self._started) / timed * (self._epochs - done) if timed > 0 else None
        self._tell(Tick(self._done, part, self._metrics, left))


def train(model: Any, dataset: Dataset, split: Split, training: Training, tell: Callable[[Tick], None]) -> History:
    """Train `model` in place on the train part; returns each metric's value after each epoch.

    Raises:
        Diverged: the loss is no longer a number.
    """
    shuffling = Shuffling(training.seed, training.augmentation)
    batches = _batches(dataset, split.train, training, shuffling)
    classes = len(dataset.classes)
    model.compile(optimizer=optimizer_of(training.optimizer), loss=str(training.loss), metrics=["accuracy"])
    callbacks = [keras.callbacks.TerminateOnNaN(), _Report(training.epochs, batches.steps, tell)]
    if training.early_stopping is not None:
        callbacks.append(_early_stopping(training.early_stopping))
    fitted = model.fit(
        batches.dataset(classes, training.loss),
        validation_data=_batches(dataset, split.validation, training, None).dataset(classes, training.loss),
        epochs=training.epochs,
        callbacks=callbacks,
        class_weight=class_weights(dataset, split.train, training.data.class_weights),
        shuffle=False,
        verbose=0,
    )
    history = {name: [float(value) for value in values] for name, values in fitted.history.items()}
    losses = history.get("loss", [])
    if not losses or not math.isfinite(losses[-1]):
        raise Diverged(
            f"The loss is no longer a number in epoch {max(1, len(losses))} of {training.epochs}. Lower "
            f"spec.training.optimizer.learningRate (it is {training.optimizer.learning_rate:g}), or choose another "
            "spec.training.optimizer.name."
        )
    return history


def class_weights(dataset: Dataset, part: Indices, wanted: ClassWeights | None) -> dict[int, float] | None:
    """Each class's factor in the loss, or None where every image counts the same.

    Balanced as scikit-learn's `compute_class_weight`: images / (classes * images of the class).
    """
    if wanted is None:
        return None
    counts = np.bincount(dataset.labels(part), minlength=len(dataset.classes))
    return {label: float(len(part) / (len(counts) * count)) for label, count in enumerate(counts)}


def _batches(dataset: Dataset, part: Any, training: Training, shuffling: Shuffling | None) -> Batches:
    return Batches(
        dataset.pixels,
        dataset.rows(part),
        dataset.labels(part),
        batch_size=training.batch_size,
        shuffling=shuffling,
    )


def optimizer_of(optimizer: Optimizer) -> Any:
    """A new Keras optimizer."""
    return keras.optimizers.get(
        {"class_name": str(optimizer.name), "config": {"learning_rate": optimizer.learning_rate}}
    )


def _early_stopping(stopping: EarlyStopping) -> Any:
    return keras.callbacks.EarlyStopping(
        monitor=str(stopping.monitor),
        patience=stopping.patience,
        min_delta=stopping.min_delta,
        restore_best_weights=stopping.restore_best_weights,
        mode="max" if stopping.monitor.endswith("accuracy") else "min",
    )
