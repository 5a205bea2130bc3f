"""Who is next on the event loop's thread.

What has come is read and counted before it is answered: so a server knows how many wait, and can refuse at once. And
between slices of work the event loop looks after everything else, however much of it there is.

Within a slice work of one kind is done in a row (`Together`): requests are decoded, then all their graphs run, then the
answers are written. In turns, each of the three would find the processor's caches full of what the others need.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import functools
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

_T = TypeVar("_T")
# A health probe waits for one slice at most. Looking at the sockets in between takes some microseconds.
_SLICE_SECONDS = 0.002


class Together:
    """What a coroutine awaits in its turn: the result of `work`, which is done in a row with that of others.

    `seconds` is about how long it takes.
    """

    __slots__ = ("_error", "_result", "_work", "coroutine", "seconds")

    def __init__(self, work: Callable[[], Any], seconds: float) -> None:
        self._work = work
        self.seconds = seconds
        self._result: Any = None
        self._error: Exception | None = None
        # Who awaits it, once begun.
        self.coroutine: Coroutine[Any, Any, Any]

    def __await__(self) -> Generator[Together, None, Any]:
        yield self
        if self._error is None:
            return self._result
        try:
            raise self._error
        finally:
            # Its traceback holds this: with the error in it, the two would keep each other alive.
            self._error = None

    def do(self) -> None:
        """Do the work."""
        try:
            self._result = self._work()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the coroutine's
            self._error = error

    def go_on(self) -> Any:
        """Go on with who awaits it; what that gives, as `begin` does."""
        return begin(self.coroutine)


class Turns:
    """Calls what is added, in order, on the event loop's thread only."""

    def __init__(self) -> None:
        self._waiting: collections.deque[Callable[[], None]] = collections.deque()
        self._together: list[tuple[Together, Callable[[], None]]] = []
        self._together_seconds = 0.0
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

    def gather(self, work: Together, then: Callable[[], None]) -> None:
        """To be called in a turn: do `work` in the same slice, and call `then`, which raises nothing, when it is done.

        `then` is called when all has been done that is gathered in this slice.
        """
        self._together.append((work, then))
        self._together_seconds += work.seconds

    async def take(self, answer: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """What `answer`, which awaits nothing but `Together`, gives when it is begun in its turn."""
        await in_task()
        result: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self.add(lambda: None if result.cancelled() else self._settle(result, lambda: begin(answer())))
        return await result

    def _settle(self, result: asyncio.Future[Any], go_on: Callable[[], Any]) -> None:
        try:
            found = go_on()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
            result.set_exception(error)
            return
        if isinstance(found, Together):
            self.gather(found, functools.partial(self._settle, result, found.go_on))
        else:
            result.set_result(found)

    def _serve(self) -> None:
        end = time.monotonic() + _SLICE_SECONDS
        self.serving = True
        try:
            while self._waiting:
                self._waiting.popleft()()
                if time.monotonic() + self._together_seconds >= end:
                    break
            while self._together:
                together, self._together, self._together_seconds = self._together, [], 0.0
                for work, _ in together:
                    work.do()
                for _, then in together:
                    then()
        finally:
            self.serving = False
            self._scheduled = bool(self._waiting)
            if self._scheduled:
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


def begin(coroutine: Coroutine[Any, Any, _T]) -> _T | Together | Coroutine[Any, Any, _T]:
    """The result of a coroutine that never waits; the work that it awaits, to be gathered; or the coroutine itself.

    That is begun, to be made a task: it may only wait after `in_task`. What is answered at once costs neither a task
    nor a round of the event loop.
    """
    before = _BEGINNING.set(True)
    try:
        awaited = coroutine.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    finally:
        _BEGINNING.reset(before)
    if isinstance(awaited, Together):
        awaited.coroutine = coroutine
        return awaited
    return coroutine
