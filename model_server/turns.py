"""Who is next on the event loop's thread.

What has come is read and counted before it is answered: so a server knows how many wait, and can refuse at once. And
between slices of work the event loop looks after everything else, however much of it there is.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

_T = TypeVar("_T")
# A health probe waits for one slice at most. Looking at the sockets in between takes some microseconds.
_SLICE_SECONDS = 0.002


class Turns:
    """Calls what is added, in order, on the event loop's thread only."""

    def __init__(self) -> None:
        self._waiting: collections.deque[Callable[[], None]] = collections.deque()
        self._scheduled = False
        # Whether who asks has been called in its turn.
        self.serving = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, work: Callable[[], None]) -> None:
        """Call `work`, which raises nothing, in its turn: when what has arrived with it has been read."""
        self._waiting.append(work)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._serve)

    async def take(self, work: Callable[[], _T]) -> _T:
        """What `work` gives, called in its turn; or at once where the caller has been called in its own."""
        if self.serving:
            return work()
        await in_task()
        result: asyncio.Future[_T] = asyncio.get_running_loop().create_future()

        def answer() -> None:
            if result.cancelled():
                return
            try:
                result.set_result(work())
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
                result.set_exception(error)

        self.add(answer)
        return await result

    def _serve(self) -> None:
        waiting, end = self._waiting, time.monotonic() + _SLICE_SECONDS
        self.serving = True
        try:
            while waiting:
                waiting.popleft()()
                if time.monotonic() >= end:
                    break
        finally:
            self.serving = False
            self._scheduled = bool(waiting)
            if waiting:
                asyncio.get_running_loop().call_soon(self._serve)


class _Pause:
    """What a coroutine awaits to be gone on with by a task."""

    def __await__(self) -> Generator[None, None, None]:
        yield  # as `asyncio.sleep(0)` does


_BEGINNING = contextvars.ContextVar("beginning", default=False)


async def in_task() -> None:
    """Go on in a task of its own, where the caller was begun without one (see `begin`): whatever waits needs one."""
    if _BEGINNING.get():
        await _Pause()


def begin(coroutine: Coroutine[Any, Any, _T]) -> _T | Coroutine[Any, Any, _T]:
    """The result of a coroutine that never waits; else itself, begun, to be made a task.

    It may only wait after `in_task`. What is answered at once costs neither a task nor a round of the event loop.
    """
    before = _BEGINNING.set(True)
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    finally:
        _BEGINNING.reset(before)
    return coroutine
