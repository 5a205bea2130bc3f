"""The runs of graphs that are under way: which take long, and which do not end although their time is over.

TensorFlow ends a run at its timeout (RunOptions) wherever a loop begins its next round. Within one operation it cannot:
a loop that XLA has compiled (`jit_compile=True`) is one.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

# A run that takes longer has a thread and a place in TensorFlow's pool replaced, so that others go on.
LONG_SECONDS = 2.0
# As many are replaced at the same time.
MOST_REPLACED = 4


@dataclasses.dataclass(slots=True, eq=False)
class Run:
    """One run. `begin` and `end` are on the monotonic clock, `end` is None without a timeout."""

    model: str
    version: int
    signature: str
    begin: float
    end: float | None

    def __str__(self) -> str:
        return f'signature "{self.signature}" of {self.model} version {self.version}'


class Runs:
    """Counts runs in and out, from any thread."""

    def __init__(self) -> None:
        self._under_way: set[Run] = set()
        # How many runs took long at the last look, at most MOST_REPLACED.
        self.long = 0

    def begin(self, model: str, version: int, signature: str, timeout_ms: int) -> Run:
        """A run begins, with a timeout or (0) without."""
        now = time.monotonic()
        run = Run(model, version, signature, now, now + timeout_ms / 1000 if timeout_ms else None)
        self._under_way.add(run)
        return run

    def end(self, run: Run) -> None:
        """A run has ended."""
        self._under_way.discard(run)

    def look(self, now: float, overtime: float) -> Sequence[Run]:
        """Count those that take long, and return those that are `overtime` seconds past their timeout."""
        runs = list(self._under_way)  # in one step: other threads add and discard
        self.long = min(MOST_REPLACED, sum(now - run.begin > LONG_SECONDS for run in runs))
        return [run for run in runs if run.end is not None and now > run.end + overtime]
