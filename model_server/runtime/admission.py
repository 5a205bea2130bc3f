"""How many requests may be under way: past that they are refused at once instead of all becoming slow."""

from __future__ import annotations

import math
import time

from model_server.runtime.errors import OverloadedError
from model_server.turns import Turns


class Admission:
    """Counts the requests that wait or are being answered. Used on the event loop's thread only.

    `with admission:` holds a place for one request. It raises OverloadedError, which says when to come again.
    """

    def __init__(self, limit: int, turns: Turns) -> None:
        """At most `limit` requests are under way or wait for their turn at the same time."""
        self._limit = limit
        self._turns = turns
        self._count = 0
        # Seconds between the ends of two requests while there are any, smoothed: 1/8 of each new one.
        self._pace = 0.0
        self._last_end = 0.0

    def full(self) -> tuple[int, int] | None:
        """Where a request that has just come must not wait for its turn: how many do, and for how many seconds."""
        count = self._count + len(self._turns)
        return None if count < self._limit else (count, self._wait(count))

    def refusal(self) -> OverloadedError | None:
        """The same as an error."""
        full = self.full()
        return None if full is None else overloaded(*full)

    def check(self) -> None:
        """Raise the refusal, if there is one."""
        refusal = self.refusal()
        if refusal is not None:
            raise refusal

    def __enter__(self) -> None:
        if self._count >= self._limit:
            raise overloaded(self._count, self._wait(self._count))
        if not self._count:
            self._last_end = time.monotonic()
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        now = time.monotonic()
        self._pace += (now - self._last_end - self._pace) / 8
        self._last_end = now

    def _wait(self, count: int) -> int:
        return max(1, min(60, math.ceil(count * self._pace)))


def overloaded(count: int, wait: int) -> OverloadedError:
    """What a request is told that comes on top of `count` others: to come again in `wait` seconds."""
    return OverloadedError(
        f"{count} requests are under way, as many as --max_queued_requests allows: try again in {wait} s", wait
    )
