"""Probes answer with the reason, and /metrics shows the registry."""

from __future__ import annotations

import aiohttp
import pytest
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.probes import Probes


@pytest.fixture
async def get():
    trouble: dict[str, str | None] = {"watches": None, "cache": "not complete: Job"}
    probes = Probes(
        0,
        live={"watches": lambda: trouble["watches"]},
        ready={"cache": lambda: trouble["cache"]},
        registry=Metrics().registry,
    )
    port = await probes.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

        async def get(path: str, **changes: str | None) -> tuple[int, str]:
            trouble.update(changes)
            async with session.get(path) as response:
                return response.status, await response.text()

        yield get
    await probes.stop()


async def test_live_and_ready_are_different_questions(get):
    assert await get("/healthz") == (200, "watches: ok\n")
    assert await get("/readyz") == (503, "cache: not complete: Job\n")


async def test_an_answer_follows_the_moment(get):
    assert (await get("/readyz", cache=None))[0] == 200
    assert await get("/healthz", watches="the watch of Job brings nothing") == (
        503,
        "watches: the watch of Job brings nothing\n",
    )


async def test_metrics_can_be_asked_for_by_name(get):
    status, text = await get("/metrics?name[]=keras_operator_leader")
    assert status == 200
    assert "keras_operator_leader 0.0" in text
    assert "process_" not in text


async def test_metrics_are_prometheus_text(get):
    status, text = await get("/metrics")
    assert status == 200
    assert "keras_operator_leader 0.0" in text
    assert "process_resident_memory_bytes" in text
