"""An API server that does not answer is told of once when it is lost, and once when it is back."""

from __future__ import annotations

import asyncio
import logging

import aiohttp
import pytest
from aiohttp import web
from keras_operator.cluster.clock import ManualClock
from keras_operator.cluster.failure import ServerUnavailable
from keras_operator.cluster.outage import Outage


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def outage(clock, caplog):
    caplog.set_level(logging.INFO)
    return Outage(clock)


def test_an_outage_is_two_lines(outage, clock, caplog):
    for _ in range(50):
        outage.failed("GET /api: connection refused")
        clock.advance(1)
    outage.answered()
    outage.answered()
    lost, back = caplog.records
    assert (lost.levelname, back.levelname) == ("ERROR", "INFO")
    assert lost.getMessage().endswith("asked again until it does: GET /api: connection refused")
    assert back.getMessage() == "the API server answers again, after 50 s"


def test_a_connection_that_broke_is_no_outage(outage, clock, caplog):
    for _ in range(20):
        outage.failed("GET /api: connection reset")
        clock.advance(1)
        outage.answered()
    assert caplog.records == []


def test_the_next_outage_is_told_of_as_well(outage, clock, caplog):
    for _ in range(2):
        outage.failed("no answer")
        clock.advance(3)
        outage.failed("no answer")
        outage.answered()
    assert len(caplog.records) == 4


async def test_requests_and_watches_tell_it_of_answers_whichever_they_are(connection, client, server, monkeypatch):
    told = []
    monkeypatch.setattr(connection, "outage", Outage())
    monkeypatch.setattr(connection.outage, "answered", lambda: told.append("answered"))
    monkeypatch.setattr(connection.outage, "failed", told.append)
    server.always({"message": "not now"}, status=503)
    with pytest.raises(ServerUnavailable):
        await client.server_version()
    async with connection.session() as session:
        (await session.get(f"{server.url}/watch")).close()
    async with connection.session(answer_within=0.05) as session:
        server.answer = _hang
        with pytest.raises(TimeoutError):
            await session.get(f"{server.url}/watch")
        with pytest.raises(aiohttp.ClientError):
            await session.get("http://127.0.0.1:1/watch")
    assert told[:2] == ["answered"] * 2
    assert told[2] == "GET /watch: TimeoutError"
    assert told[3].startswith("GET /watch: Cannot connect")


async def _hang(_: object) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("the request is ended before")
