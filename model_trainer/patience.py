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
    so would be holding a node for a store that is gone. While a call waits, `say` is told once about each pause's
    length why, however many threads are waiting.
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

    def stop(self) -> None:
        """End every wait: the run is over for another reason."""
        self._stopped.set()

    def __call__(self, what: str, call: Callable[[], T]) -> T:
        """The result of `call`. Raises what `call` raised last, once waiting longer than `seconds` would be needed."""
        deadline = time.monotonic() + self.seconds
        pause = min(0.5, self.longest_pause)
        while True:
            try:
                return call()
            except StoreError as error:
                if not error.retryable or self._stopped.is_set() or time.monotonic() + pause > deadline:
                    raise
                self._tell(what, error, deadline)
            # Jitter, because the pods of many models wait for the same store.
            self._stopped.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret depends on it
            pause = min(pause * 2, self.longest_pause)

    def _tell(self, what: str, error: StoreError, deadline: float) -> None:
        now = time.monotonic()
        with self._lock:
            if now - self._told_at < self.longest_pause:
                return
            self._told_at = now
        left = deadline - now
        self._say(f"{what}: the store does not answer, trying for another {left:.0f} s")
        log.warning("%s: the store does not answer", what, extra={"cause": str(error), "secondsLeft": round(left)})
