"""Clients that send or take too slowly are cut off."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator

import pytest

from model_server.runtime.grpc_health import HealthService
from model_server.runtime.grpc_server import GrpcServer
from model_server.runtime.http2.limits import Limits
from model_server.turns import Turns
from tests.unit.model_server.conftest import free_port
from tests.unit.model_server.http2.raw_client import Answer, Connection, Setting, message

_EXPIRED = 4


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Of a server that cuts off who stalls."""
    limits = Limits(stall=0.6, age=600)
    server = GrpcServer((), Turns(), limits, max_calls=None, health=HealthService())
    found = free_port()
    await server.listen("127.0.0.1", found)
    yield found
    await server.drain(grace=10, quiet=0.1)


def _begun(client: Connection, size: int) -> int:
    """A call of whose message of 20,000 bytes so many have come."""
    stream = client.open()
    client.data(stream, struct.pack(">BI", 0, 20_000) + bytes(size), end=False)
    return stream


def _stops(port: int) -> Answer:
    with Connection(port) as client:
        return client.answer(_begun(client, 10_000))


def _drips(port: int) -> Answer:
    with Connection(port) as client:
        stream = _begun(client, 10)
        while not client.so_far(stream).over:
            client.data(stream, b"x", end=False)
            client.ping()
            time.sleep(0.01)  # a byte in so much time is what makes it slow
        return client.so_far(stream)


@pytest.mark.parametrize(
    ("asks", "why"),
    [(_stops, "was not complete 0.6 s after its last byte"), (_drips, "came at less than 1024 bytes a second")],
)
async def test_a_call_that_comes_too_slowly_is_ended(port, asks, why):
    answer = await asyncio.to_thread(asks, port)
    assert (answer.status, why in answer.message) == (_EXPIRED, True)


async def test_a_client_that_takes_no_answer_is_cut_off(port):
    def asks() -> Answer:
        with Connection(port, {Setting.INITIAL_WINDOW_SIZE: 0}, windows=False) as client:
            stream = client.open()
            client.data(stream, message())
            client.read_to_the_end()
            return client.so_far(stream)

    answer = await asyncio.to_thread(asks)
    assert (bool(answer.head), answer.over) == (True, False), "it was answered, and did not take it"
