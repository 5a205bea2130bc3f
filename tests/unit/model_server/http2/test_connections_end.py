"""Connections end, by their age or with the server, without losing a call that a client could believe to be taken."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.model_server.http2.predictions import PREDICT, sums
from tests.unit.model_server.http2.raw_client import (
    END_HEADERS,
    END_STREAM,
    LARGEST,
    Connection,
    Error,
    Kind,
    frame,
    literal,
    message,
    request,
)

_AGE_MS = 300
_HEAD = literal(request())


@pytest.fixture(scope="module")
def launch(models, launch_server) -> Callable[[], Any]:
    """Starts a server whose connections are soon over."""

    def start() -> Any:
        server = launch_server(
            *("--model_name=kinds", f"--model_base_path={models / 'kinds'}", "--enable_grpc_healthcheck_service=true"),
            f"--grpc_channel_arguments=grpc.max_connection_age_ms={_AGE_MS}",
        )
        server.wait_available("kinds", 1)
        return server

    return start


@pytest.fixture(scope="module")
def short_lived(launch) -> Any:
    return launch()


def _call_until_sent_away(client: Connection, at_once: int) -> list[int]:
    """Keep so many calls under way until the server has said which is the last; all streams that were begun."""
    streams: list[int] = []
    # A client that has sent what the server does not read any more may find the connection closed.
    with contextlib.suppress(OSError):
        while client.last_stream == LARGEST and not client.ended:
            while sum(not client.so_far(stream).over for stream in streams[-at_once:]) >= at_once:
                client.read_frame()
                if client.last_stream < LARGEST:
                    return streams
            stream = client.next_stream()
            streams.append(stream)
            head = frame(Kind.HEADERS, END_HEADERS, stream, _HEAD)
            client.send_bytes(head + frame(Kind.DATA, END_STREAM, stream, message()))
    return streams


def _assert_that_none_is_lost(client: Connection, streams: list[int]) -> None:
    client.read_to_the_end()
    assert client.away, "the connection ended without GOAWAY"
    assert {Error(away.payload[7]) for away in client.away} == {Error.NO_ERROR}
    taken = [stream for stream in streams if stream <= client.last_stream]
    assert [stream for stream in taken if client.so_far(stream).status != 0] == []
    others = [client.so_far(stream) for stream in streams if stream > client.last_stream]
    # A client tries again, by itself, what is beyond the last stream or refused.
    assert {answer.reset for answer in others} <= {None, Error.REFUSED_STREAM}
    assert not any(answer.blocks for answer in others)


@pytest.mark.parametrize("at_once", [1, 3, 50])
def test_a_client_that_goes_on_until_it_is_sent_away_loses_no_call(short_lived, at_once):
    for _ in range(3):
        with Connection(short_lived.grpc_port) as client:
            streams = _call_until_sent_away(client, at_once)
            _assert_that_none_is_lost(client, streams)
            assert len(streams) > at_once
            assert client.away[0].payload[:4] == b"\x7f\xff\xff\xff", "first a warning, that takes every call"


def test_a_client_that_reads_late_loses_no_call(short_lived):
    """It learns of the end long after it has come."""
    with Connection(short_lived.grpc_port) as client:
        streams: list[int] = []
        with Connection(short_lived.grpc_port) as other:
            _call_until_sent_away(other, 1)
            with contextlib.suppress(OSError):
                for _ in range(300):
                    stream = client.next_stream()
                    head = frame(Kind.HEADERS, END_HEADERS, stream, _HEAD)
                    client.send_bytes(head + frame(Kind.DATA, END_STREAM, stream, message()))
                    streams.append(stream)
        client.read_until(lambda: client.last_stream < LARGEST)
        _assert_that_none_is_lost(client, streams)


def test_a_call_that_takes_longer_than_its_connection_lives_is_answered(short_lived):
    with Connection(short_lived.grpc_port) as client:
        stream = client.open(request(PREDICT))
        client.data(stream, sums(1)[:7], end=False)
        client.read_until(lambda: bool(client.away))
        client.data(stream, sums(1)[7:])
        client.read_until(lambda: client.last_stream < LARGEST)
        _assert_that_none_is_lost(client, [stream])


def test_a_client_without_calls_is_sent_away_in_friendship(short_lived):
    with Connection(short_lived.grpc_port) as client:
        client.read_to_the_end()
        assert {Error(away.payload[7]) for away in client.away} == {Error.NO_ERROR}


def test_a_client_that_does_not_listen_is_cut_off(short_lived):
    """It answers no ping, and closes its connection never."""
    with Connection(short_lived.grpc_port) as deaf, contextlib.suppress(ConnectionError):
        while deaf.socket.recv(65536):
            pass


def test_a_server_that_is_told_to_end_loses_no_call(launch):
    server = launch()
    with Connection(server.grpc_port) as busy, Connection(server.grpc_port) as waiting:
        stream = waiting.open(request(PREDICT))
        waiting.data(stream, sums(1)[:7], end=False)
        streams = [busy.open() for _ in range(20)]
        for number in streams:
            busy.data(number, message())
        server.process.send_signal(signal.SIGTERM)
        waiting.read_until(lambda: bool(waiting.away))
        waiting.data(stream, sums(1)[7:])
        streams += _call_until_sent_away(busy, 5)
        _assert_that_none_is_lost(busy, streams)
        _assert_that_none_is_lost(waiting, [stream])
    assert server.process.wait(60) == 0
