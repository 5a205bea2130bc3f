"""A watch stream as kopf hands it over: in order for one object, in any order across objects; breaks and relists."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from random import Random

from keras_operator.cluster.reference import Kind

from tests.simulation.network import Later
from tests.simulation.object_table import Body, Change, ObjectTable, labels

Deliver = Callable[[Kind, str | None, Body], object]


@dataclass(slots=True)
class _Line:
    """What is on its way about one object, oldest first, and whether somebody is at it."""

    events: deque[tuple[float, str | None, Body]] = field(default_factory=deque)
    moving: bool = False


class Watch:
    """The stream of one kind to one process.

    Args:
        kind: of what.
        selector: `label=value`, or empty for everything.
        table: what is watched.
        random: decides about delays.
        later: calls back after so many seconds.
        elapsed: seconds since the beginning.
        deliver: who gets the events.

    Attributes:
        lag: seconds that an event takes at most.
        closed: nothing is delivered any more.
    """

    def __init__(
        self,
        kind: Kind,
        selector: str,
        table: ObjectTable,
        random: Random,
        later: Later,
        elapsed: Callable[[], float],
        deliver: Deliver,
    ) -> None:
        self.kind = kind
        self.lag = 0.05
        self.closed = False
        self._label, _, self._value = selector.partition("=")
        self._table = table
        self._random = random
        self._later = later
        self._elapsed = elapsed
        self._deliver = deliver
        self._lines: dict[str, _Line] = {}
        self._silent_until = 0.0
        self._generation = 0
        self._connected = False
        self._lost: dict[str, float] = {}

    def list_anew(self) -> None:
        """Report every object as found by a list; what is on its way is lost, deletions above all."""
        self._generation += 1
        self._connected = True
        for uid, line in self._lines.items():
            gone = uid in self._lost or any(kind_of_event == "DELETED" for _, kind_of_event, _ in line.events)
            if line.events and gone:
                # What went before, that it is on its way out above all, is in no list either.
                self._lost[uid] = min(self._lost.get(uid, inf), line.events[0][0])
        self._lines.clear()
        for _, body in self._table.of_kind(self.kind):
            if self._selects(body):
                self._send(None, body)

    def break_off(self, seconds: float) -> None:
        """Lose the connection for so long; what happens meanwhile is only in the list that follows."""
        self._generation += 1
        self._connected = False
        generation = self._generation
        self._later(seconds, lambda: self.list_anew() if generation == self._generation else None)

    def fall_silent(self, seconds: float) -> None:
        """Bring nothing for so long, as a half-open connection does; then it goes on where it was."""
        self._silent_until = max(self._silent_until, self._elapsed() + seconds)

    def heal(self) -> None:
        """Be quick and whole from now on."""
        self._silent_until = 0.0
        self.lag = 0.05
        if not self._connected:
            self.list_anew()

    def saw(self, change: Change) -> None:
        """Take in what happened, as the API server's watch cache turns it into an event of this selection."""
        before = change.before is not None and self._selects(change.before)
        after = change.after is not None and self._selects(change.after)
        if before and not after:
            # Both for an object that is gone and for one that left the selection: as it was, with the new revision.
            assert change.before is not None
            metadata = {**change.before["metadata"], "resourceVersion": str(change.revision)}
            self._event("DELETED", {**change.before, "metadata": metadata})
        elif after:
            assert change.after is not None
            self._event("MODIFIED" if before else "ADDED", change.after)

    def behind_since(self, knows: Callable[[str], bool]) -> float | None:
        """Since when something that happened has not been delivered, or None; `knows` a uid that the process caches."""
        for uid in [uid for uid in self._lost if not knows(uid)]:
            del self._lost[uid]
        waiting = [line.events[0][0] for line in self._lines.values() if line.events]
        return min((*waiting, *self._lost.values()), default=None)

    def _event(self, kind_of_event: str, body: Body) -> None:
        if not self._connected:
            if kind_of_event == "DELETED":
                self._lost.setdefault(body["metadata"]["uid"], self._elapsed())
            else:
                # The list to come holds it; until then it counts as not delivered.
                self._lines.setdefault(body["metadata"]["uid"], _Line()).events.append(
                    (self._elapsed(), kind_of_event, body)
                )
            return
        self._send(kind_of_event, body)

    def _send(self, kind_of_event: str | None, body: Body) -> None:
        line = self._lines.setdefault(body["metadata"]["uid"], _Line())
        line.events.append((self._elapsed(), kind_of_event, body))
        self._move(body["metadata"]["uid"], line)

    def _move(self, uid: str, line: _Line) -> None:
        if line.moving or not line.events:
            return
        line.moving = True
        generation = self._generation
        wait = self._random.uniform(0.001, self.lag) + max(0.0, self._silent_until - self._elapsed())
        self._later(wait, lambda: self._arrive(uid, line, generation))

    def _arrive(self, uid: str, line: _Line, generation: int) -> None:
        line.moving = False
        if self.closed or generation != self._generation or not line.events:
            return
        if self._silent_until > self._elapsed():
            self._move(uid, line)
            return
        # What came about one object in quick succession is handed over as the last of it.
        if len(line.events) > 1 and self._random.random() < 0.3:
            while len(line.events) > 1:
                line.events.popleft()
        _, kind_of_event, body = line.events.popleft()
        self._deliver(self.kind, kind_of_event, body)
        if not line.events:
            del self._lines[uid]
        elif self._random.random() < 0.02:
            self._deliver(self.kind, kind_of_event, body)
        self._move(uid, line)

    def _selects(self, body: Body) -> bool:
        return not self._label or labels(body).get(self._label) == self._value
