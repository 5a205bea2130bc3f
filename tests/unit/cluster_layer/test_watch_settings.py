"""kopf's settings: nothing is ever stored on an object, every child is selected by the server, outages are outlived."""

from __future__ import annotations

import itertools

import pytest
from keras_operator.kinds import CHILDREN
from keras_operator.watches import _whole, watch_settings
from kopf._cogs.clients import watching


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

    told = [event["type"] async for event in _whole(broken_off)(settings=settings, since=since)]
    assert told == [*events, *(["ERROR"] if begins_again else [])]


def test_kopf_watches_by_what_begins_again():
    assert watching.watch_objs.__qualname__.startswith("_whole.")
