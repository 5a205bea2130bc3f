"""What goes out on one connection: answers within the windows that the client gives, and frames that need none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from model_server.runtime.http2.frames import (
    DATA,
    DEFAULT_FRAME_BYTES,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    HEAD,
    HEADERS,
    LARGEST_WINDOW,
    ConnectionFaultError,
    StreamFaultError,
    frame,
)

# A dynamic table size update to 0 (RFC 7541, section 6.3).
_EMPTY_TABLE = b"\x20"


class Sender:
    """Sends on one connection. A stream is a `Call`, of which it uses `window`, `headed`, `rest` and `last`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # Is called with a stream when the last of it was sent.
        self.ended: Callable[[Any], None]
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes | memoryview] = []
        self._scheduled = False
        self._window = self.initial_window = DEFAULT_WINDOW
        self.frame_bytes = DEFAULT_FRAME_BYTES
        # What the next header block has to begin with.
        self._table_update = b""
        # Streams with something to send that the client gives no window for, in the order in which they came.
        self.waiting: dict[int, Any] = {}
        # When the client gave a window, on the loop's clock.
        self.progress = 0.0

    def connect(self, transport: asyncio.Transport) -> None:
        """Send what there is by this transport."""
        self._transport = transport

    def control(self, data: bytes) -> None:
        """Send frames that need no window."""
        self._out.append(data)
        self._schedule()

    def head(self, stream: Any, block: bytes, *, last: bool = False) -> None:
        """Send header fields."""
        stream.headed = True
        if self._table_update:
            block, self._table_update = self._table_update + block, b""
        flags = END_HEADERS | END_STREAM if last else END_HEADERS
        self.control(frame(HEADERS, flags, stream.stream, block))

    def empty_table(self) -> None:
        """The client keeps a smaller table than usual. This side uses none, but has to say so (RFC 7541, 4.2)."""
        self._table_update = _EMPTY_TABLE

    def data(self, stream: Any, content: bytes) -> None:
        """Send a part of the body."""
        size = len(content)
        if size <= self.frame_bytes and size <= stream.window and size <= self._window and stream.rest is None:
            self._window -= size
            stream.window -= size
            self._out.append(HEAD.pack(size >> 8, size & 0xFF, DATA, 0, stream.stream) + content)
            self._schedule()
            return
        stream.rest = memoryview(content if stream.rest is None else bytes(stream.rest) + content)
        self._go_on(stream)

    def end(self, stream: Any, block: bytes) -> None:
        """Send the fields that end a stream, none or some, after all that waits of it."""
        if stream.rest is not None:
            stream.last = block
            return
        if block:
            self.head(stream, block, last=True)
        else:
            self.control(frame(DATA, END_STREAM, stream.stream))
        self.ended(stream)

    def forget(self, stream: Any) -> None:
        """Send no more of a stream."""
        self.waiting.pop(stream.stream, None)
        stream.rest = stream.last = None

    def widen(self, increment: int) -> None:
        """The client takes so much more. Raises ConnectionFaultError."""
        self.progress = self._loop.time()
        self._window += increment
        if self._window > LARGEST_WINDOW:
            raise ConnectionFaultError(FLOW_CONTROL_ERROR, "a window of more than 2^31 - 1 bytes")
        self._go_on_all()

    def widen_stream(self, stream: Any, increment: int) -> None:
        """The client takes so much more of a stream. Raises StreamFaultError."""
        self.progress = self._loop.time()
        stream.window += increment
        if stream.window > LARGEST_WINDOW:
            raise StreamFaultError(FLOW_CONTROL_ERROR, "a window of more than 2^31 - 1 bytes")
        if stream.rest is not None:
            self._go_on(stream)

    def begin_with(self, window: int, streams: list[Any]) -> None:
        """Streams have another window from the beginning, also those that are open. Raises ConnectionFaultError."""
        change, self.initial_window = window - self.initial_window, window
        for stream in streams:
            stream.window += change
            if stream.window > LARGEST_WINDOW:
                raise ConnectionFaultError(FLOW_CONTROL_ERROR, "a window of more than 2^31 - 1 bytes")
        self._go_on_all()

    def _go_on_all(self) -> None:
        for stream in list(self.waiting.values()):
            if self._window <= 0:
                break
            self._go_on(stream)

    def _go_on(self, stream: Any) -> None:
        rest: memoryview = stream.rest
        while rest:
            size = min(len(rest), self.frame_bytes, stream.window, self._window)
            if size <= 0:
                stream.rest = rest
                self.waiting[stream.stream] = stream
                break
            self._window -= size
            stream.window -= size
            self._out.append(HEAD.pack(size >> 8, size & 0xFF, DATA, 0, stream.stream))
            self._out.append(rest[:size])
            rest = rest[size:]
        else:
            last = stream.last
            self.forget(stream)
            if last is not None:
                self.end(stream, last)
        self._schedule()

    def _schedule(self) -> None:
        # Answers that are given in one round of the event loop go out together.
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Hand everything to the transport."""
        self._scheduled = False
        if self._out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()
