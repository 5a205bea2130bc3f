"""Waiting for a store that is away, for a bounded time."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from model_store import StoreError

log = logging.getLogger(__name__)

T = TypeVar("T")


class Patience:
    """Repeats a call to the store while it fails with a retryable error, for `seconds` in all.

    An object store that restarts is back within a minute or two; losing hours of training to that would be wrong, and
    so would be holding a node for a store that is gone. While calls wait, `say` is told why, once about each pause's
    length however many threads are waiting, and an empty sentence when none waits any more.
    """

    def __init__(
        self, seconds: float = 300.0, longest_pause: float = 10.0, say: Callable[[str], None] = lambda message: None
    ) -> None:
        self.seconds = seconds
        self.longest_pause = longest_pause
        self._say = say
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._told_at = -longest_pause
        self._waiting = 0  # calls

    def stop(self) -> None:
        """End every wait: the run is over for another reason."""
        self._stopped.set()

    def __call__(self, what: str, call: Callable[[], T]) -> T:
        """The result of `call`. Raises what `call` raised last, once waiting longer than `seconds` would be needed."""
        deadline = time.monotonic() + self.seconds
        pause = min(0.5, self.longest_pause)
        waits = False
        try:
            while True:
                try:
                    return call()
                except StoreError as error:
                    if not error.retryable or self._stopped.is_set() or time.monotonic() + pause > deadline:
                        raise
                    self._tell(what, error, deadline, also_waits=not waits)
                    waits = True
                # Jitter, because the pods of many models wait for the same store.
                self._stopped.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret depends on it
                pause = min(pause * 2, self.longest_pause)
        finally:
            if waits:
                self._end_wait()

    def _tell(self, what: str, error: StoreError, deadline: float, *, also_waits: bool) -> None:
        now = time.monotonic()
        left = deadline - now
        with self._lock:
            self._waiting += also_waits
            if now - self._told_at < self.longest_pause:
                return
            self._told_at = now
            self._say(f"{what}: the store does not answer, trying for another {left:.0f} s: {error}")
        log.warning("%s: the store does not answer", what, extra={"cause": str(error), "secondsLeft": round(left)})

    def _end_wait(self) -> None:
        with self._lock:
            self._waiting -= 1
            if not self._waiting:
                self._told_at = -self.longest_pause
                self._say("")
