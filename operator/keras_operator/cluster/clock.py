"""Time as an argument: the real one, and one that a test or a simulation moves by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Protocol

logger = logging.getLogger(__name__)


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Make sure that it does not come; harmless after it came."""


class Clock(Protocol):
    """What the operator asks of time."""

    def monotonic(self) -> float:
        """Seconds that never jump, for intervals and deadlines."""

    def now(self) -> datetime:
        """Wall clock in UTC, for what people read and for timestamps of the API server."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call back once after so many seconds."""


class SystemClock:
    """The real time, timers on the running event loop."""

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    def now(self) -> datetime:
        """Wall clock in UTC."""
        return datetime.now(UTC)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call back once after so many seconds, on the running loop."""
        return asyncio.get_running_loop().call_later(seconds, callback)


class ServerClock(SystemClock):
    """The real time, where the wall clock is the API server's: its timestamps are what decisions compare with.

    The server tells its time in whole seconds with every answer. Only a difference that no network explains counts.

    Args:
        own: this machine's wall clock.
    """

    _TOLERANCE = timedelta(seconds=5)

    def __init__(self, own: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._own = own
        self._ahead = timedelta()
        self._last = ""

    def now(self) -> datetime:
        """Wall clock of the API server in UTC, as far as it is known."""
        return self._own() - self._ahead

    def heard(self, date: str) -> None:
        """Take in the `Date` header of an answer; one that is no date is ignored."""
        if date == self._last:
            return
        self._last = date
        try:
            ahead = self._own() - parsedate_to_datetime(date)
        except (TypeError, ValueError):
            return
        if abs(ahead - self._ahead) > self._TOLERANCE:
            self._ahead = ahead if abs(ahead) > self._TOLERANCE else timedelta()
            logger.warning(
                "this machine's clock is %.0f s %s the API server's: taken into account",
                abs(ahead.total_seconds()),
                "ahead of" if ahead > timedelta() else "behind",
            )


class _ManualTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """Time that moves only by :meth:`advance`; timers fire in order while it moves."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = 0.0
        self._timers: list[tuple[float, int, _ManualTimer]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed

    def now(self) -> datetime:
        """Start time plus what was advanced."""
        return self._start + timedelta(seconds=self._elapsed)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call back while :meth:`advance` passes that moment."""
        timer = _ManualTimer(callback)
        heapq.heappush(self._timers, (self._elapsed + max(0.0, seconds), next(self._order), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Move on by so many seconds, firing every timer on the way at its own moment."""
        target = self._elapsed + seconds
        while self._timers and self._timers[0][0] <= target:
            due, _, timer = heapq.heappop(self._timers)
            self._elapsed = max(self._elapsed, due)
            if timer.callback is not None:
                timer.callback()
        self._elapsed = target


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait so many seconds of that clock."""
    done = asyncio.get_running_loop().create_future()
    timer = clock.call_later(seconds, lambda: None if done.done() else done.set_result(None))
    try:
        await done
    finally:
        timer.cancel()
