"""How many requests may be under way: past that they are refused at once instead of all becoming slow."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

from model_server.runtime.errors import OverloadedError


class Admission:
    """Counts the requests that wait or are being answered. Used on the event loop's thread only."""

    def __init__(self, limit: int) -> None:
        """At most `limit` requests are under way at the same time."""
        self._limit = limit
        self._count = 0
        # Seconds between the ends of two requests while there are any, smoothed: 1/8 of each new one.
        self._pace = 0.0
        self._last_end: float | None = None

    @contextlib.contextmanager
    def admit(self) -> Iterator[None]:
        """Hold a place for one request. Raises OverloadedError, which says after how many seconds to come again."""
        if self._count >= self._limit:
            wait = max(1, min(60, math.ceil(self._count * self._pace)))
            raise OverloadedError(
                f"{self._count} requests are under way, as many as --max_queued_requests allows: try again in {wait} s",
                wait,
            )
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
