"""kopf's settings: nothing is ever stored on an object, every child is selected by the server, outages are outlived."""

from __future__ import annotations

import functools
import itertools

import pytest
from keras_operator import watches
from keras_operator.cluster.metrics import Metrics
from keras_operator.kinds import CHILDREN
from keras_operator.watches import _hearing, _unbroken, watch_settings
from kopf._cogs.clients import watching
from kopf._cogs.clients.errors import APINotFoundError


@pytest.fixture
def settings():
    return watch_settings((1, 36))


def test_no_state_of_kopf_is_ever_stored(settings):
    diffbase, progress = settings.persistence.diffbase_storage, settings.persistence.progress_storage
    assert diffbase.build(body={"spec": {"a": 1}}) == {}
    assert diffbase.fetch(body={}) is None
    assert diffbase.store(body={}, patch={}, essence={}) is None
    assert progress.fetch(key="k", body={}) is None
    assert progress.store(key="k", record={}, body={}, patch={}) is None
    assert progress.purge(key="k", body={}, patch={}) is None
    assert progress.touch(body={}, patch={}, value=None) is None
    essence: dict[str, object] = {"spec": {}}
    assert progress.clear(essence=essence) is essence


def test_kopfs_finalizer_is_one_that_no_object_can_carry(settings):
    assert " " in settings.persistence.finalizer


def test_kopf_neither_joins_other_operators_nor_posts_nor_scans(settings):
    assert settings.peering.standalone
    assert not settings.posting.enabled
    assert settings.scanning.disabled


def test_every_kind_of_child_is_selected_by_the_server(settings):
    selected = {(s.group, s.version, s.any_name): label for s, label in settings.watching.label_selectors.items()}
    assert selected == {
        (kind.group, kind.version, kind.plural): "app.kubernetes.io/managed-by=keras-operator" for kind in CHILDREN
    }


@pytest.mark.parametrize(("version", "streaming"), [((1, 33), False), ((1, 34), True), ((1, 36), True), ((2, 0), True)])
def test_the_first_list_is_streamed_where_the_server_can(version, streaming):
    settings = watch_settings(version)
    assert settings.watching.initial_streaming is streaming
    assert (settings.watching.chunk_size is None) is streaming


def test_a_watch_outlives_any_outage_and_each_of_its_requests_starts_patiently_anew(settings):
    backoffs = settings.networking.error_backoffs
    assert sum(itertools.islice(backoffs, 1000)) > 4 * 3600
    assert next(iter(backoffs)) == next(iter(backoffs)) == 0.5


def test_a_silent_watch_is_known_within_the_time_in_which_the_server_ends_every_watch(settings):
    watching = settings.watching
    assert watching.server_timeout < watching.inactivity_timeout < watching.client_timeout <= 50


@pytest.mark.parametrize(
    ("since", "streams", "events", "begins_again"),
    [
        (None, True, ["ADDED", "ADDED"], True),
        (None, True, [], True),
        (None, True, ["ADDED", "BOOKMARK", "MODIFIED"], False),
        ("7", True, ["MODIFIED"], False),
        (None, False, ["ADDED"], False),
    ],
)
async def test_a_first_list_that_broke_off_begins_again(since, streams, events, begins_again):
    """As kopf itself would not: see the test on a real API server in tests/chaos."""
    settings = watch_settings((1, 36) if streams else (1, 33))

    async def broken_off(**_):
        for event in events:
            yield {"type": event, "object": {}}

    told = [event["type"] async for event in _unbroken(broken_off)(settings=settings, resource="widgets", since=since)]
    assert told == [*events, *(["ERROR"] if begins_again else [])]


@pytest.mark.parametrize(
    "end",
    [
        lambda: {"type": "ERROR", "object": {"code": 500, "message": "etcd is away"}},
        lambda: {"type": "ERROR", "object": {"code": 403, "message": "etcd is away"}},
        APINotFoundError("etcd is away", status=404, headers={}),
    ],
)
async def test_an_error_makes_a_watch_begin_again_and_is_told_of_once(end, monkeypatch, caplog):
    monkeypatch.setattr(watches, "_AGAIN_SECONDS", 0.0)
    works = False

    async def broken(**_):
        if works:
            yield {"type": "MODIFIED", "object": {}}
        elif isinstance(end, Exception):
            raise end
        else:
            yield end()
            raise AssertionError("nobody listens any more")

    watch = functools.partial(_unbroken(broken), settings=watch_settings((1, 36)), resource="widgets", since="7")
    for _ in range(3):
        assert [(event["type"], event["object"]["code"]) async for event in watch()] == [("ERROR", 410)]
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("the watch of widgets broke off")
    assert "etcd is away" in line
    works = True
    assert [event["type"] async for event in watch()] == ["MODIFIED"]
    works = False
    assert [event["type"] async for event in watch()] == ["ERROR"]
    assert len(caplog.records) == 2


async def test_a_410_goes_through_as_it_is():
    async def gone(**_):
        yield {"type": "ERROR", "object": {"code": 410, "message": "too old"}}

    settings = watch_settings((1, 36))
    told = [event["object"] async for event in _unbroken(gone)(settings=settings, resource="widgets", since="7")]
    assert told == [{"code": 410, "message": "too old"}]


def test_kopf_watches_by_what_begins_again():
    assert watching.watch_objs.__qualname__.startswith("_unbroken.")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/api/v1/services?watch=true&sendInitialEvents=true", ["Service"]),
        ("/api/v1/namespaces/vision/services?watch=true", ["Service"]),
        ("/api/v1/services?limit=500", ["Service"]),
        ("/api/v1/services?watch=true&resourceVersion=7", []),
        ("/apis/apps/v1", []),
    ],
)
async def test_a_watch_that_lists_anew_is_told_of(path, told, server, connection):
    """Also where it finds nothing, and so brings no event."""
    server.always({})
    kinds: list[str] = []
    trace = _hearing(Metrics(), lambda kind: kinds.append(kind.kind))
    async with connection.session(traces=[trace]) as session:
        (await session.get(f"{server.url}{path}")).close()
    assert kinds == told
