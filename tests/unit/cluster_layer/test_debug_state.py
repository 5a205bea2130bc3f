"""/debug/state shows what is held of a model and what follows from it, to whoever is on the same machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

import aiohttp
import pytest
from keras_operator.cluster.clock import ManualClock
from keras_operator.cluster.debug import DebugServer, readable
from keras_operator.cluster.queue import KeyedQueue
from keras_operator.cluster.reference import Key

DOGS, CATS = ("vision", "dogs"), ("vision", "cats")


class Colour(Enum):
    BROWN = "brown"


@dataclass(frozen=True)
class Dog:
    colour: Colour
    content: bytes
    seen: datetime
    toys: frozenset[str]


SEEN = {
    DOGS: {"observed": Dog(Colour.BROWN, b'{"spec":{"a":1}}', datetime(2026, 1, 1, tzinfo=UTC), frozenset({"ball"}))}
}


@pytest.fixture
def queue() -> KeyedQueue[Key]:
    return KeyedQueue(ManualClock())


@pytest.fixture
async def get(queue):
    server = DebugServer(0, queue, SEEN.get)
    port = await server.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

        async def get(path: str) -> tuple[int, str]:
            async with session.get(path) as response:
                return response.status, await response.text()

        yield get
    await server.stop()


async def test_a_model_is_shown_with_what_is_known_of_it_and_where_it_is_in_the_queue(get, queue):
    queue.add_after(DOGS, 30)
    status, text = await get("/debug/state?model=vision/dogs")
    assert (status, json.loads(text)) == (
        200,
        {
            "queue": {"in": ["delayed"], "failures": 0},
            "observed": {
                "colour": "brown",
                "content": {"spec": {"a": 1}},
                "seen": "2026-01-01T00:00:00Z",
                "toys": ["ball"],
            },
        },
    )


async def test_without_a_model_the_queue_is_shown(get, queue):
    queue.add(DOGS)
    queue.add(CATS)
    await queue.get()
    assert json.loads((await get("/debug/state"))[1]) == {
        "queue": {"ready": ["vision/cats"], "processing": ["vision/dogs"], "delayed": []}
    }


@pytest.mark.parametrize("name", ["vision/cats", "dogs", ""])
async def test_a_model_that_is_not_known_is_said_to_be_so(get, name):
    status, text = await get(f"/debug/state?model={name}")
    assert status == 404
    assert "is known: write model=NAMESPACE/NAME" in text


async def test_nobody_is_answered_but_on_the_loopback_address(queue):
    server = DebugServer(0, queue, SEEN.get)
    await server.start()
    assert [address[0] for address in server.addresses] == ["127.0.0.1"]
    await server.stop()


def test_everything_that_planning_holds_can_be_read():
    assert readable({"a": (1, {"b": None})}) == {"a": [1, {"b": None}]}
