"""Switching autoscaling on hands the count of pods over without a moment in which there are fewer."""

import pytest
from keras_operator.api import Autoscaling, Resources
from keras_operator.cluster.failure import Conflict, Forbidden, ServerUnavailable
from keras_operator.cluster.reference import DEPLOYMENT, Ref

from tests.unit.plan.observations import trained
from tests.unit.reconcile.memory_api_server import MemoryApiServer
from tests.unit.reconcile.operator_run import MODEL_REF, condition, live, play, put_model, status

CPU = Resources(requests={"cpu": "500m"})
FIXED = trained(replicas=4, serving_resources=CPU)
SCALED = trained(autoscaling=Autoscaling(min_replicas=2, max_replicas=8), serving_resources=CPU)
DOGS = Ref(DEPLOYMENT, "vision", "dogs")


def replicas(server: MemoryApiServer) -> int:
    return int(server.objects[DOGS]["spec"]["replicas"])


async def test_the_autoscaler_takes_over_from_the_count_that_was_there(serving, server, clock):
    put_model(server, FIXED)
    await live(serving, server, clock)
    seen = []
    server.after = lambda _request: seen.append(replicas(server))
    put_model(server, SCALED)
    await live(serving, server, clock)
    assert set(seen) == {4}
    assert "replicas" not in owned_by("keras-operator", server)
    assert "replicas" in owned_by("keras-operator-seed", server)


def owned_by(manager: str, server: MemoryApiServer) -> list[str]:
    entries = server.objects[DOGS]["metadata"]["managedFields"]
    return [
        name.removeprefix("f:") for one in entries if one["manager"] == manager for name in one["fieldsV1"]["f:spec"]
    ]


async def test_what_the_autoscaler_sets_is_left_alone(serving, server, clock):
    put_model(server, SCALED)
    await live(serving, server, clock)
    server.scale(DOGS, 7)
    await live(serving, server, clock)
    put_model(server, trained(autoscaling=Autoscaling(min_replicas=3), serving_resources=CPU, model_name="Dogs"))
    await live(serving, server, clock)
    assert replicas(server) == 7
    assert status(server)["message"] == "version 1 serves on 7/7 pods"


async def test_a_fixed_count_takes_over_again(serving, server, clock):
    put_model(server, SCALED)
    await live(serving, server, clock)
    server.scale(DOGS, 7)
    put_model(server, FIXED)
    await live(serving, server, clock)
    assert replicas(server) == 4
    assert "replicas" in owned_by("keras-operator", server)


async def test_a_new_deployment_starts_with_the_autoscalers_minimum(operator, server):
    put_model(server, SCALED)
    while DOGS not in server.objects:
        await operator.look()
        play(server)
    assert replicas(server) == 2
    assert "replicas" in owned_by("keras-operator-seed", server)
    assert "replicas" not in owned_by("keras-operator", server)


async def test_while_the_hand_over_is_refused_the_deployment_keeps_its_count(serving, server, clock):
    put_model(server, FIXED)
    await live(serving, server, clock)
    server.writes.clear()
    requests = []

    def refuse(request):
        requests.append(request)
        if request == "apply Deployment dogs" and requests.count(request) == 1:
            raise Forbidden(403, "Forbidden", "no")

    server.before = refuse
    put_model(server, SCALED)
    assert await serving.look() == 15.0
    assert replicas(server) == 4
    assert "apply HorizontalPodAutoscaler dogs" in server.writes
    stalled = condition(server, "Stalled")
    assert stalled is not None
    assert stalled["message"] == (
        "handing the replicas of Deployment dogs to its autoscaler was refused by the API server: no; ask who owns "
        "the namespace's policies; version 1 "
        "serves on 4/4 pods"
    )
    server.before = lambda _: None
    await live(serving, server, clock)
    assert replicas(server) == 4
    assert "replicas" not in owned_by("keras-operator", server)


async def test_a_hand_over_that_fails_is_raised_after_everything_else_was_written(serving, server):
    put_model(server, SCALED)
    calls = []

    def fail(request):
        calls.append(request)
        if request == "apply Deployment dogs":
            raise ServerUnavailable(0, "Unreachable", "no")

    server.before = fail
    with pytest.raises(ServerUnavailable):
        await serving.look()
    assert calls.count("apply Deployment dogs") == 1
    assert server.writes[-1] == "status KerasModel dogs"
    assert "apply HorizontalPodAutoscaler dogs" in server.writes


async def test_a_deployment_that_is_gone_is_not_made_by_the_hand_over(serving, server):
    put_model(server, SCALED)
    server.watch = lambda *_: None
    server.drop(DOGS)
    with pytest.raises(Conflict, match="uid mismatch"):
        await serving.look()
    assert DOGS not in server.objects
    assert "status" in server.objects[MODEL_REF]
