"""Clients that break the protocol or try to exhaust the server: it ends their connection, and serves the others."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hpack
import pytest

from tests.unit.model_server.http2.conftest import resident
from tests.unit.model_server.http2.raw_client import (
    ACK,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    LARGEST,
    Connection,
    Error,
    Kind,
    Setting,
    frame,
    literal,
    message,
    request,
    settings,
    window_update,
)

_GROWTH_BYTES = 48 * 1024 * 1024
HEAD = literal(request())
_CANCEL = struct.pack(">I", Error.CANCEL)
_LARGE = "v" * 4000


def _call(stream: int) -> bytes:
    return frame(Kind.HEADERS, END_HEADERS, stream, HEAD) + frame(Kind.DATA, END_STREAM, stream, message())


def _reset(stream: int, before: bytes) -> bytes:
    return before + frame(Kind.RST_STREAM, 0, stream, _CANCEL)


def _streams(made: Callable[[int], bytes], count: int) -> bytes:
    return b"".join(made(number) for number in range(1, 2 * count, 2))


def _continued(blocks: bytes, count: int) -> bytes:
    begin = frame(Kind.HEADERS, 0, 1, HEAD)
    return begin + frame(Kind.CONTINUATION, 0, 1, blocks) * count


def _bomb() -> bytes:
    """A field of 4,000 bytes that is put into the table once, then named by one byte 200,000 times."""
    entry = hpack.Encoder().encode([("x-large", _LARGE)], huffman=False)
    block = HEAD + entry + b"\xbe" * (FRAME_BYTES - len(HEAD) - len(entry))
    more = frame(Kind.CONTINUATION, 0, 1, b"\xbe" * FRAME_BYTES)
    return frame(Kind.HEADERS, 0, 1, block) + more * 11 + frame(Kind.CONTINUATION, END_HEADERS, 1)


def _small_bombs() -> bytes:
    """The same in many requests, each of which is short."""
    entry = hpack.Encoder().encode([("x-large", _LARGE)], huffman=False)
    first = frame(Kind.HEADERS, END_HEADERS, 1, HEAD + entry)
    return first + b"".join(
        frame(Kind.HEADERS, END_HEADERS, stream, HEAD + b"\xbe" * 8000) for stream in range(3, 203, 2)
    )


def _long_integer() -> bytes:
    block = b"\x00\x7f" + b"\xff" * (FRAME_BYTES - 2)
    more = frame(Kind.CONTINUATION, 0, 1, b"\xff" * FRAME_BYTES)
    return frame(Kind.HEADERS, 0, 1, block) + more * 60 + frame(Kind.CONTINUATION, END_HEADERS, 1)


_OPEN = frame(Kind.HEADERS, END_HEADERS, 1, HEAD)
# What is sent as often as the server takes it, without reading what it answers.
_FLOODS: dict[str, tuple[bytes, bytes, int]] = {
    "rapid reset": (b"", _streams(lambda stream: _reset(stream, _call(stream)), 40_000), 1),
    "rapid reset without a message": (
        b"",
        _streams(lambda stream: _reset(stream, frame(Kind.HEADERS, END_HEADERS, stream, HEAD)), 40_000),
        1,
    ),
    "reset by a wrong frame": (b"", _streams(lambda stream: _call(stream) + window_update(stream, 0), 20_000), 1),
    "CONTINUATION": (frame(Kind.HEADERS, 0, 1, HEAD), frame(Kind.CONTINUATION, 0, 1, bytes(FRAME_BYTES)), 8_000),
    "CONTINUATION of literals": (
        frame(Kind.HEADERS, 0, 1, HEAD),
        frame(Kind.CONTINUATION, 0, 1, literal([("x-a", "b" * 1000)]) * 16),
        8_000,
    ),
    "empty CONTINUATION": (frame(Kind.HEADERS, 0, 1, HEAD), frame(Kind.CONTINUATION, 0, 1), 300_000),
    "PING": (b"", frame(Kind.PING, payload=bytes(8)), 300_000),
    "SETTINGS": (b"", frame(Kind.SETTINGS), 300_000),
    "SETTINGS with values": (
        b"",
        frame(Kind.SETTINGS, payload=settings({Setting.INITIAL_WINDOW_SIZE: 7}) * 2000),
        2_000,
    ),
    "acknowledged SETTINGS": (b"", frame(Kind.SETTINGS, ACK), 300_000),
    "PRIORITY": (b"", _streams(lambda stream: frame(Kind.PRIORITY, 0, stream, struct.pack(">IB", 0, 1)), 150_000), 1),
    "empty DATA": (_OPEN, frame(Kind.DATA, 0, 1), 300_000),
    "WINDOW_UPDATE": (_OPEN, window_update(1, 1), 300_000),
    "DATA beyond its message": (_OPEN, frame(Kind.DATA, 0, 1, bytes(FRAME_BYTES)), 12_000),
    "kinds that nobody knows": (b"", frame(Kind.UNKNOWN, 0, 0, bytes(1000)), 20_000),
    "calls that never end": (b"", _streams(lambda stream: frame(Kind.HEADERS, END_HEADERS, stream, HEAD), 40_000), 1),
    "large headers": (
        b"",
        _streams(
            lambda stream: frame(Kind.HEADERS, END_HEADERS | END_STREAM, stream, HEAD + literal([("x", "y" * 8000)])),
            4_000,
        ),
        1,
    ),
}


@pytest.mark.parametrize("name", _FLOODS)
def test_a_flood_neither_fills_the_server_nor_stops_it(grpc_server, connect, name):
    before, again, times = _FLOODS[name]
    memory = resident(grpc_server)
    flooded, other = connect(), connect()
    with contextlib.suppress(OSError):
        flooded.send_bytes(before)
        flooded.flood(again, times)
    assert other.call().status == 0, "the others' connections go on"
    assert resident(grpc_server) - memory < _GROWTH_BYTES


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(_bomb, id="HPACK bomb"),
        pytest.param(_small_bombs, id="HPACK bombs"),
        pytest.param(_long_integer, id="an integer without end"),
        pytest.param(
            lambda: frame(Kind.HEADERS, END_HEADERS, 1, HEAD + literal([("x", "y")] * 1000)), id="many small fields"
        ),
        pytest.param(lambda: _continued(literal([("x-a", "b" * 1000)]) * 16, 100), id="1.6 MB"),
    ],
)
def test_header_fields_that_are_too_large_are_refused(grpc_server, connect, made):
    memory = resident(grpc_server)
    client: Connection = connect()
    with contextlib.suppress(OSError):
        client.send_bytes(made())
    code = client.wait_for_end_of(1)
    answer = client.so_far(1)
    if code is Error.NO_ERROR:
        assert answer.status == 8 or answer.head[":status"] == "431", answer
    assert resident(grpc_server) - memory < _GROWTH_BYTES


_WRONG: dict[str, tuple[bytes, set[Error | None]]] = {
    "an even stream": (_call(2), {Error.PROTOCOL_ERROR}),
    "stream 0": (_call(0), {Error.PROTOCOL_ERROR}),
    "a stream again": (_call(1) + _call(1), {Error.PROTOCOL_ERROR, Error.STREAM_CLOSED}),
    "a smaller stream": (_call(5) + _call(3), {Error.PROTOCOL_ERROR, Error.STREAM_CLOSED}),
    "DATA of a stream that is not open": (
        frame(Kind.DATA, 0, 7, b"12345"),
        {Error.PROTOCOL_ERROR, Error.STREAM_CLOSED},
    ),
    "the connection's window too large": (window_update(0, LARGEST) * 2, {Error.FLOW_CONTROL_ERROR}),
    "a window too large by a setting": (
        frame(Kind.SETTINGS, payload=settings({Setting.INITIAL_WINDOW_SIZE: 2**31})),
        {Error.FLOW_CONTROL_ERROR},
    ),
    "no growth": (window_update(0, 0), {Error.PROTOCOL_ERROR}),
    "a frame of 16 MB": (b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(FRAME_BYTES), {Error.FRAME_SIZE_ERROR}),
    "a PING of 7 bytes": (frame(Kind.PING, payload=bytes(7)), {Error.FRAME_SIZE_ERROR}),
    "a SETTINGS of 5 bytes": (frame(Kind.SETTINGS, payload=bytes(5)), {Error.FRAME_SIZE_ERROR}),
    "a PUSH_PROMISE": (frame(Kind.PUSH_PROMISE, END_HEADERS, 1, bytes(4) + HEAD), {Error.PROTOCOL_ERROR}),
    "more padding than frame": (_OPEN + frame(Kind.DATA, 0x8, 1, b"\x05123"), {Error.PROTOCOL_ERROR}),
    "another frame within headers": (
        frame(Kind.HEADERS, 0, 1, HEAD) + frame(Kind.PING, payload=bytes(8)),
        {Error.PROTOCOL_ERROR},
    ),
    "CONTINUATION of nothing": (frame(Kind.CONTINUATION, END_HEADERS, 1, HEAD), {Error.PROTOCOL_ERROR}),
    "an index beyond the table": (frame(Kind.HEADERS, END_HEADERS, 1, b"\xfe"), {Error.COMPRESSION_ERROR}),
    "a table larger than allowed": (
        frame(Kind.HEADERS, END_HEADERS, 1, b"\x3f\xff\xff\x7f" + HEAD),
        {Error.COMPRESSION_ERROR},
    ),
    "headers that are cut off": (frame(Kind.HEADERS, END_HEADERS, 1, HEAD[:-3]), {Error.COMPRESSION_ERROR}),
}


@pytest.mark.parametrize("name", _WRONG)
def test_a_broken_rule_ends_the_connection_with_its_error(connect, name):
    content, codes = _WRONG[name]
    client: Connection = connect(windows=False)
    with contextlib.suppress(OSError):
        client.send_bytes(content)
    client.read_to_the_end()
    assert {Error(frame.payload[7]) for frame in client.away[-1:]} <= codes


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="HTTP/1.1"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + bytes(64), id="almost HTTP/2"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600), id="TLS"),
        pytest.param(bytes(4096), id="zeros"),
        pytest.param(bytes(range(256)) * 40, id="anything"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(Kind.PING, payload=bytes(8)), id="no SETTINGS"),
    ],
)
def test_what_is_no_http2_is_ended(grpc_server, connect, content):
    connect()
    address = ("127.0.0.1", grpc_server.grpc_port)
    with socket.create_connection(address, timeout=60) as client, contextlib.suppress(ConnectionError):
        client.sendall(content)
        while client.recv(65536):
            pass


def test_clients_that_vanish_in_the_middle_leave_nothing(grpc_server, connect, until):
    files = Path(f"/proc/{grpc_server.process.pid}/fd")
    connect().ping()
    before = len(list(files.iterdir()))
    content = _call(1) + frame(Kind.HEADERS, END_HEADERS, 3, HEAD) + frame(Kind.DATA, 0, 3, message(bytes(500))[:-1])
    for cut in range(0, len(content), 5):
        with Connection(grpc_server.grpc_port) as client:
            client.send_bytes(content[:cut])
    until(lambda: len(list(files.iterdir())) <= before, "the server has closed their connections")


def test_nobody_is_kept_from_answers_by_a_client_that_says_nothing(connect: Any):
    quiet = [connect() for _ in range(50)]
    assert connect().call().status == 0
    for client in quiet:
        assert client.call().status == 0
