"""Packed messages: who unpacks them, so that no message keeps the event loop from all other clients."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from model_server.runtime.grpc_health import HealthService
from model_server.runtime.grpc_server import GrpcServer
from model_server.runtime.http2.limits import Limits
from model_server.turns import Turns
from tests.unit.model_server.counted_threads import CountedThreads

_MAX_BYTES = 30_000_000
_RANDOM = random.Random(1).randbytes(50_000).hex()


@pytest.fixture
async def threads():
    """Those of the event loop, for what it does not do itself."""
    with CountedThreads() as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        yield threads


@pytest.fixture
async def channel(threads, tmp_path):
    """A client of a server in this very event loop, which packs what it sends."""
    server = GrpcServer((), Turns(), Limits(message=_MAX_BYTES), max_calls=None, health=HealthService())
    address = str(tmp_path / "grpc.sock")
    await server.listen_at(address)
    async with grpc.aio.insecure_channel(f"unix:{address}", compression=grpc.Compression.Gzip) as channel:
        yield channel
    await server.drain(grace=10, quiet=0.1)


@pytest.mark.parametrize(
    ("service", "code", "given"),
    [
        ("0" * 200_000, "NOT_FOUND", 0),
        ("0" * 20_000_000, "NOT_FOUND", 1),
        ("0" * 40_000_000, "RESOURCE_EXHAUSTED", 1),
        (_RANDOM * 3, "NOT_FOUND", 1),
    ],
    ids=["little", "much of little", "too much of little", "much"],
)
async def test_the_event_loop_unpacks_only_what_takes_no_time(channel, threads, service, code, given):
    request = health_pb2.HealthCheckRequest(service=service).SerializeToString()
    check = channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await check(request, timeout=60)
    assert (refused.value.code().name, threads.given) == (code, given)


async def test_a_call_that_gives_several_messages_may_bring_much(channel, threads):
    request = health_pb2.HealthCheckRequest(service="0" * 1_000_000).SerializeToString()
    watch: Any = channel.unary_stream("/grpc.health.v1.Health/Watch", None, health_pb2.HealthCheckResponse.FromString)
    call = watch(request, timeout=60)
    assert (await call.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    call.cancel()
    assert threads.given == 1
