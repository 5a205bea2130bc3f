"""A work queue of keys with the semantics of client-go's: what changes while it is worked on is worked on again."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from keras_operator.cluster.clock import Clock, SystemClock, Timer

K = TypeVar("K", bound=Hashable)


class QueueClosedError(Exception):
    """The queue was closed and has nothing more to give."""


class KeyedQueue(Generic[K]):
    """Keys that wait for a worker.

    * A key waits at most once, however often it is added: many changes cost one piece of work.
    * A key is never with two workers. Added while it is worked on, it waits again as soon as :meth:`done` is called.
    * Of several delayed adds of a key the earliest counts; a later plain add does not cancel it, it comes first.
    * Failures of a key back off for that key alone: `0.2 s * 2^n` up to 300 s, each between 75 % and 125 % of that.

    Args:
        clock: where delays are counted.
        first_delay: seconds before the first retry.
        longest_delay: bound of the backoff in seconds.
        jitter: gives numbers in [0, 1).
        on_wait: told for each key handed out how many seconds it had been ready.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        first_delay: float = 0.2,
        longest_delay: float = 300.0,
        jitter: Callable[[], float] = random.random,
        on_wait: Callable[[float], object] = lambda _seconds: None,
    ) -> None:
        self._clock: Clock = clock or SystemClock()
        self._first_delay = first_delay
        self._longest_delay = longest_delay
        self._jitter = jitter
        self._on_wait = on_wait
        self._ready: deque[K] = deque()
        self._dirty: dict[K, float] = {}
        self._processing: set[K] = set()
        self._timers: dict[K, tuple[float, Timer]] = {}
        self._failures: dict[K, int] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        """Keys that are ready for a worker now (not delayed ones, not those being worked on)."""
        return len(self._ready)

    @property
    def keys(self) -> dict[str, list[K]]:
        """The keys that are ready, being worked on, and delayed."""
        return {"ready": list(self._ready), "processing": list(self._processing), "delayed": list(self._timers)}

    @property
    def processing(self) -> int:
        """Keys that are being worked on."""
        return len(self._processing)

    @property
    def delayed(self) -> int:
        """Keys whose delayed add is still to come."""
        return len(self._timers)

    def add(self, key: K) -> None:
        """Make a key ready, unless it is already; after :meth:`close` nothing happens."""
        if self._closed or key in self._dirty:
            return
        self._dirty[key] = self._clock.monotonic()
        if key not in self._processing:
            self._ready.append(key)
            self._wake_one()

    def add_after(self, key: K, seconds: float) -> None:
        """Make a key ready after so many seconds, or at the earlier moment that was already asked for."""
        if self._closed:
            return
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        pending = self._timers.get(key)
        if pending is not None:
            if pending[0] <= due:
                return
            pending[1].cancel()
        self._timers[key] = (due, self._clock.call_later(seconds, lambda: self._fire(key)))

    async def get(self) -> K:
        """Next ready key, in the order in which they became ready; the caller must call :meth:`done` for it.

        Raises:
            QueueClosedError: the queue is closed.
        """
        while not self._ready or self._closed:
            if self._closed:
                raise QueueClosedError("the queue is closed")
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except BaseException:
                # A cancelled waiter may have been chosen already: its wake-up belongs to somebody else then.
                if waiter.done() and not waiter.cancelled() and self._ready:
                    self._wake_one()
                raise
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        key = self._ready.popleft()
        self._on_wait(self._clock.monotonic() - self._dirty.pop(key))
        self._processing.add(key)
        return key

    def done(self, key: K) -> None:
        """Say that the work on a key ended, well or not; if it was added meanwhile it is ready again."""
        self._processing.discard(key)
        if key in self._dirty and not self._closed:
            self._ready.append(key)
            self._wake_one()

    def retry(self, key: K, at_least: float = 0.0) -> float:
        """Add a key again after its backoff, and count one more failure of it.

        Args:
            at_least: seconds to wait at the least, e.g. what the API server asked for.

        Returns:
            Seconds until then.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # 2^30 s is far beyond any bound, and keeps the power a small number.
        backoff = min(self._first_delay * 2.0 ** min(failures, 30), self._longest_delay)
        delay = max(at_least, backoff * (0.75 + 0.5 * self._jitter()))
        self.add_after(key, delay)
        return delay

    def failures(self, key: K) -> int:
        """How often a key was retried since it was well."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """Say that a key is well: its next failure starts with the first delay again."""
        self._failures.pop(key, None)

    def close(self) -> None:
        """Give nothing more: waiting and later :meth:`get` raise, adds are ignored, timers are cancelled."""
        self._closed = True
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _fire(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
