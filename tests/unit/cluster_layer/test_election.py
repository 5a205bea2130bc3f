"""Leader election against an API with optimistic concurrency, on a clock moved by hand."""

from __future__ import annotations

import asyncio
import copy
from datetime import datetime
from typing import Any

import pytest
from keras_operator.cluster.clock import ManualClock
from keras_operator.cluster.election import Election, LeadershipLostError, Timing
from keras_operator.cluster.failure import AlreadyExists, Conflict, NotFound, ServerUnavailable
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.reference import LEASE, Ref

LEASE_REF = Ref(LEASE, "system", "keras-operator")


class Leases:
    """An API server with one Lease: resourceVersions, conflicts, and outages on demand."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.down = False
        self.hang = False
        self.answers = True
        self.writes = 0
        self.reads = 0

    async def get(self, ref):
        self.reads += 1
        await self._network()
        return copy.deepcopy(self.lease)

    async def create(self, manifest):
        await self._network()
        if self.lease is not None:
            raise AlreadyExists(409, "AlreadyExists", "there is one")
        stored = self._store(manifest)
        if not self.answers:
            await asyncio.Event().wait()
        return stored

    async def replace(self, manifest):
        await self._network()
        if self.lease is None:
            raise NotFound(404, "NotFound", "gone")
        if manifest["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "the object has been modified")
        return self._store(manifest)

    def _store(self, manifest: Any) -> dict[str, Any]:
        self.version += 1
        self.writes += 1
        self.lease = copy.deepcopy(dict(manifest))
        self.lease["metadata"] = {**manifest["metadata"], "resourceVersion": str(self.version)}
        return copy.deepcopy(self.lease)

    async def _network(self) -> None:
        await asyncio.sleep(0)
        if self.hang:
            await asyncio.Event().wait()
        if self.down:
            raise ServerUnavailable(0, "Unreachable", "connection refused")

    @property
    def holder(self) -> str:
        assert self.lease is not None
        return str(self.lease["spec"]["holderIdentity"])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture
async def replica(leases, clock):
    """Makes replicas that take part in the election; their tasks end with the test."""
    tasks: list[asyncio.Task[None]] = []

    def start(name: str) -> tuple[Election, asyncio.Task[None]]:
        election = Election(leases, LEASE_REF, name, metrics=Metrics(), clock=clock)
        task = asyncio.create_task(election.run())
        tasks.append(task)
        return election, task

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def pass_time(clock: ManualClock, seconds: float) -> None:
    """Move on in small steps, letting everybody act at each."""
    for _ in range(round(seconds * 2)):
        clock.advance(0.5)
        for _ in range(10):
            await asyncio.sleep(0)


async def test_the_first_replica_leads_and_the_second_waits(replica, leases, clock):
    first, _ = replica("a")
    await pass_time(clock, 1)
    second, _ = replica("b")
    await pass_time(clock, 60)
    assert first.leading.is_set()
    assert not second.leading.is_set()
    assert leases.holder == "a"


async def test_the_lease_is_renewed_every_two_seconds(replica, leases, clock):
    replica("a")
    await pass_time(clock, 1)
    before = leases.writes
    await pass_time(clock, 20)
    assert leases.writes - before == 10


async def test_of_two_that_start_together_one_leads(replica, leases, clock):
    replicas = [replica(name)[0] for name in "abcd"]
    await pass_time(clock, 30)
    assert [election.leading.is_set() for election in replicas].count(True) == 1


async def test_after_a_release_another_leads_within_one_retry(replica, leases, clock):
    first, task = replica("a")
    await pass_time(clock, 1)
    second, _ = replica("b")
    await pass_time(clock, 1)
    task.cancel()
    await asyncio.wait([task])
    await first.release()
    assert leases.holder == ""
    await pass_time(clock, 2.5)
    assert second.leading.is_set()
    assert leases.lease["spec"]["leaseTransitions"] == 1


async def test_after_a_crash_another_leads_when_the_lease_ends_and_not_before(replica, leases, clock):
    _, task = replica("a")
    await pass_time(clock, 1)
    second, _ = replica("b")
    await pass_time(clock, 1)
    task.cancel()
    await asyncio.wait([task])
    await pass_time(clock, 13)
    assert not second.leading.is_set()
    await pass_time(clock, 6)
    assert second.leading.is_set()


async def test_who_waits_looks_at_the_very_moment_when_the_lease_ends(replica, leases, clock):
    _, task = replica("a")
    await pass_time(clock, 1)
    second, _ = replica("b")
    await pass_time(clock, 0.5)
    task.cancel()
    # It first saw the Lease at 1 s, and so takes it at 16 s, not with the look that would come at 17 s.
    await pass_time(clock, 14.5)
    assert not second.leading.is_set()
    await pass_time(clock, 0.5)
    assert second.leading.is_set()


async def test_a_wrong_wall_clock_of_the_leader_does_not_end_its_lease(replica, leases, clock):
    replica("a")
    await pass_time(clock, 1)
    second, _ = replica("b")
    for _ in range(30):
        if leases.lease:
            leases.lease["spec"]["renewTime"] = "2001-01-01T00:00:00.000000Z"
        await pass_time(clock, 1)
    assert not second.leading.is_set()


async def test_an_outage_shorter_than_the_deadline_is_survived(replica, leases, clock):
    first, task = replica("a")
    await pass_time(clock, 1)
    leases.down = True
    await pass_time(clock, 8)
    leases.down = False
    await pass_time(clock, 10)
    assert first.leading.is_set()
    assert not task.done()


async def test_an_outage_beyond_the_deadline_ends_leadership_before_anybody_else_may_lead(replica, leases, clock):
    first, task = replica("a")
    await pass_time(clock, 1)
    leases.down = True
    await pass_time(clock, 9)
    assert first.leading.is_set()
    await pass_time(clock, 0.5)
    assert not first.leading.is_set(), "ten seconds after the last renewal"
    with pytest.raises(LeadershipLostError, match="within 10 s"):
        await task


async def test_who_leads_knows_for_how_long_and_needs_to_ask_nobody(replica, leases, clock):
    first, task = replica("a")
    assert first.remaining() <= 0
    await pass_time(clock, 1)
    leases.down = True
    before = first.remaining()
    assert 8 < before <= 10
    await pass_time(clock, 4)
    assert first.remaining() == before - 4
    # Frozen for a minute: nothing of it has run since, and it knows all the same.
    clock.advance(60)
    assert first.remaining() <= 0
    with pytest.raises(LeadershipLostError):
        await task


async def test_a_renewal_that_hangs_does_not_outlive_the_deadline(leases):
    timing = Timing(lease_duration=0.6, renew_deadline=0.3, retry_period=0.05)
    election = Election(leases, LEASE_REF, "a", metrics=Metrics(), timing=timing)
    task = asyncio.create_task(election.run())
    await asyncio.wait_for(election.leading.wait(), 5)
    leases.hang = True
    with pytest.raises(LeadershipLostError):
        await asyncio.wait_for(task, 0.55)


async def test_another_holder_ends_leadership_at_once(replica, leases, clock):
    first, task = replica("a")
    await pass_time(clock, 1)
    thief = copy.deepcopy(leases.lease)
    thief["spec"]["holderIdentity"] = "b"
    await leases.replace(thief)
    await pass_time(clock, 2.5)
    assert not first.leading.is_set()
    with pytest.raises(LeadershipLostError, match="held by b"):
        await task


async def test_a_lease_that_another_holds_is_not_released(replica, leases, clock):
    first, task = replica("a")
    await pass_time(clock, 1)
    thief = copy.deepcopy(leases.lease)
    thief["spec"]["holderIdentity"] = "b"
    await leases.replace(thief)
    await pass_time(clock, 2.5)
    await asyncio.wait([task])
    await first.release()
    assert leases.holder == "b"


async def test_who_is_stopped_before_it_knows_that_it_leads_releases_what_it_got(replica, leases, clock):
    first, task = replica("a")
    leases.answers = False
    await pass_time(clock, 1)
    assert (leases.holder, first.leading.is_set()) == ("a", False)
    task.cancel()
    await asyncio.wait([task])
    leases.answers = True
    await first.release()
    assert leases.holder == ""


async def test_who_never_led_releases_nothing_and_asks_nothing(leases, clock):
    await Election(leases, LEASE_REF, "a", metrics=Metrics(), clock=clock).release()
    assert (leases.reads, leases.writes) == (0, 0)


async def test_a_release_during_an_outage_ends_in_time_and_is_said(replica, leases, clock, caplog):
    first, task = replica("a")
    await pass_time(clock, 1)
    task.cancel()
    await asyncio.wait([task])
    leases.down = True
    await first.release()
    assert "ends by itself" in caplog.text
    leases.down = False
    await first.release()
    assert leases.holder == "a", "a release is tried once: the process ends after it"


async def test_a_waiting_replica_asks_every_two_seconds_and_says_an_outage_once(replica, leases, clock, caplog):
    replica("a")
    await pass_time(clock, 1)
    replica("b")
    await pass_time(clock, 1)
    before = leases.reads
    await pass_time(clock, 20)
    assert leases.reads - before == 10
    leases.down = True
    await pass_time(clock, 9)
    asked = [record.getMessage() for record in caplog.records if "cannot be asked for" in record.getMessage()]
    assert len(asked) == 1
    assert "connection refused" in asked[0]


async def test_a_deleted_lease_ends_leadership(replica, leases, clock):
    _, task = replica("a")
    await pass_time(clock, 1)
    leases.lease = None
    await pass_time(clock, 2.5)
    with pytest.raises(LeadershipLostError, match="held by nobody"):
        await task


async def test_a_foreign_annotation_does_not_end_leadership(replica, leases, clock):
    first, task = replica("a")
    await pass_time(clock, 1)
    edited = copy.deepcopy(leases.lease)
    edited["metadata"]["annotations"] = {"who": "a person"}
    await leases.replace(edited)
    reads = leases.reads
    await pass_time(clock, 30)
    assert leases.reads - reads == 1, "the edited Lease is read once, and is the one that is renewed from then on"
    assert first.leading.is_set()
    assert not task.done()
    assert leases.lease["metadata"]["annotations"] == {"who": "a person"}


async def test_the_lease_is_written_as_kubernetes_writes_it(replica, leases, clock):
    replica("a")
    await pass_time(clock, 1)
    spec = leases.lease["spec"]
    assert spec["leaseDurationSeconds"] == 15
    assert datetime.fromisoformat(spec["renewTime"]).tzinfo is not None
    assert len(spec["renewTime"]) == len("2026-01-01T00:00:00.000000Z")


async def test_leadership_is_a_metric(leases, clock):
    metrics = Metrics()
    task = asyncio.create_task(Election(leases, LEASE_REF, "a", metrics=metrics, clock=clock).run())
    await pass_time(clock, 1)
    assert metrics.registry.get_sample_value("keras_operator_leader") == 1
    task.cancel()
    await asyncio.wait([task])
    assert metrics.registry.get_sample_value("keras_operator_leader") == 0


@pytest.mark.parametrize("seconds", [(10, 10, 2), (15, 2, 2), (15, 10, 0)], ids=["lease", "deadline", "retry"])
def test_durations_that_cannot_work_are_refused(seconds):
    with pytest.raises(ValueError, match="must be longer"):
        Timing(*seconds)
