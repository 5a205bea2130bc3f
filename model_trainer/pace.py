"""How fast training is, and how long it will take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# Progress within an epoch: often enough for people, seldom enough to cost nothing.
SECONDS_BETWEEN_UPDATES = 1.0


@dataclass(frozen=True, slots=True)
class Tick:
    """Where training is: epochs done, `step` of `steps` done of the next one, metrics so far, seconds left or None.

    `step` is 0 where an epoch has just ended.
    `phase` is what the phase is called, empty where there is only one. `per_second` is how many training examples are
    learned from in a second, of all that an epoch takes, its validation included; None before that is known.
    """

    epoch: int
    step: int
    steps: int
    metrics: dict[str, float]
    seconds_left: float | None
    phase: str = ""
    per_second: float | None = None


class Pace:
    """Tells `tell` after each epoch and about once a second in between.

    Args:
        epochs: of the whole training.
        steps: batches in an epoch.
        examples: in an epoch.
        done: epochs done before this process.
        tell: what is told.
    """

    def __init__(self, epochs: int, steps: int, examples: int, done: float, tell: Callable[[Tick], None]) -> None:
        self._epochs = epochs
        self._steps = steps
        self._examples = examples
        self._tell = tell
        self._metrics: dict[str, float] = {}
        self._first_step = True
        self._untimed = done
        self._started = self._told = time.monotonic()
        self._phase = ""

    def begin_phase(self, name: str) -> None:
        """What comes now may take another time for each step; empty where it is the only phase."""
        self._phase = name
        self._first_step = True

    def step_ended(self, epoch: int, step: int) -> None:
        """`step` batches (1 and up) of the epoch after `epoch` are done."""
        if self._first_step:
            # The first step also builds the graph, which can take a hundred times as long as a step.
            self._first_step = False
            self._started, self._untimed = time.monotonic(), epoch + step / self._steps
        if time.monotonic() - self._told >= SECONDS_BETWEEN_UPDATES and step < self._steps:
            self._report(epoch, step)

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """`epoch` epochs are done."""
        self._metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self._report(epoch, 0)

    def _report(self, epoch: int, step: int) -> None:
        self._told = time.monotonic()
        done = epoch + step / self._steps
        timed, seconds = done - self._untimed, self._told - self._started
        left = seconds / timed * (self._epochs - done) if timed > 0 else None
        rate = timed * self._examples / seconds if timed > 0 and seconds > 0 else None
        self._tell(Tick(epoch, step, self._steps, self._metrics, left, self._phase, rate))
