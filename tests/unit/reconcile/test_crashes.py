"""The operator dies between any two requests, or an answer is lost: the next look goes on from there."""

from typing import Any

import pytest
from keras_operator.api import Autoscaling, Resources
from keras_operator.cluster.clock import ManualClock
from keras_operator.cluster.failure import ApiFailure, TimedOut

from tests.unit.plan.observations import trained
from tests.unit.reconcile.memory_api_server import MemoryApiServer
from tests.unit.reconcile.operator_run import Operator, OperatorDied, live, play, put_model, status

ONE = trained()
TWO = trained(epochs=20, autoscaling=Autoscaling(min_replicas=2), serving_resources=Resources(requests={"cpu": "500m"}))
# One number for every request of a life without faults: reads, writes and Events; then one for every write.
REQUESTS, WRITES = 48, 36
FAULTS = [
    *(("dies before", at) for at in range(REQUESTS)),
    *((way, at) for way in ("dies after", "answer lost") for at in range(WRITES)),
]


class Fault:
    """Breaks the request with a number: the process dies before or after it, or only its answer is lost."""

    def __init__(self, server: MemoryApiServer, at: int) -> None:
        self.server, self.at, self.count, self.dead = server, at, -1, False

    def dies_before(self, _request: str) -> None:
        self.count += 1
        self._die(self.count >= self.at)

    def dies_after(self, _request: str) -> None:
        self.count += 1
        self._die(self.count == self.at)

    def is_dead(self, _request: str) -> None:
        self._die(self.dead)

    def loses(self, request: str) -> None:
        self.count += 1
        if self.count == self.at:
            raise TimedOut(0, "TimedOut", f"{request} gave no answer")

    def _die(self, now: bool) -> None:
        if now:
            self.dead = True
            raise OperatorDied


async def lead_a_life(fault_at: int, way: str) -> tuple[MemoryApiServer, bool]:
    """Train, serve, train otherwise, serve that: with one fault. Returns the server, and whether the fault came."""
    clock = ManualClock()
    server = MemoryApiServer(clock)
    put_model(server, ONE)
    fault = Fault(server, fault_at)
    if way == "dies before":
        server.before = fault.dies_before
    elif way == "dies after":
        server.before, server.after = fault.is_dead, fault.dies_after
    else:
        server.after = fault.loses
    operator = Operator(server, clock)
    changed = False
    for _ in range(120):
        writes = len(server.writes)
        try:
            again = await operator.look()
        except OperatorDied:
            server.before = server.after = lambda _: None
            operator, again = Operator(server, clock), 0.0
        except ApiFailure:
            again = 0.0
        clock.advance(2)
        if not changed and status(server).get("servingVersion") == 1:
            put_model(server, TWO)
            changed = True
        elif again != 0.0 and len(server.writes) == writes and not play(server):
            break
    server.before = server.after = lambda _: None
    await live(Operator(server, clock), server, clock)
    return server, fault.count >= fault_at


@pytest.mark.parametrize(("way", "at"), FAULTS)
async def test_a_life_with_a_fault_ends_as_one_without(way: str, at: int) -> None:
    server, came = await lead_a_life(at, way)
    assert came
    assert status(server)["message"] == "version 2 serves on 2/2 pods"
    assert server.names("KerasModelVersion") == ["dogs-1", "dogs-2"]
    assert server.names("Job") == ["dogs-1-export", "dogs-1-train", "dogs-2-export", "dogs-2-train"]
    creates = [write for write in server.writes if write.startswith("create")]
    assert len(creates) == len(set(creates))
    assert server.names("HorizontalPodAutoscaler") == ["dogs"]
    assert server.body("Deployment")["spec"]["replicas"] == 2
    settled: list[Any] = list(server.writes)
    await live(Operator(server, ManualClock()), server, ManualClock())
    assert server.writes == settled


@pytest.mark.parametrize(("way", "requests"), [("dies before", REQUESTS), ("dies after", WRITES)])
async def test_every_request_of_a_life_has_its_fault(way: str, requests: int) -> None:
    _, came = await lead_a_life(requests, way)
    assert not came
