"""How many requests may be under way: past that they are refused at once instead of all becoming slow."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

from model_server.runtime.errors import OverloadedError
from model_server.turns import Turns


class Admission:
    """Counts the requests that wait or are being answered. Used on the event loop's thread only."""

    def __init__(self, limit: int, turns: Turns) -> None:
        """At most `limit` requests are under way or wait for their turn at the same time."""
        self._limit = limit
        self._turns = turns
        self._count = 0
        # Seconds between the ends of two requests while there are any, smoothed: 1/8 of each new one.
        self._pace = 0.0
        self._last_end: float | None = None

    def check(self) -> None:
        """Raise OverloadedError where a request that has just come must not wait for its turn."""
        self._check(self._count + len(self._turns))

    @contextlib.contextmanager
    def admit(self) -> Iterator[None]:
        """Hold a place for one request. Raises OverloadedError, which says after how many seconds to come again."""
        self._check(self._count)
        if not self._count:
            self._last_end = time.monotonic()
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
            now = time.monotonic()
            if self._last_end is not None:
                self._pace += (now - self._last_end - self._pace) / 8
            self._last_end = now

    def _check(self, count: int) -> None:
        if count >= self._limit:
            wait = max(1, min(60, math.ceil(count * self._pace)))
            raise OverloadedError(
                f"{count} requests are under way, as many as --max_queued_requests allows: try again in {wait} s", wait
            )
