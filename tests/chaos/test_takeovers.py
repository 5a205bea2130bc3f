"""Two replicas: whatever happens to the one that leads, the other goes on with the work, and never do both write.

Several pairs at the same time, each with a Lease, a namespace and a model of its own; the model is changed all the
time, so there is always something to write. That never both write is read from the API server's own audit log.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from tests.chaos.api_proxy import Answered, ApiProxy
from tests.chaos.life import NAME, Life
from tests.chaos.operator_replica import Replica
from tests.chaos.world import World
from tests.e2e.api_server import MODEL
from tests.e2e.audit_log import WRITES, Request

TAKEOVERS = int(os.environ.get("CHAOS_TAKEOVERS", "6"))
"""`make takeovers` sets 50."""
PAIRS = min(6, TAKEOVERS)
PATIENCE = 90.0
"""Seconds in which the other must act at all; how many it took is printed, beside its bar."""
_LEASES = "coordination.k8s.io/leases"


@dataclass(frozen=True)
class Side:
    """One replica and its way to the API server."""

    replica: Replica
    proxy: ApiProxy

    def writes_work(self, answered: Answered) -> bool:
        """Whether a call of it was a write that a leader makes, and was carried out."""
        return answered.call.writes and not answered.call.about_lease and answered.status < 300


def _kill(leader: Side) -> None:
    leader.replica.hold()
    leader.replica.kill()


def _part(leader: Side) -> None:
    leader.replica.hold()
    leader.proxy.part()


def _freeze(leader: Side) -> None:
    leader.replica.hold()
    leader.replica.signal(signal.SIGSTOP)


def _recover(leader: Side) -> None:
    """Wake what was frozen, mend what was cut, and wait until the replica is a warm standby again."""
    ends = len(leader.replica.ends)
    leader.proxy.heal()
    leader.replica.signal(signal.SIGCONT)
    leader.replica.let_start()
    deadline = time.monotonic() + PATIENCE
    while not leader.replica.ends[ends - 1 :] or not leader.replica.is_ready:
        assert time.monotonic() < deadline, f"{leader.replica.name} is not ready again:\n{leader.replica.said()}"
        time.sleep(0.2)


HARMS: tuple[Callable[[Side], None], ...] = (_kill, _part, _freeze)


def test_the_other_replica_goes_on_and_never_both_write(world: World) -> None:
    place = world.audit.end()
    with ThreadPoolExecutor(max_workers=PAIRS) as pool:
        pairs = [pool.submit(_pair, world, number) for number in range(PAIRS)]
        results = [pair.result() for pair in pairs]
    requests = list(world.audit.since(place))
    for namespace, _ in results:
        _never_both_write([one for one in requests if one.namespace == namespace and one.agent.startswith(namespace)])
    seconds = sorted(itertools.chain.from_iterable(taken for _, taken in results))
    assert len(seconds) >= TAKEOVERS
    print(
        f"{len(seconds)} take-overs, until the other's first write: {seconds[len(seconds) // 2]:.1f} s in the median, "
    )
    print(f"{seconds[-1]:.1f} s at the most (bar: 20 s); no write of one replica while another led")


def _pair(world: World, number: int) -> tuple[str, list[float]]:
    namespace = world.namespace()
    sides = [_side(world, namespace, letter) for letter in "ab"]
    Life(world.api, namespace).first_version()
    for side in sides:
        side.replica.wait_ready(PATIENCE)
    harms = itertools.islice(itertools.cycle(HARMS), number, None)
    seconds = []
    with _changes(world, namespace):
        for harm in itertools.islice(harms, -(-TAKEOVERS // PAIRS)):
            leader, other = sorted(sides, key=_last_work, reverse=True)
            since = len(other.proxy.answered)
            harm(leader)
            at = time.monotonic()
            seconds.append(other.proxy.wait_for_call(other.writes_work, PATIENCE, since).at - at)
            _recover(leader)
    return namespace, seconds


def _side(world: World, namespace: str, letter: str) -> Side:
    proxy = world.proxy(f"{namespace}-{letter}")
    return Side(world.operator(proxy, namespace), proxy)


def _last_work(side: Side) -> float:
    return max((one.at for one in side.proxy.answered if side.writes_work(one)), default=0.0)


@contextmanager
def _changes(world: World, namespace: str) -> Iterator[None]:
    """Change the model twice a second while the context lasts, in a way that starts no pod."""
    ended = threading.Event()

    def change() -> None:
        for percent in itertools.cycle(range(40, 90)):
            if ended.wait(0.5):
                return
            scaling = {"minReplicas": 1, "maxReplicas": 2, "targetCPUUtilization": percent}
            world.api.patch(MODEL, namespace, NAME, {"spec": {"serving": {"autoscaling": scaling}}})

    changer = threading.Thread(target=change, name=f"changes in {namespace}")
    changer.start()
    try:
        yield
    finally:
        ended.set()
        changer.join()


def _never_both_write(requests: list[Request]) -> None:
    """Each write was received while its author held the Lease.

    A replica holds it from the answer to its own write of the Lease until the answer to another's.
    """
    done = [one for one in requests if one.verb in WRITES and one.code < 300]
    terms: list[tuple[datetime, str]] = []
    for one in sorted((one for one in done if one.resource == _LEASES), key=_answered):
        if not terms or terms[-1][1] != one.agent:
            terms.append((_answered(one), one.agent))
    assert len(terms) > -(-TAKEOVERS // PAIRS), "each take-over begins a term"
    work = [one for one in done if one.resource != _LEASES]
    assert {one.agent for one in work} == {one.agent for one in requests}
    for write in work:
        assert write.received is not None
        holders = [agent for begun, agent in terms if begun <= write.received]
        assert holders, f"{write.agent} wrote before anybody led: {write}"
        assert holders[-1] == write.agent, f"{write.agent} wrote while {holders[-1]} led: {write} at {write.received}"


def _answered(request: Request) -> datetime:
    assert request.answered is not None
    return request.answered
