"""Events of kopf's streams reach handlers at once and in order; the seam is where kopf has it."""

import asyncio
import functools
import inspect
from typing import Any

import kopf
import pytest
from keras_operator import streams
from keras_operator.streams import StraightRegistry
from kopf._cogs.clients import watching
from kopf._cogs.structs.references import Resource
from kopf._core.reactor import orchestration, processing, queueing

PODS = Resource("", "v1", "pods", namespaced=True)
EVENTS = [
    {"type": None, "object": {"metadata": {"uid": "1"}}},
    watching.Bookmark.LISTED,
    {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}},
    {"type": "MODIFIED", "object": {"metadata": {"uid": "1"}}},
    {"type": "DELETED", "object": {"metadata": {"uid": "1"}}},
]


@pytest.fixture
def stream(monkeypatch):
    async def infinite_watch(**_):
        for event in EVENTS * 40:
            yield event

    monkeypatch.setattr(watching, "infinite_watch", infinite_watch)


def subscribed(registry: kopf.OperatorRegistry, plural: str, handle: Any) -> Any:
    kopf.on.event(group="", version="v1", plural=plural, id=plural, registry=registry)(handle)
    # As kopf's own running module does: the registry first, the resource by the orchestrator.
    processor = functools.partial(processing.process_resource_event, registry=registry)
    return functools.partial(processor, resource=PODS)


async def watch(processor: Any) -> None:
    await queueing.watcher(processor=processor, resource=PODS, settings=kopf.OperatorSettings(), namespace=None)


async def test_every_event_reaches_its_handler_in_order_and_bookmarks_none(stream):
    seen = []

    async def handle(event, **_):
        seen.append(event["type"])

    await watch(subscribed(StraightRegistry(), "pods", handle))
    assert seen == [None, "MODIFIED", "DELETED"] * 40


async def test_handlers_of_other_resources_are_not_called(stream):
    async def handle(**_):
        raise AssertionError

    await watch(subscribed(StraightRegistry(), "services", handle))


async def test_an_event_that_cannot_be_taken_in_does_not_end_the_stream(stream, caplog):
    seen = []

    async def handle(event, **_):
        seen.append(event)
        raise ValueError("odd")

    await watch(subscribed(StraightRegistry(), "pods", handle))
    assert len(seen) == 120
    assert "an event could not be taken in" in caplog.text


async def test_a_long_list_lets_others_have_their_turn(stream):
    turns = []

    async def other() -> None:
        while True:
            turns.append(len(seen))
            await asyncio.sleep(0)

    seen = []

    async def handle(event, **_):
        seen.append(event)

    task = asyncio.create_task(other())
    await watch(subscribed(StraightRegistry(), "pods", handle))
    task.cancel()
    assert [at for at in turns if 0 < at < 120] == [50, 100]


async def test_other_registries_go_kopfs_own_way(monkeypatch):
    asked = []

    async def queued(**given):
        asked.append(given["resource"])

    monkeypatch.setattr(streams, "_queued", queued)

    async def handle(**_):
        raise AssertionError

    await watch(subscribed(kopf.OperatorRegistry(), "pods", handle))
    assert asked == [PODS]


def test_the_seam_is_where_kopf_has_it():
    assert "coro=queueing.watcher(" in inspect.getsource(orchestration.spawn_missing_watchers)
    assert "functools.partial(processor, resource=resource)" in inspect.getsource(orchestration.spawn_missing_watchers)
    assert {"processor", "resource", "settings", "namespace", "operator_paused"} <= set(
        inspect.signature(queueing.watcher).parameters
    )
    assert {"settings", "resource", "namespace", "operator_paused"} <= set(
        inspect.signature(watching.infinite_watch).parameters
    )
