"""Clients that take answers slowly or not at all: answers wait for them, and memory is bounded."""

from __future__ import annotations

import struct

import pytest

from tests.unit.model_server.http2.conftest import resident
from tests.unit.model_server.http2.predictions import PREDICT, sums
from tests.unit.model_server.http2.raw_client import (
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    WINDOW,
    Connection,
    Error,
    Kind,
    Setting,
    frame,
    message,
    request,
    settings,
    window_update,
)

_GROWTH_BYTES = 96 * 1024 * 1024
_ROWS = 20_000


@pytest.fixture(scope="module")
def whole(grpc_server) -> bytes:
    """The answer to a client that takes it at once."""
    with Connection(grpc_server.grpc_port) as client:
        answer = client.call(request(PREDICT), sums(_ROWS))
    assert answer.status == 0
    assert len(answer.body) > 2 * WINDOW
    return answer.body


def _begin(client: Connection) -> int:
    stream = client.open(request(PREDICT))
    client.data(stream, sums(_ROWS))
    return stream


def _received(client: Connection, stream: int, size: int) -> None:
    """Wait until so many bytes have come, and see that no more do."""
    client.read_until(lambda: len(client.so_far(stream).body) >= size)
    client.ping()
    assert len(client.so_far(stream).body) == size


def _change(client: Connection, window: int) -> None:
    client.send(Kind.SETTINGS, payload=settings({Setting.INITIAL_WINDOW_SIZE: window}))


def test_an_answer_waits_for_both_windows(connect, whole):
    client = connect({Setting.INITIAL_WINDOW_SIZE: 0}, windows=False)
    stream = _begin(client)
    client.read_until(lambda: client.so_far(stream).blocks == 1)
    _received(client, stream, 0)
    client.send_bytes(window_update(stream, 10))
    _received(client, stream, 10)
    client.send_bytes(window_update(stream, len(whole)))
    _received(client, stream, WINDOW)
    client.send_bytes(window_update(0, 1))
    _received(client, stream, WINDOW + 1)
    client.send_bytes(window_update(0, len(whole)))
    answer = client.answer(stream)
    assert (answer.status, answer.body == whole) == (0, True)
    assert max(answer.data_frames) <= FRAME_BYTES


def test_windows_change_with_the_settings_in_the_middle_of_an_answer(connect, whole):
    client = connect({Setting.INITIAL_WINDOW_SIZE: 0}, windows=False)
    client.send_bytes(window_update(0, len(whole)))
    stream = _begin(client)
    _change(client, 100)
    _received(client, stream, 100)
    _change(client, 40)  # the window is now 60 below zero
    client.send_bytes(window_update(stream, 50))
    _received(client, stream, 100)
    client.send_bytes(window_update(stream, 15))
    _received(client, stream, 105)
    _change(client, 50)
    _received(client, stream, 115)
    _change(client, 2**31 - 1 - 65)
    assert client.answer(stream).body == whole


def test_a_byte_at_a_time_is_an_answer_in_the_end(connect):
    client = connect({Setting.INITIAL_WINDOW_SIZE: 1}, windows=False)
    stream = client.open()
    client.data(stream, message())
    while not client.so_far(stream).over:
        size = len(client.so_far(stream).body)
        client.send_bytes(window_update(stream, 1))
        client.read_until(lambda size=size: client.so_far(stream).over or len(client.so_far(stream).body) > size)
    assert client.so_far(stream).body == message(b"\x08\x01")


def test_answers_that_nobody_takes_wait_without_holding_up_others(grpc_server, connect, whole):
    client = connect({Setting.INITIAL_WINDOW_SIZE: 0})
    before = resident(grpc_server)
    streams = [_begin(client) for _ in range(60)]
    client.read_until(lambda: all(client.so_far(stream).blocks or client.so_far(stream).over for stream in streams))
    checked = client.open()
    client.data(checked, message())
    client.send_bytes(window_update(checked, 1000))
    assert client.answer(checked).status == 0
    assert resident(grpc_server) - before < _GROWTH_BYTES
    for stream in streams[::2]:
        client.send(Kind.RST_STREAM, 0, stream, struct.pack(">I", Error.CANCEL))
    _change(client, 2**31 - 1)
    assert all(client.answer(stream).body == whole for stream in streams[1::2])


def test_a_stream_that_takes_nothing_leaves_the_connection_to_others(connect, whole):
    client = connect({Setting.INITIAL_WINDOW_SIZE: 0})
    stopped = _begin(client)
    client.read_until(lambda: client.so_far(stopped).blocks == 1)
    for _ in range(3):
        stream = _begin(client)
        client.send_bytes(window_update(stream, len(whole)))
        assert client.answer(stream).body == whole
    assert not client.so_far(stopped).body


def test_a_client_that_reads_nothing_is_not_read_for_ever(grpc_server, connect):
    """A call of a few bytes brings a kilobyte back: what nobody reads must not fill the server."""
    client: Connection = connect(receive_bytes=4096)
    fields = request("/no.such.Service/" + "x" * 1000)
    assert client.call(fields).status
    block = client.packed(fields)
    before = resident(grpc_server)
    calls = [frame(Kind.HEADERS, END_HEADERS | END_STREAM, client.next_stream(), block) for _ in range(150_000)]
    client.flood(b"".join(calls), 1)
    assert resident(grpc_server) - before < _GROWTH_BYTES


def test_windows_are_given_back_to_call_after_call(connection):
    """More bytes than a connection's window has at first."""
    connection.ping()
    body = message(b"\x92\x01\x80\x80\x30" + bytes(3 << 18))
    for _ in range(connection.window // len(body) + 3):
        assert connection.call(body=body).status == 0


def test_more_calls_than_a_connection_may_have_are_refused_so_that_clients_try_again(connect):
    client = connect()
    client.read_until(lambda: bool(client.theirs))
    most = client.theirs.get(Setting.MAX_CONCURRENT_STREAMS)
    if most is None or most > 5000:
        return
    streams = [client.open() for _ in range(most)]
    more = client.open()
    assert client.answer(more).reset == Error.REFUSED_STREAM
    for stream in streams:
        client.data(stream, message())
    assert {client.answer(stream).status for stream in streams} == {0}
    assert client.call().status == 0
