"""How long a servable's runs take: which are short enough for the event loop's own thread."""

from __future__ import annotations

import math
from collections.abc import Hashable

# Of so many runs the shortest counts: others may have waited for the processor, or for Python's lock.
_RUNS = 8
# Shapes are the clients' choice: they must not fill the memory.
_KINDS_KEPT = 256


class RunTimes:
    """Of one servable, by kind of run: what makes runs take equally long, a bounded signature and its inputs' shapes.

    Called from any thread; two that add at the same moment may lose a run, which is no harm.
    """

    def __init__(self) -> None:
        # By kind: how many runs since the last decision, and the shortest of them.
        self._runs: dict[Hashable, tuple[int, float]] = {}
        self._shortest: dict[Hashable, float] = {}
        # Seconds that the shortest kind takes; infinite while none is known.
        self.least = math.inf

    def seconds(self, kind: Hashable) -> float:
        """The shortest of the last runs of this kind; infinite while they are too few."""
        return self._shortest.get(kind, math.inf)

    def add(self, kind: Hashable, seconds: float) -> None:
        """One run has taken so long."""
        count, shortest = self._runs.get(kind, (0, math.inf))
        count, shortest = count + 1, min(shortest, seconds)
        if count < _RUNS:
            if len(self._runs) >= _KINDS_KEPT and kind not in self._runs:
                self._runs, self._shortest = {}, {}
            self._runs[kind] = count, shortest
            return
        self._runs[kind] = 0, math.inf
        self._shortest[kind] = shortest
        self.least = min(self._shortest.values())
