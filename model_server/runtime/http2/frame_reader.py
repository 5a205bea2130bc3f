"""Bytes of a client to frames, and to whole blocks of header fields."""

from __future__ import annotations

from collections.abc import Callable

from model_server.runtime.http2 import frames
from model_server.runtime.http2.frames import ConnectionFaultError, unpadded

# A block of header fields, in all its frames.
_MAX_BLOCK_BYTES = 64 * 1024
_MAX_BLOCK_FRAMES = 32


class FrameReader:
    """Takes bytes as they come and calls for each frame `take(kind, flags, stream, payload)`.

    HEADERS come with their whole block as payload, from however many frames, without padding and priority.
    """

    def __init__(self, take: Callable[[int, int, int, bytes], None]) -> None:
        self._take = take
        self._unread = b""
        self._greeted = self._settled = False
        # A block that goes on in the next frame: its stream, its flags, its parts.
        self._block: tuple[int, int, list[bytes]] | None = None

    def read(self, data: bytes) -> None:
        """Bytes that have come. Raises ConnectionFaultError, and what `take` raises."""
        if self._unread:
            data = self._unread + data
        position, size = 0, len(data)
        if not self._greeted:
            greeting = data[: len(frames.PREFACE)]
            if not frames.PREFACE.startswith(greeting):
                raise ConnectionFaultError(frames.PROTOCOL_ERROR, "the client does not begin with HTTP/2's preface")
            self._greeted = greeting == frames.PREFACE
            if self._greeted:
                position = len(frames.PREFACE)
            else:
                size = 0
        unpack = frames.HEAD.unpack_from
        while size - position >= frames.HEAD_BYTES:
            high, low, kind, flags, stream = unpack(data, position)
            length = high << 8 | low
            if length > frames.DEFAULT_FRAME_BYTES:
                raise ConnectionFaultError(frames.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            begin = position + frames.HEAD_BYTES
            if size - begin < length:
                break
            position = begin + length
            self._frame(kind, flags, stream & 0x7FFFFFFF, data[begin:position])
        self._unread = data[position:]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and (kind != frames.CONTINUATION or stream != self._block[0]):
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "a frame between those of one header block")
        if not self._settled:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise ConnectionFaultError(frames.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._settled = True
        if kind == frames.HEADERS:
            self._headers(flags, stream, payload)
        elif kind == frames.CONTINUATION:
            self._continuation(flags, stream, payload)
        else:
            self._take(kind, flags, stream, payload)

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream % 2:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, f"HEADERS of stream {stream}, which is no client's")
        block = unpadded(flags, payload)
        if flags & frames.WITH_PRIORITY:
            if len(block) < 5:
                raise ConnectionFaultError(frames.FRAME_SIZE_ERROR, "HEADERS without the priority that it announces")
            if frames.UINT32.unpack_from(block)[0] & 0x7FFFFFFF == stream:
                raise ConnectionFaultError(frames.PROTOCOL_ERROR, f"stream {stream} depends on itself")
            block = block[5:]
        if flags & frames.END_HEADERS:
            self._take(frames.HEADERS, flags, stream, block)
        else:
            self._block = (stream, flags, [block])

    def _continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        _, begun, parts = self._block
        parts.append(payload)
        if len(parts) > _MAX_BLOCK_FRAMES or sum(map(len, parts)) > _MAX_BLOCK_BYTES:
            raise ConnectionFaultError(frames.ENHANCE_YOUR_CALM, "a header block that does not end")
        if flags & frames.END_HEADERS:
            self._block = None
            self._take(frames.HEADERS, begun, stream, b"".join(parts))
