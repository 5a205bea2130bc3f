"""The threads that answer requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

_T = TypeVar("_T")


class Workers:
    """As many threads as are useful, and some more while there are long runs: one that does not end must not block.

    `concurrent.futures` has no pool that grows for a while.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._wanted = self._started = 0
        self.add(0)

    def submit(self, work: Callable[[], _T]) -> Future[_T]:
        """The result of `work`, which is called in a thread, in its turn."""
        future: Future[_T] = Future()
        self._queue.put((future, work))
        return future

    def add(self, more: int) -> None:
        """Have `more` threads than usual, 0 to have them end after the work that they do next."""
        with self._lock:
            self._wanted = self.threads + more
            while self._started < self._wanted:
                self._started += 1
                threading.Thread(target=self._work, name="worker", daemon=True).start()

    def _work(self) -> None:
        while not self._is_surplus():
            _do(*self._queue.get())

    def _is_surplus(self) -> bool:
        if self._started <= self._wanted:
            return False
        with self._lock:
            surplus = self._started > self._wanted
            self._started -= surplus
        return surplus


def _do(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's
        future.set_exception(error)
        # The error's traceback holds this frame: with the future in it, the three would keep each other alive.
        del future, work
