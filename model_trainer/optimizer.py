"""The optimizer of a training: Keras' own, with its schedule turned from epochs into steps."""

from __future__ import annotations

from typing import Any

import keras
import msgspec
from keras_operator.api import Optimizer, OptimizerName, Schedule, ScheduleName


def optimizer_of(optimizer: Optimizer, steps: int) -> Any:
    """A new Keras optimizer for epochs of so many steps."""
    written = {
        field.name: value
        for field in msgspec.structs.fields(optimizer)
        if field.name not in {"name", "learning_rate", "schedule"}
        and (value := getattr(optimizer, field.name)) is not None
    }
    rate = optimizer.learning_rate if optimizer.schedule is None else schedule_of(optimizer, optimizer.schedule, steps)
    return class_of(optimizer.name)(learning_rate=rate, **written)


def class_of(name: OptimizerName) -> Any:
    """The class of an optimizer; `keras.optimizers.get` does not know all of them."""
    return next(getattr(keras.optimizers, found) for found in dir(keras.optimizers) if found.lower() == name)


def schedule_of(optimizer: Optimizer, schedule: Schedule, steps: int) -> Any:
    """The learning rate after each step, as Keras computes it.

    A warm-up goes from 0 to `learning_rate`, and the decay begins there.
    """
    rate = optimizer.learning_rate
    if schedule.name is ScheduleName.PIECEWISE_CONSTANT_DECAY:
        boundaries = [_steps(epochs, steps) for epochs in schedule.boundaries or ()]
        values = [rate, *(rate * factor for factor in schedule.factors or ())]
        return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
    arguments = {
        name: value
        for name in ("decay_rate", "alpha", "end_learning_rate", "power", "staircase", "cycle")
        if (value := getattr(schedule, name)) is not None
    }
    decay = "first_decay_steps" if schedule.name is ScheduleName.COSINE_DECAY_RESTARTS else "decay_steps"
    arguments[decay] = _steps(schedule.decay_epochs or 1.0, steps)
    if schedule.warmup_epochs is not None:
        arguments |= {"warmup_target": rate, "warmup_steps": _steps(schedule.warmup_epochs, steps)}
        rate = 0.0
    return getattr(keras.optimizers.schedules, schedule.name)(rate, **arguments)


def _steps(epochs: float, steps: int) -> int:
    return max(1, round(epochs * steps))
