"""The start of the process where the cluster is not ready for it."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from aiohttp import web
from keras_operator.lifecycle import Lifecycle
from keras_operator.settings import Settings


@pytest.fixture
def port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
async def running(connection, port):
    def make_reconciler(*_, **__):
        async def reconcile(_key):
            raise AssertionError("nothing can be reconciled without CRDs")

        return reconcile

    lifecycle = Lifecycle(
        Settings("t", "s", "v", probe_port=port), connection, make_reconciler, lambda _kind, body: body
    )
    task = asyncio.create_task(lifecycle.run())
    yield lifecycle, task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def ask(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
        return response.status, await response.text()


async def until_ready_says(port: int, words: str) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                if words in (await ask(port, "/readyz"))[1]:
                    return
            except aiohttp.ClientConnectionError:
                pass  # not listening yet: the next look tells
            await asyncio.sleep(0.02)


async def without_crds(request):
    if request.path == "/version":
        return web.json_response({"major": "1", "minor": "36"})
    return web.json_response({"message": "the server could not find the requested resource"}, status=404)


async def test_without_its_crds_it_waits_says_what_to_do_and_stays_alive(server, running, port, caplog):
    server.answer = without_crds
    await until_ready_says(
        port, "the CRDs of KerasModel and KerasModelVersion are not installed: kubectl apply -k crds"
    )
    assert (await ask(port, "/readyz"))[0] == 503
    assert (await ask(port, "/healthz"))[0] == 200
    assert "kubectl apply -k crds; waiting" in caplog.text


async def test_an_api_server_that_does_not_answer_is_waited_for(server, running, port):
    server.always({"message": "etcd is electing"}, status=503)
    await until_ready_says(port, "the API server does not answer: etcd is electing")


async def test_it_can_be_stopped_while_it_waits(server, running, port):
    server.answer = without_crds
    lifecycle, task = running
    await until_ready_says(port, "not installed")
    lifecycle.stop()
    await asyncio.wait_for(task, 5)
