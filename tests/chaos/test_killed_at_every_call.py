"""The operator is killed before and after every API call of a model's life, once each, and the life ends as any other.

Which calls there are is recorded in a life without faults, so that a new one is covered by itself. Each life below has
its share of the calls, and dies at each of them once; what becomes of the model in the end must be the same.
"""

from __future__ import annotations

import threading
import zlib
from collections import Counter
from collections.abc import Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.chaos.call import WRITING, Call
from tests.chaos.faults import Moment
from tests.chaos.life import Life
from tests.chaos.operator_replica import Replica
from tests.chaos.world import World
from tests.e2e.api_server import Object

_LIVES = 3
"""Lives for each moment, at the same time."""
_CREATED, _TIMED_OUT = 201, 504
_ROUNDS = 3
"""How often a call is waited for that a life did not come to, because two looks fell together in it."""


class KillOnce:
    """Kills a replica at one moment of each of its share of calls.

    Args:
        mine: the signatures of its share.
        moment: before or after the API server has it.
    """

    def __init__(self, mine: Set[str], moment: Moment) -> None:
        self.killed: list[str] = []
        self.replica: Replica | None = None
        self.moment = moment
        self._dead: set[int | None] = set()
        self._mine = mine
        self._lock = threading.Lock()

    def __call__(self, call: Call, moment: Moment) -> bool:
        """The proxy's hook."""
        signature = call.signature
        replica = self.replica
        if replica is None or moment is not self.moment or signature not in self._mine:
            return False
        with self._lock:
            # A process dies once: what it still had on its way may arrive, as it may anywhere.
            if signature in self.killed or replica.pid in self._dead:
                return False
            self.killed.append(signature)
            self._dead.add(replica.pid)
        replica.kill()
        return True


@dataclass
class Lived:
    """What a life left: its end, the calls of it, how often what was created, and what the operator died at."""

    end: Object
    calls: set[str]
    created: Mapping[str, int]
    killed: list[str]
    ends: list[int]


def _live(world: World, kills: KillOnce) -> Lived:
    namespace, place = world.namespace(), world.audit.end()
    proxy = world.proxy(f"operator-of-{namespace}")
    proxy.faults.hook = kills
    replica = world.operator(proxy, namespace, before_start=world.lease_gone(namespace))
    kills.replica = replica
    life = Life(world.api, namespace)
    try:
        end = life.lead()
        life.end()
    except AssertionError as failed:
        raise AssertionError(f"{failed}\nkilled at: {kills.killed}\n{replica.said()}") from None
    ends = list(replica.ends)
    proxy.faults.hook = lambda _call, _moment: False
    calls = {one.call.signature for one in proxy.answered}
    return Lived(end, calls, _created(world, place, namespace), kills.killed, ends)


def _shares(calls: set[str], moment: Moment) -> list[KillOnce]:
    shares = [{call for call in calls if zlib.crc32(call.encode()) % _LIVES == share} for share in range(_LIVES)]
    return [KillOnce(frozenset(share), moment) for share in shares if share]


def test_killed_at_every_call_a_life_ends_as_any_other(world: World) -> None:
    undisturbed = _live(world, KillOnce(frozenset(), Moment.BEFORE))
    calls = undisturbed.calls
    assert undisturbed.ends == []
    assert sorted(undisturbed.created) == [
        *(f"batch/jobs dogs-{run}" for run in ("1-export", "1-train", "2-export", "2-train", "3-train")),
        *(f"keras-operator.dev/kerasmodelversions dogs-{number}" for number in (1, 2, 3)),
    ]
    assert set(undisturbed.created.values()) == {1}
    _writes_are_what_a_life_needs(calls)
    missing = {moment: set(calls) for moment in Moment}
    for _ in range(_ROUNDS):
        kills = [share for moment, left in missing.items() if left for share in _shares(left, moment)]
        with ThreadPoolExecutor(max_workers=len(kills) or 1) as pool:
            lives = list(pool.map(lambda kill: _live(world, kill), kills))
        for kill, life in zip(kills, lives, strict=True):
            missing[kill.moment] -= set(life.killed)
            _is_as_undisturbed(life, undisturbed)
        print(f"not yet died at: {missing}")
        if not any(missing.values()):
            break
    assert missing == {moment: set() for moment in Moment}, "no life came to these calls again"
    print(f"{len(calls)} distinct calls, each with a process that died before it and one that died after it")


def _is_as_undisturbed(life: Lived, undisturbed: Lived) -> None:
    assert life.end == undisturbed.end
    # Not one process ended that was not killed; how the last one ended may not be known yet.
    assert set(life.ends) <= {-9}
    assert len(life.killed) - len(life.ends) in {0, 1}
    assert life.created == undisturbed.created, "created twice, or under another number"


def _created(world: World, place: int, namespace: str) -> Mapping[str, int]:
    """How often each Job and version was created; a delete and a second create of one name count as two.

    Who dies while the API server writes leaves a 504 in its log, whether the object was made or not. A 201 that follows
    says that it was not; without one, it was: the end, which is compared too, has it.
    """
    creates = [
        (f"{request.resource} {request.name}", request.code)
        for request in world.audit.since(place)
        if request.namespace == namespace and request.verb == "create"
        if request.resource in {"batch/jobs", "keras-operator.dev/kerasmodelversions"}
    ]
    answered = Counter(name for name, code in creates if code == _CREATED)
    cut_off = {name for name, code in creates if code == _TIMED_OUT}
    return answered + Counter(cut_off - answered.keys())


def _writes_are_what_a_life_needs(calls: set[str]) -> None:
    """A life that came to few calls would prove little."""
    written = {call.split()[1] for call in calls if call.split()[0] in WRITING}
    for plural in (
        *(
            "kerasmodelversions",
            "kerasmodels/dogs/status",
            "kerasmodelversions/dogs-3/status",
            "jobs",
            "events",
            "leases",
        ),
        *("serviceaccounts", "services", "networkpolicies", "deployments"),
        *("horizontalpodautoscalers", "poddisruptionbudgets"),
    ):
        assert any(f"/{plural}" in path for path in written), plural
    assert {"horizontalpodautoscalers", "poddisruptionbudgets"} <= {
        call.split("/")[-2] for call in calls if call.startswith("DELETE")
    }
    assert any(call.startswith("WATCH") for call in calls)
