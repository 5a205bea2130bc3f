"""What a training does after each epoch: end, lower its learning rate, keep its network as the best.

Decided from the metrics of the epochs alone, as Keras' EarlyStopping and ReduceLROnPlateau do it, whose state does not
outlive their process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from keras_operator.api import EarlyStopping, ReduceOnPlateau, StopAt, Training


class Watch(msgspec.Struct, frozen=True):
    """One metric, watched for getting better.

    Attributes:
        value: the best one; None: there was none yet.
        epoch: after which it was measured, 1 and up.
        waited: epochs since then.
    """

    value: float | None = None
    epoch: int = 0
    waited: int = 0

    def after(self, value: float, epoch: int, *, monitor: str, min_delta: float) -> Watch:
        """The watch after `epoch` measured `value`, which is better if it differs by more than `min_delta`."""
        if math.isfinite(value) and (self.value is None or _gain(value, self.value, monitor) > min_delta):
            return Watch(value, epoch)
        return Watch(self.value, self.epoch, self.waited + 1)


class Course(msgspec.Struct, frozen=True, rename="camel"):
    """What is remembered from epoch to epoch; `cooldown` is how many epochs a plateau does not count for."""

    best: Watch = Watch()
    plateau: Watch = Watch()
    cooldown: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """After an epoch: the course from here on, whether this is the best network so far, and what follows.

    `end` says in words why training ends here; None: it goes on. `keep_this` says that the network of this epoch is
    wanted, whatever was better in another way.
    """

    course: Course
    best: bool
    reduce: bool = False
    end: str | None = None
    keep_this: bool = False


def watched(training: Training) -> EarlyStopping:
    """By what the best network is chosen: as early stopping says, or else by the loss on the validation images."""
    return training.early_stopping or EarlyStopping()


def judge(training: Training, course: Course, epoch: int, metrics: Mapping[str, float]) -> Verdict:
    """What follows from the metrics after `epoch` (1 and up)."""
    by = watched(training)
    best = course.best.after(metrics[by.monitor], epoch, monitor=by.monitor, min_delta=by.min_delta)
    plateau, cooldown, reduce = _plateau(training.reduce_on_plateau, course, epoch, metrics)
    after = Course(best, plateau, cooldown)
    is_best = best.epoch == epoch
    head = training.fine_tuning.head_epochs if training.fine_tuning else 0
    if epoch == head:
        # The next phase is another training of the same network: it gets the whole of everybody's patience.
        after = Course(Watch(best.value, best.epoch))
    reached = _reached(training.stop_at, metrics)
    if reached:
        return Verdict(after, is_best, end=reached, keep_this=True)
    if training.early_stopping and epoch > head and best.waited >= training.early_stopping.patience:
        words = f"{by.monitor} has not got better since epoch {best.epoch}"
        return Verdict(after, is_best, reduce, end=words)
    return Verdict(after, is_best, reduce)


def _plateau(
    wanted: ReduceOnPlateau | None, course: Course, epoch: int, metrics: Mapping[str, float]
) -> tuple[Watch, int, bool]:
    if wanted is None:
        return course.plateau, 0, False
    cooldown = max(0, course.cooldown - 1)
    watch = course.plateau.after(metrics[wanted.monitor], epoch, monitor=wanted.monitor, min_delta=wanted.min_delta)
    if cooldown:
        return Watch(watch.value, watch.epoch), cooldown, False
    if watch.waited >= wanted.patience:
        return Watch(watch.value, watch.epoch), wanted.cooldown, True
    return watch, 0, False


def _reached(wanted: StopAt | None, metrics: Mapping[str, float]) -> str | None:
    if wanted is None or not _at_least(metrics[wanted.monitor], wanted.value, wanted.monitor):
        return None
    return f"{wanted.monitor} reached {metrics[wanted.monitor]:.4g} (stopAt {wanted.value:g})"


def _at_least(value: float, bound: float, monitor: str) -> bool:
    return math.isfinite(value) and _gain(value, bound, monitor) >= 0


def _gain(value: float, reference: float, monitor: str) -> float:
    """By how much `value` is better than `reference`; an accuracy is better when it is higher, a loss when lower."""
    return value - reference if monitor.endswith("accuracy") else reference - value
