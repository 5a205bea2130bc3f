"""An event loop whose time is counted, not waited for, and the operator's clock on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from keras_operator.cluster.clock import ServerClock

START = datetime(2026, 1, 1, tzinfo=UTC)


class NothingLeftError(Exception):
    """No task can go on and no timer is set: whoever waits now would wait for ever."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """asyncio without sockets, threads and waiting: where nothing is ready, the time of the next timer comes at once.

    `asyncio.timeout` and `asyncio.sleep` count this time, so the operator's own code runs on it as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._elapsed = 0.0
        self._selector = self

    def time(self) -> float:
        """Seconds since the beginning."""
        return self._elapsed

    def select(self, timeout: float | None) -> list[Any]:
        """What a selector is asked: here nothing ever arrives from outside."""
        if timeout is None:
            raise NothingLeftError("every task waits, and nothing is left that could wake one")
        self._elapsed += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody else runs who could need to be woken."""


class LoopClock(ServerClock):
    """The operator's clock on a loop's time.

    Args:
        loop: whose time.
        skew: seconds by which this machine's wall clock is wrong.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, skew: float = 0.0) -> None:
        start = START + timedelta(seconds=skew)
        super().__init__(lambda: start + timedelta(seconds=loop.time()))
        self._loop = loop

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self._loop.time()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        """Call back once after so many seconds."""
        return self._loop.call_later(seconds, callback)
