"""An HTTP server that answers as a test says, and a client of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from keras_operator.cluster.client import Client
from keras_operator.cluster.connection import Connection
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.reference import Kind
from kubernetes.aio.client import Configuration

WIDGET = Kind("example.com", "v1", "widgets", "Widget")


@dataclass
class Received:
    """One request as the server saw it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """Answers every request with `answer`, and remembers what came."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answer: Callable[[Received], Awaitable[web.StreamResponse]] | None = None
    busy: int = 0
    most_busy: int = 0

    def always(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        async def answer(_: Received) -> web.StreamResponse:
            return web.json_response(body, status=status, headers=headers)

        self.answer = answer

    async def handle(self, request: web.Request) -> web.StreamResponse:
        received = Received(
            request.method, request.path, dict(request.query), dict(request.headers), await request.read()
        )
        self.received.append(received)
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        try:
            assert self.answer is not None, "the test says no answer"
            return await self.answer(received)
        finally:
            self.busy -= 1


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    fake = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def connection(server: Server) -> Connection:
    configuration = Configuration()
    configuration.host = server.url
    configuration.api_key["BearerToken"] = "Bearer secret-1"
    return Connection(configuration)


@pytest.fixture
async def client(connection: Connection, metrics: Metrics) -> AsyncIterator[Client]:
    client = Client(connection, [WIDGET], metrics, concurrency=3, service_concurrency=1, timeout=5)
    yield client
    await client.close()
    await asyncio.sleep(0)
