"""One call, cut into frames in every way that HTTP/2 allows."""

from __future__ import annotations

import struct

import pytest

from tests.unit.model_server.http2.raw_client import (
    END_HEADERS,
    END_STREAM,
    PADDED,
    WITH_PRIORITY,
    Kind,
    Setting,
    frame,
    literal,
    message,
    request,
    settings,
)

BODY = message(b"\x92\x01\x80\x08" + bytes(1024))
HEAD = literal(request())


def _pieces(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


def _data(stream: int, pieces: list[bytes], padding: int | None = None) -> bytes:
    frames = []
    for number, piece in enumerate(pieces):
        end = END_STREAM if number == len(pieces) - 1 else 0
        payload = piece if padding is None else bytes([padding]) + piece + bytes(padding)
        frames.append(frame(Kind.DATA, end | (0 if padding is None else PADDED), stream, payload))
    return b"".join(frames)


def _head(stream: int) -> bytes:
    return frame(Kind.HEADERS, END_HEADERS, stream, HEAD)


def _padded_head(stream: int) -> bytes:
    payload = b"\xff" + struct.pack(">IB", 0, 15) + HEAD + bytes(255)
    return frame(Kind.HEADERS, END_HEADERS | PADDED | WITH_PRIORITY, stream, payload)


def _continued(stream: int, size: int) -> bytes:
    first, *others = _pieces(HEAD, size)
    frames = [frame(Kind.HEADERS, 0, stream, first), frame(Kind.CONTINUATION, 0, stream)]
    frames += [frame(Kind.CONTINUATION, 0, stream, piece) for piece in others[:-1]]
    return b"".join([*frames, frame(Kind.CONTINUATION, END_HEADERS, stream, others[-1])])


_EMPTY = frame(Kind.DATA, END_STREAM, 1)
_WAYS = {
    "one frame": _head(1) + _data(1, [BODY]),
    "ten bytes a frame": _head(1) + _data(1, _pieces(BODY, 10)),
    "a byte a frame": _head(1) + _data(1, [*_pieces(BODY[:99], 1), BODY[99:]]),
    "the prefix apart": _head(1) + _data(1, [BODY[:5], BODY[5:]]),
    "empty frames between": _head(1) + _data(1, [b"", BODY[:2], b"", b"", BODY[2:], b""]),
    "ended by an empty frame": _head(1) + frame(Kind.DATA, 0, 1, BODY) + _EMPTY,
    "ended by trailers": _head(1)
    + frame(Kind.DATA, 0, 1, BODY)
    + frame(Kind.HEADERS, END_HEADERS | END_STREAM, 1, literal([("x-sum", "1")])),
    "padded": _padded_head(1) + _data(1, [BODY], padding=255),
    "padded with nothing": _head(1) + _data(1, [BODY], padding=0),
    "only padding between": _head(1) + _data(1, [b"", BODY[:7], b"", BODY[7:]], padding=7),
    "headers in pieces": _continued(1, 100) + _data(1, [BODY]),
    "headers in more pieces": _continued(1, 12) + _data(1, [BODY]),
    "a kind that nobody knows": frame(Kind.UNKNOWN, 0xFF, 0, b"?") + _head(1) + frame(Kind.UNKNOWN) + _data(1, [BODY]),
    "priorities": frame(Kind.PRIORITY, 0, 5, struct.pack(">IB", 3, 1))
    + _head(1)
    + frame(Kind.PRIORITY, 0, 1, struct.pack(">IB", 0, 1))
    + _data(1, [BODY]),
    "settings between": _head(1)
    + frame(Kind.SETTINGS, payload=settings({Setting.UNKNOWN: 7, Setting.ENABLE_PUSH: 0}))
    + _data(1, [BODY]),
    "a stream that is not the first": _head(2**31 - 1) + _data(2**31 - 1, [BODY]),
}


@pytest.mark.parametrize("way", _WAYS)
def test_a_call_may_be_cut_in_every_way(connection, way):
    connection.send_bytes(_WAYS[way])
    answer = connection.answer(2**31 - 1 if "not the first" in way else 1)
    assert (answer.status, answer.body[5:]) == (0, b"\x08\x01")


@pytest.mark.parametrize("way", ["ten bytes a frame", "padded", "headers in pieces", "ended by trailers"])
def test_bytes_may_come_one_by_one(connection, way):
    for byte in _WAYS[way]:
        connection.send_bytes(bytes([byte]))
    assert connection.answer(1).status == 0


def test_calls_may_be_mixed_on_one_connection(connection):
    """The pieces of many calls, in turns."""
    streams = [connection.next_stream() for _ in range(50)]
    connection.send_bytes(b"".join(_head(stream) for stream in streams))
    for piece in _pieces(BODY, 300)[:-1]:
        connection.send_bytes(b"".join(frame(Kind.DATA, 0, stream, piece) for stream in streams))
    last = _pieces(BODY, 300)[-1]
    connection.send_bytes(b"".join(frame(Kind.DATA, END_STREAM, stream, last) for stream in reversed(streams)))
    assert {connection.answer(stream).status for stream in streams} == {0}


def test_padding_is_given_back_to_the_windows(connection):
    """More of it than the windows have at first; a server that forgets it stops its client for ever."""
    connection.ping()
    size = connection.room(1) // 257 + 100
    body = message(b"\x92\x01" + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + bytes(size))
    stream = connection.open()
    for piece in _pieces(body, 1)[:-1]:
        connection.read_until(lambda: connection.room(stream) >= 257)
        connection.spend(stream, 257)
        connection.send(Kind.DATA, PADDED, stream, b"\xff" + piece + bytes(255))
    connection.data(stream, body[-1:])
    assert connection.answer(stream).status == 0


def test_fields_that_come_too_late_still_change_the_table(connection):
    """The fields after a body whose call was refused long since: the next calls refer to them."""
    refused = connection.open()
    connection.data(refused, b"\0\xff\xff\xff\xff", end=False)
    assert connection.answer(refused).over
    connection.fields(refused, [("x-late", "value"), ("x-later", "value")])
    calls = [connection.call(request(others=[("x-later", "value"), ("x-late", "value")])) for _ in range(3)]
    assert {call.status for call in calls} == {0}
