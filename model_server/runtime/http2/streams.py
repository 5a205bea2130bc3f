"""The calls of one connection: which frames make them, and which no client may send.

What is said of frames here is in RFC 9113, sections 5 and 6.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Protocol

from model_server.runtime.errors import Code, ServingError
from model_server.runtime.http2 import frames, peer_settings
from model_server.runtime.http2.answer_head import ANSWER_HEAD, ANSWERED, only_trailers, trailers
from model_server.runtime.http2.call import Call, Method
from model_server.runtime.http2.frames import ConnectionFaultError, StreamFaultError, frame, unpadded
from model_server.runtime.http2.limits import Limits
from model_server.runtime.http2.messages import PREFIX
from model_server.runtime.http2.refusal import Refusal, refusal
from model_server.runtime.http2.request_head import HeadReader
from model_server.runtime.http2.sending import Sender
from model_server.turns import Turns

# What a client may send before it hears from us: of one call, and of all of them together.
_CALL_WINDOW = 4 * 1024 * 1024
_WINDOW = 16 * 1024 * 1024
# Frames that ask for nothing, between two looks at the connection: reading so many takes a few percent of a processor.
_MAX_IDLE_FRAMES = 10_000
# A call makes up for some: for the windows that it needs, for its cancellation.
_FRAMES_OF_A_CALL = 50
# Calls that ended before their client had sent all: what it has sent until it knew is no mistake.
_REMEMBERED = 256


class Host(Protocol):
    """What calls need of their server."""

    turns: Turns
    limits: Limits

    def method(self, path: str) -> Method | None:
        """The method of this path."""

    def arrived(self) -> None:
        """A call has come."""

    def admit(self) -> bool:
        """Whether one more call may be answered at the same time; if so, it counts until `release`."""

    def release(self) -> None:
        """A call that was admitted is over."""


class Streams:
    """Makes calls of frames. It implements `call.Wire`."""

    def __init__(
        self, host: Host, sender: Sender, rested: Callable[[], None], answered: Callable[[bytes], None]
    ) -> None:
        """`rested` is called when the last call is over, `answered` with what an answer to a PING says.

        What `sender` has sent the last of is over.
        """
        self._host = host
        self._sender = sender
        sender.ended = self.ended
        self._rested = rested
        self._answered = answered
        self.turns = host.turns
        self.max_bytes = host.limits.message
        self.admit = host.admit
        self.release = host.release
        self._heads = HeadReader()
        self.calls: dict[int, Call] = {}
        self._cut_short: collections.deque[int] = collections.deque(maxlen=_REMEMBERED)
        # The highest stream that the client has begun, and whether it may begin others.
        self.last = 0
        self.taking = True
        self._window = frames.DEFAULT_WINDOW
        self._idle_frames = 0

    def greet(self) -> None:
        """Say what the client may do."""
        self._sender.control(peer_settings.own(self._host.limits.calls, _CALL_WINDOW))
        self._widen(0, _WINDOW - self._window)
        self._window = _WINDOW

    def cancel(self) -> None:
        """Nobody waits for any answer any more."""
        for call in list(self.calls.values()):
            call.cancel()
        self.calls.clear()

    def fail(self, error: ServingError, *, streams: bool = False) -> None:
        """End all calls, or with `streams` those that give several messages."""
        for call in list(self.calls.values()):
            if not call.over and (call.streams or not streams):
                call.fail(error)

    def check_times(self, now: float) -> None:
        """End calls that come in too slowly. `now` is on the clock of `time.monotonic`."""
        self._idle_frames = 0
        for call in list(self.calls.values()):
            call.check_times(now, self._host.limits)

    def take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """One frame, as `FrameReader` gives them. Raises ConnectionFaultError."""
        handle = _HANDLERS.get(kind)
        if kind not in _CALLS:
            self._idle()
        if handle is None:
            return  # a kind that is to be ignored
        try:
            handle(self, flags, stream, payload)
        except StreamFaultError as error:
            self._idle()
            self._reset(stream, error.code)

    def _idle(self) -> None:
        self._idle_frames += 1
        if self._idle_frames > _MAX_IDLE_FRAMES:
            raise ConnectionFaultError(frames.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")

    def _headers(self, flags: int, stream: int, block: bytes) -> None:
        ends = bool(flags & frames.END_STREAM)
        if stream > self.last:
            if self.taking:
                self._begin(stream, block, ends=ends)
            else:
                self._heads.skip(block)  # it is not taken any more, and the client knows that
            return
        call = self.calls.get(stream)
        if call is None or call.half_closed:
            self._heads.skip(block)
            if stream not in self._cut_short:
                raise ConnectionFaultError(frames.STREAM_CLOSED, f"HEADERS of stream {stream}, which is closed")
            return
        self._heads.trailers(block)
        if not ends:
            raise StreamFaultError(frames.PROTOCOL_ERROR, "fields amid the body")
        call.close()

    def _begin(self, stream: int, block: bytes, *, ends: bool) -> None:
        self.last = stream
        head = self._heads.request(block)
        if len(self.calls) >= self._host.limits.calls:
            raise StreamFaultError(frames.REFUSED_STREAM, "more calls than the settings allow")
        self._host.arrived()
        method = self._host.method(head.path)
        refused = refusal(head, known=method is not None)
        self.calls[stream] = call = Call(self, stream, head, method, refused, self._sender.initial_window)
        if ends:
            call.close()

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "DATA without a stream")
        self._count(len(payload))
        content, ends = unpadded(flags, payload), flags & frames.END_STREAM
        call = self.calls.get(stream)
        if call is None:
            self._need_opened(stream)
            self._idle()
            if stream in self._cut_short or stream > self.last:
                return
            raise StreamFaultError(frames.STREAM_CLOSED, "DATA of a stream that is closed")
        if call.half_closed:
            raise StreamFaultError(frames.STREAM_CLOSED, "DATA after the end of its stream")
        if content:
            call.receive(content)
        elif not ends:
            self._idle()
        if ends:
            call.close()
        elif not call.over:
            # Given back as it comes: a message is kept whole anyway, and bounded by `max_bytes`.
            call.unacknowledged += len(payload)
            if call.unacknowledged > _CALL_WINDOW // 2:
                self._widen(stream, call.unacknowledged)
                call.unacknowledged = 0

    def _count(self, size: int) -> None:
        self._window -= size
        if self._window < 0:
            raise ConnectionFaultError(frames.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        if self._window < _WINDOW // 2:
            self._widen(0, _WINDOW - self._window)
            self._window = _WINDOW

    def _widen(self, stream: int, increment: int) -> None:
        self._sender.control(frame(frames.WINDOW_UPDATE, 0, stream, frames.UINT32.pack(increment)))

    def _need_opened(self, stream: int) -> None:
        if not stream % 2 or (stream > self.last and self.taking):
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, f"a frame of stream {stream}, which was never opened")

    def _priority(self, _: int, stream: int, payload: bytes) -> None:
        if not stream:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "PRIORITY without a stream")
        if len(payload) != 5:
            raise StreamFaultError(frames.FRAME_SIZE_ERROR, "PRIORITY has five bytes")
        if frames.UINT32.unpack_from(payload)[0] & 0x7FFFFFFF == stream:
            raise StreamFaultError(frames.PROTOCOL_ERROR, "the stream depends on itself")

    def _rst_stream(self, _: int, stream: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFaultError(frames.FRAME_SIZE_ERROR, "RST_STREAM has four bytes")
        self._need_opened(stream)
        call = self.calls.get(stream)
        if call is not None:
            call.cancel()
            self._forget(call)

    def _settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "SETTINGS of a stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFaultError(frames.FRAME_SIZE_ERROR, "an answer to SETTINGS has none")
            return
        settings = peer_settings.read(payload)
        # First the answer, then what the new settings set free.
        self._sender.control(frame(frames.SETTINGS, frames.ACK, 0))
        for name, value in settings:
            self._set(name, value)

    def _set(self, name: int, value: int) -> None:
        if name == frames.HEADER_TABLE_SIZE and value < frames.DEFAULT_TABLE_BYTES:
            self._sender.empty_table()
        elif name == frames.INITIAL_WINDOW_SIZE:
            self._sender.begin_with(value, list(self.calls.values()))
        elif name == frames.MAX_FRAME_SIZE:
            self._sender.frame_bytes = value

    def _push_promise(self, _: int, __: int, ___: bytes) -> None:
        raise ConnectionFaultError(frames.PROTOCOL_ERROR, "a client promises nothing")

    def _ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != 8:
            raise ConnectionFaultError(frames.FRAME_SIZE_ERROR, "PING has eight bytes")
        if not flags & frames.ACK:
            self._sender.control(frame(frames.PING, frames.ACK, 0, payload))
        else:
            self._answered(payload)

    def _goaway(self, _: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "GOAWAY of a stream")
        if len(payload) < 8:
            raise ConnectionFaultError(frames.FRAME_SIZE_ERROR, "GOAWAY has eight bytes at least")

    def _window_update(self, _: int, stream: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFaultError(frames.FRAME_SIZE_ERROR, "WINDOW_UPDATE has four bytes")
        increment = frames.UINT32.unpack(payload)[0] & 0x7FFFFFFF
        if not stream:
            if not increment:
                raise ConnectionFaultError(frames.PROTOCOL_ERROR, "a window that grows by nothing")
            self._sender.widen(increment)
            return
        self._need_opened(stream)
        if not increment:
            raise StreamFaultError(frames.PROTOCOL_ERROR, "a window that grows by nothing")
        call = self.calls.get(stream)
        if call is not None:  # it may have been answered before this came
            self._sender.widen_stream(call, increment)

    # call.Wire

    def send(self, call: Call, content: bytes) -> None:
        """Send one of several messages."""
        if call.stream in self.calls:
            if not call.headed:
                self._sender.head(call, ANSWER_HEAD)
            self._sender.data(call, PREFIX.pack(0, len(content)) + content)

    def answer(self, call: Call, content: bytes) -> None:
        """Send the only message, and end the call."""
        if call.stream in self.calls:
            self._sender.head(call, ANSWER_HEAD)
            self._sender.data(call, PREFIX.pack(0, len(content)) + content)
            self._sender.end(call, ANSWERED)

    def refuse(self, call: Call, refused: Refusal) -> None:
        """Answer what is no call of a method here."""
        self._sender.head(call, refused.head, last=not refused.text)
        if refused.text:
            self._sender.data(call, refused.text)
            self._sender.end(call, b"")
        else:
            self.ended(call)

    def end(self, call: Call, code: Code, message: str, others: tuple[tuple[str, str], ...] = ()) -> None:
        """End the call with this status."""
        if call.stream in self.calls:
            block = trailers(code, message, others) if call.headed else only_trailers(code, message, others)
            self._sender.end(call, block)

    def ended(self, call: Call) -> None:
        """The last of an answer was sent."""
        self._idle_frames = max(0, self._idle_frames - _FRAMES_OF_A_CALL)
        self._forget(call)
        if not call.half_closed:
            self._cut_short.append(call.stream)
            self._reset(call.stream, frames.NO_ERROR)

    def _forget(self, call: Call) -> None:
        self._sender.forget(call)
        self.calls.pop(call.stream, None)
        if not self.calls:
            self._rested()

    def _reset(self, stream: int, code: int) -> None:
        self._sender.control(frame(frames.RST_STREAM, 0, stream, frames.UINT32.pack(code)))
        call = self.calls.get(stream)
        if call is not None:
            call.cancel()
            self._cut_short.append(stream)
            self._forget(call)


_HANDLERS: dict[int, Callable[[Streams, int, int, bytes], None]] = {
    frames.DATA: Streams._data,
    frames.HEADERS: Streams._headers,
    frames.PRIORITY: Streams._priority,
    frames.RST_STREAM: Streams._rst_stream,
    frames.SETTINGS: Streams._settings,
    frames.PUSH_PROMISE: Streams._push_promise,
    frames.PING: Streams._ping,
    frames.GOAWAY: Streams._goaway,
    frames.WINDOW_UPDATE: Streams._window_update,
}
# Of calls, and so no reason to be suspicious.
_CALLS = frozenset({frames.DATA, frames.HEADERS})
