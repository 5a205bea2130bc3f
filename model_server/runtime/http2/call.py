"""One call: its message as it comes in, its turn, and its answer."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import math
import time
import types
from collections.abc import Callable
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from model_server.runtime.errors import Code, OverloadedError, ServingError, invalid
from model_server.runtime.http2.frames import PROTOCOL_ERROR, StreamFaultError
from model_server.runtime.http2.limits import Limits
from model_server.runtime.http2.messages import (
    PREFIX,
    Message,
    message_length,
    not_one_message,
    only_message,
    unpack,
    unpack_few,
)
from model_server.runtime.http2.refusal import Refusal
from model_server.runtime.http2.request_head import RequestHead
from model_server.turns import Together, Turns, begin

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Method:
    """One method of a service. `path` is `/package.Service/Method`.

    `read` parses a message or raises DecodeError. `answer` is called with that and the Call, and is a coroutine
    function that gives the answer's message or raises ServingError; with `streams` it is an asynchronous generator of
    messages. `refusal` says why a call must not even wait for its turn, if so.
    """

    path: str
    read: Callable[[bytes], Any]
    answer: Callable[[Any, Call], Any]
    streams: bool = False
    refusal: Callable[[], ServingError | None] | None = None


class Wire(Protocol):
    """What a call needs of its connection."""

    turns: Turns
    max_bytes: int

    def admit(self) -> bool:
        """Whether one more call may be answered at the same time; if so, it counts until `release`."""

    def release(self) -> None:
        """A call that was admitted is over."""

    def send(self, call: Call, content: bytes) -> None:
        """Send one of several messages."""

    def answer(self, call: Call, content: bytes) -> None:
        """Send the only message, and end the call."""

    def refuse(self, call: Call, refused: Refusal) -> None:
        """Answer what is no call of a method here."""

    def end(self, call: Call, code: Code, message: str, others: tuple[tuple[str, str], ...] = ()) -> None:
        """End the call with this status."""


class Call:
    """One call. It is over when its answer is handed to the connection, or nobody waits for it any more."""

    __slots__ = (
        *(
            "_admitted",
            "_chunks",
            "_deadline",
            "_method",
            "_refused",
            "_wanted",
            "_task",
            "_wire",
            "begun",
            "half_closed",
            "head",
        ),
        *("headed", "last", "over", "progress", "received", "rest", "stream", "unacknowledged", "window"),
    )

    def __init__(
        self, wire: Wire, stream: int, head: RequestHead, method: Method | None, refused: Refusal | None, window: int
    ) -> None:
        """`refused` says how it is answered instead, once its client has sent all; without a method it always is."""
        self.stream = stream
        self.head = head
        self._wire = wire
        self._method = method
        self._refused = refused
        self._chunks: list[bytes] = []
        # Bytes that have come, and as many of them as the client was not given back in its window.
        self.received = self.unacknowledged = 0
        # What the message takes with its prefix, once that has come.
        self._wanted: int | None = None
        self._admitted = False
        # The client has sent all.
        self.half_closed = False
        self.over = False
        self._task: asyncio.Task[Any] | None = None
        self.begun = self.progress = time.monotonic()
        self._deadline = None if head.timeout is None else self.begun + head.timeout
        # What the connection still has to send of the answer: see `sending`.
        self.window = window
        self.headed = False
        self.rest: memoryview | None = None
        self.last: bytes | None = None

    @property
    def streams(self) -> bool:
        """Whether the answer is several messages, which may come at any time."""
        return self._method is not None and self._method.streams

    @property
    def _called(self) -> Method:
        assert self._method is not None  # else the call is refused, and nothing more is asked of it
        return self._method

    def timeout_ms(self) -> int:
        """What the client's deadline leaves, 0 when it set none. Raises ServingError when nothing is left."""
        if self._deadline is None:
            return 0
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise ServingError(Code.DEADLINE_EXCEEDED, "the call's deadline was over before its turn came")
        return 0 if left > 86400 else max(1, math.ceil(left * 1000))

    def receive(self, data: bytes) -> None:
        """A part of the message."""
        if self.over:
            return
        self.received += len(data)
        self.progress = time.monotonic()
        if self._refused is not None:
            return
        self._chunks.append(data)
        try:
            if self._wanted is None and self.received >= PREFIX.size:
                begin = data if len(data) == self.received else b"".join(self._chunks)
                self._wanted = PREFIX.size + message_length(begin, self._wire.max_bytes)
            if self._wanted is not None and self.received > self._wanted:
                raise not_one_message()
        except ServingError as error:
            self.fail(error)

    def close(self) -> None:
        """The client has sent all. Raises StreamFaultError when that is not as much as it said."""
        self.half_closed = True
        if 0 <= self.head.length != self.received and not self.over:
            raise StreamFaultError(PROTOCOL_ERROR, "the request's body is not of its content-length")
        if self.over:
            return
        if self._refused is not None:
            self._finish()
            self._wire.refuse(self, self._refused)
            return
        refusal = self._called.refusal() if self._called.refusal is not None else None
        if refusal is not None:
            self.fail(refusal)
        elif not self._wire.admit():
            self.fail(ServingError(Code.RESOURCE_EXHAUSTED, "as many calls are answered as --grpc_max_threads allows"))
        else:
            self._admitted = True
            self._wire.turns.add(self._take_turn)

    def check_times(self, now: float, limits: Limits) -> None:
        """End it when its client is too slow, or its deadline is over. `now` is on the clock of `time.monotonic`."""
        if self.half_closed or self.over:
            return
        if self._deadline is not None and now > self._deadline:
            self.fail(_too_slow("the call's deadline was over before all of it had come"))
            return
        took = now - self.begun
        if took > limits.stall and self.received < took * limits.slowest:
            self.fail(_too_slow(f"the request came at less than {limits.slowest:g} bytes a second"))
        elif now - self.progress > limits.stall:
            self.fail(_too_slow(f"the request was not complete {limits.stall:g} s after its last byte"))

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        self._finish()

    def fail(self, error: ServingError) -> None:
        """End with this error."""
        self._finish()
        # What clients with a retry policy understand as "not before so many milliseconds".
        pushback = (
            (("grpc-retry-pushback-ms", str(error.retry_seconds * 1000)),) if isinstance(error, OverloadedError) else ()
        )
        self._wire.end(self, error.code, str(error), pushback)

    def _finish(self) -> None:
        self.over = True
        self._chunks.clear()
        if self._admitted:
            self._admitted = False
            self._wire.release()
        if self._task is not None:
            self._task.cancel()

    def _take_turn(self) -> None:
        if self.over:
            return
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        try:
            self.timeout_ms()
            message = only_message(body)
            content = unpack_few(message, self.head.encoding, self._wire.max_bytes)
            if content is None:
                self._later(self._unpacked(message))
                return
            request = self._read(content)
        except ServingError as error:
            self.fail(error)
            return
        if self._called.streams:
            self._later(self._stream(request))
        else:
            self._go_on(functools.partial(begin, self._called.answer(request, self)))

    def _read(self, content: bytes) -> Any:
        try:
            return self._called.read(content)
        except DecodeError as error:
            # gRPC itself says INTERNAL; it is the client's mistake.
            raise invalid(f"the message for {self._called.path} cannot be parsed: {error}") from error

    async def _unpacked(self, message: Message) -> Any:
        loop = asyncio.get_running_loop()
        content = await loop.run_in_executor(None, unpack, message, self.head.encoding, self._wire.max_bytes)
        request = self._read(content)
        if self._called.streams:
            return await self._stream(request)
        return await self._called.answer(request, self)

    async def _stream(self, request: Any) -> None:
        async for message in self._called.answer(request, self):
            self._wire.send(self, message.SerializeToString())

    def _go_on(self, go_on: Callable[[], Any]) -> None:
        """With the answer's coroutine, by its next step."""
        if self.over:
            return
        try:
            found = go_on()
        except Exception as error:  # noqa: BLE001 - a mistake in one answer must not end the server
            self._failed(error)
            return
        if isinstance(found, Together):
            self._wire.turns.gather(found, functools.partial(self._go_on, found.go_on))
        elif isinstance(found, types.CoroutineType):
            self._later(found)
        else:
            self._answered(found)

    def _later(self, answer: Any) -> None:
        self._task = asyncio.get_running_loop().create_task(answer)
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._task = None
        error = None if task.cancelled() else task.exception()
        if self.over:
            return
        if task.cancelled():
            self.fail(ServingError(Code.CANCELLED, "the call was cancelled"))
        elif error is not None:
            self._failed(error)
        elif self._called.streams:
            self._finish()
            self._wire.end(self, Code.OK, "")
        else:
            self._answered(task.result())

    def _answered(self, message: Any) -> None:
        self._finish()
        self._wire.answer(self, message.SerializeToString())

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, ServingError):
            self.fail(error)
            return
        _LOG.error("%s failed", self._called.path, exc_info=error)
        self.fail(ServingError(Code.INTERNAL, f"{self._called.path} failed in this server, see its log"))


def _too_slow(message: str) -> ServingError:
    return ServingError(Code.DEADLINE_EXCEEDED, message)
