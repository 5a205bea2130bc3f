"""Audits: when the cache counts as complete, how a lost deletion heals, when a watch counts as dead."""

from __future__ import annotations

import asyncio

import pytest
from keras_operator.cluster.audit import Audit, Auditor
from keras_operator.cluster.cache import Cache
from keras_operator.cluster.client import ObjectMetadata
from keras_operator.cluster.clock import ManualClock
from keras_operator.cluster.failure import Forbidden
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.reference import JOB, SERVICE, Ref

OWNER = ("vision", "dogs")
TRAIN = Ref(JOB, "vision", "dogs-1-train")


class Cluster:
    """What lists answer."""

    def __init__(self) -> None:
        self.objects: dict[Ref, tuple[str, int]] = {}
        self.lists: list[tuple[str, str | None]] = []
        self.failing = False

    async def list_metadata(self, kind, selector="", *, namespace=None):
        self.lists.append((kind.kind, namespace))
        if self.failing:
            raise Forbidden(403, "Forbidden", "jobs is forbidden")
        return [
            ObjectMetadata(ref.namespace, ref.name, uid, str(version), {})
            for ref, (uid, version) in self.objects.items()
            if ref.kind == kind and namespace in {None, ref.namespace}
        ]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cache() -> Cache:
    return Cache()


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def woken() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def audit(cache, cluster, woken, metrics, clock) -> Audit:
    return Audit(
        JOB, cache, selector="", namespaces=(None,), wake=woken.append, api=cluster, metrics=metrics, clock=clock
    )


def seen(cache: Cache, ref: Ref, uid: str, version: int) -> None:
    """Put an object as its watch would."""
    cache.put(ref, OWNER, f"at {version}", uid=uid, resource_version=str(version))


async def test_before_the_first_list_nothing_is_synced(audit):
    audit.recheck()
    assert not audit.synced


async def test_an_empty_cluster_is_synced_by_one_list(audit):
    await audit.once()
    assert audit.synced


async def test_synced_is_when_the_watch_has_brought_all_that_the_list_had(audit, cache, cluster):
    cluster.objects[TRAIN] = ("u1", 5)
    await audit.once()
    assert not audit.synced
    seen(cache, TRAIN, "u1", 5)
    audit.recheck()
    assert audit.synced


async def test_an_older_state_does_not_count(audit, cache, cluster):
    cluster.objects[TRAIN] = ("u1", 10)
    seen(cache, TRAIN, "u1", 9)
    await audit.once()
    assert not audit.synced


async def test_an_object_that_was_seen_to_go_counts_as_brought(audit, cache, cluster):
    cluster.objects[TRAIN] = ("u1", 5)
    await audit.once()
    cache.drop(TRAIN, "u1")
    audit.recheck()
    assert audit.synced


async def test_an_object_deleted_between_list_and_watch_does_not_block_the_start_for_ever(audit, cluster):
    cluster.objects[TRAIN] = ("u1", 5)
    await audit.once()
    del cluster.objects[TRAIN]
    await audit.once()
    assert audit.synced


async def test_a_lost_deletion_heals_at_the_second_list_and_wakes_the_owner(audit, cache, woken, metrics):
    seen(cache, TRAIN, "u1", 5)
    await audit.once()
    assert cache.get(TRAIN) is not None
    assert audit.suspicious
    await audit.once()
    assert cache.get(TRAIN) is None
    assert woken == [OWNER]
    assert metrics.registry.get_sample_value("keras_operator_audit_healed_total", {"kind": "Job"}) == 1


async def test_an_object_that_came_after_the_list_is_left_alone(audit, cache, cluster, woken):
    await audit.once()
    seen(cache, TRAIN, "u1", 5)
    cluster.objects[TRAIN] = ("u1", 5)
    await audit.once()
    await audit.once()
    assert cache.get(TRAIN) is not None
    assert woken == []


async def test_missing_once_and_back_again_is_not_a_lost_deletion(audit, cache, cluster):
    seen(cache, TRAIN, "u1", 5)
    for listed in (False, True, False):
        cluster.objects = {TRAIN: ("u1", 5)} if listed else {}
        await audit.once()
    assert cache.get(TRAIN) is not None


async def test_an_object_made_anew_replaces_a_stale_one_of_its_name(audit, cache, cluster, woken):
    seen(cache, TRAIN, "u1", 5)
    cluster.objects[TRAIN] = ("u2", 9)
    await audit.once()
    await audit.once()
    assert cache.get(TRAIN) is None
    assert woken == [OWNER]


async def test_a_watch_that_brings_nothing_for_a_minute_is_dead(audit, cache, cluster, clock):
    seen(cache, TRAIN, "u1", 5)
    cluster.objects[TRAIN] = ("u1", 8)
    await audit.once()
    clock.advance(59)
    assert not audit.dead
    clock.advance(2)
    assert audit.dead


async def test_a_busy_object_does_not_renew_the_patience_with_a_dead_watch(audit, cache, cluster, clock):
    seen(cache, TRAIN, "u1", 5)
    for version in range(6, 16):
        cluster.objects[TRAIN] = ("u1", version)
        await audit.once()
        clock.advance(10)
    assert audit.dead


async def test_a_slow_watch_that_keeps_coming_is_not_dead(audit, cache, cluster, clock, metrics):
    for version in range(6, 30):
        cluster.objects[TRAIN] = ("u1", version)
        await audit.once()
        clock.advance(30)
        seen(cache, TRAIN, "u1", version)
        audit.recheck()
        assert not audit.dead
    assert metrics.registry.get_sample_value("keras_operator_watch_stale_seconds", {"kind": "Job"}) == 0


async def test_the_cache_and_the_lists_are_measured(audit, cache, cluster, metrics):
    seen(cache, TRAIN, "u1", 5)
    cluster.objects[TRAIN] = ("u1", 5)
    await audit.once()
    count = metrics.registry.get_sample_value
    assert count("keras_operator_cached_objects", {"kind": "Job"}) == 1
    assert count("keras_operator_audit_seconds_count", {"kind": "Job"}) == 1


async def test_a_list_that_fails_changes_nothing(audit, cache, cluster, woken):
    seen(cache, TRAIN, "u1", 5)
    cluster.failing = True
    for _ in range(3):
        with pytest.raises(Forbidden):
            await audit.once()
    assert cache.get(TRAIN) is not None
    assert not audit.synced
    assert woken == []


async def test_a_list_of_namespaces_is_asked_for_one_by_one(cache, cluster, metrics, clock):
    audit = Audit(JOB, cache, selector="", namespaces=("a", "b"), wake=print, api=cluster, metrics=metrics, clock=clock)
    cluster.objects = {Ref(JOB, "a", "x"): ("u1", 1), Ref(JOB, "c", "x"): ("u2", 2)}
    seen(cache, Ref(JOB, "a", "x"), "u1", 1)
    await audit.once()
    assert cluster.lists == [("Job", "a"), ("Job", "b")]
    assert audit.synced


class Running:
    """An auditor at work on a clock moved by hand."""

    def __init__(self, auditor: Auditor, clock: ManualClock) -> None:
        self.auditor = auditor
        self.clock = clock

    async def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds * 2)):
            self.clock.advance(0.5)
            for _ in range(10):
                await asyncio.sleep(0)


@pytest.fixture
async def running(cache, cluster, woken, metrics, clock):
    audits = [
        Audit(
            kind, cache, selector="", namespaces=(None,), wake=woken.append, api=cluster, metrics=metrics, clock=clock
        )
        for kind in (JOB, SERVICE)
    ]
    auditor = Auditor(audits, interval=300, clock=clock)
    task = asyncio.create_task(auditor.run())
    for _ in range(10):
        await asyncio.sleep(0)
    yield Running(auditor, clock)
    task.cancel()
    await asyncio.wait([task])


async def test_at_rest_each_kind_is_listed_about_every_interval(running, cluster):
    assert running.auditor.synced.is_set()
    assert cluster.lists == [("Job", None), ("Service", None)]
    await running.pass_time(220)
    assert len(cluster.lists) == 2
    await running.pass_time(170)
    assert len(cluster.lists) == 4


async def test_the_start_barrier_waits_for_every_kind(cache, cluster, woken, metrics, clock):
    cluster.objects[TRAIN] = ("u1", 5)
    audits = [
        Audit(
            kind, cache, selector="", namespaces=(None,), wake=woken.append, api=cluster, metrics=metrics, clock=clock
        )
        for kind in (JOB, SERVICE)
    ]
    running = Running(Auditor(audits, clock=clock), clock)
    task = asyncio.create_task(running.auditor.run())
    await running.pass_time(5)
    assert running.auditor.unsynced == (JOB,)
    assert not running.auditor.synced.is_set()
    seen(cache, TRAIN, "u1", 5)
    await running.pass_time(1)
    assert running.auditor.synced.is_set()
    task.cancel()


async def test_a_watch_that_started_anew_is_audited_soon_and_its_lost_deletions_heal(running, cache, cluster, woken):
    seen(cache, TRAIN, "u1", 5)
    running.auditor.relisted(JOB)
    await running.pass_time(22)
    assert cluster.lists.count(("Job", None)) >= 3
    assert woken == [OWNER]


async def test_a_kind_that_cannot_be_listed_is_said_and_tried_again(running, cluster, caplog):
    cluster.failing = True
    running.auditor.relisted(JOB)
    await running.pass_time(25)
    assert "Job could not be listed" in caplog.text
    assert "jobs is forbidden" in caplog.text
    assert cluster.lists.count(("Job", None)) == 3


async def test_a_dead_watch_is_named(running, cluster):
    cluster.objects[TRAIN] = ("u1", 5)
    running.auditor.relisted(JOB)
    await running.pass_time(80)
    assert running.auditor.dead == (JOB,)
