"""A Deployment whose label somebody took off is no Deployment that is gone, also where no version says what serves."""

from typing import Any

import pytest
from keras_operator.api import Autoscaling, Resources
from keras_operator.cluster.failure import ServerUnavailable
from keras_operator.cluster.reference import DEPLOYMENT, Ref

from tests.unit.plan.observations import trained
from tests.unit.reconcile.memory_api_server import MemoryApiServer
from tests.unit.reconcile.operator_run import Operator, live, put_model, status

DOGS = Ref(DEPLOYMENT, "vision", "dogs")
CPU = Resources(requests={"cpu": "500m"})
LABELS = {"managed-by": "app.kubernetes.io/managed-by", "model": "keras-operator.dev/model"}
# From a serving part to another one, and what has to follow although no version is published any more.
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], str, bool]] = {
    "an autoscaler is made": (
        {"suspend": True},
        {"suspend": True, "autoscaling": Autoscaling(min_replicas=1, max_replicas=3), "serving_resources": CPU},
        "HorizontalPodAutoscaler",
        True,
    ),
    "a budget goes": ({"suspend": True, "replicas": 2}, {"suspend": True, "replicas": 1}, "PodDisruptionBudget", False),
    "a budget is made": ({"version": 1}, {"version": 1, "replicas": 3}, "PodDisruptionBudget", True),
}


def take_off(server: MemoryApiServer, label: str) -> None:
    """As the watch tells it: what no longer bears its selector's label is deleted to it, and other labels change."""
    told = server.watch
    if label == LABELS["managed-by"]:
        server.watch = lambda kind, _type, body: told(kind, "DELETED", body)
    metadata = server.body("Deployment")["metadata"]
    left = {name: value for name, value in metadata["labels"].items() if name != label}
    server.change(DOGS, metadata=metadata | {"labels": left})
    server.watch = told


def lose_versions(server: MemoryApiServer) -> None:
    for name in server.names("KerasModelVersion"):
        server.drop(server.ref("KerasModelVersion", name))
    server.collect_garbage()


@pytest.mark.parametrize("label", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize(("before", "after", "kind", "is_there"), CHANGES.values(), ids=CHANGES)
async def test_what_is_around_its_pods_goes_on_following_the_spec(
    operator, server, clock, label, before, after, kind, is_there
):
    put_model(server, trained(**before | {"suspend": False, "version": None}))
    await live(operator, server, clock)
    put_model(server, trained(epochs=20, **before))
    lose_versions(server)
    take_off(server, label)
    put_model(server, trained(epochs=20, **after))
    await live(operator, server, clock)
    assert ("dogs" in server.names(kind)) == is_there
    assert label in server.objects[DOGS]["metadata"]["labels"]
    assert status(server)["servingVersion"] == 1


async def test_it_is_asked_for_only_while_pods_are_seen_without_it(serving, server):
    await serving.look()
    assert server.reads == []
    take_off(server, LABELS["managed-by"])
    await serving.look()
    assert server.reads == ["get Deployment dogs"]
    await serving.look()
    assert server.reads == ["get Deployment dogs"]
    for name in server.names("Pod"):
        server.drop(server.ref("Pod", name))
    server.drop(DOGS)
    server.reads.clear()
    await serving.look()
    assert server.reads == []


@pytest.mark.parametrize("owners", [[], [{"uid": "uid-another", "controller": True}]], ids=["nobody's", "another's"])
async def test_one_that_is_not_this_models_is_no_word_on_what_serves(serving, server, owners):
    """As after a model was deleted and made anew: its namesake's pods are there for a while."""
    put_model(server, trained(epochs=20, suspend=True))
    lose_versions(server)
    take_off(server, LABELS["model"])
    metadata = server.body("Deployment")["metadata"]
    before = server.change(DOGS, metadata=metadata | {"ownerReferences": owners})
    await serving.look()
    assert "get Deployment dogs" in server.reads
    assert server.objects[DOGS] == before


async def test_nothing_is_decided_while_it_cannot_be_read(serving, server):
    take_off(server, LABELS["managed-by"])
    server.writes.clear()

    def refuse(request: str) -> None:
        if request == "get Deployment dogs":
            raise ServerUnavailable(0, "Unreachable", "connection reset")

    server.before = refuse
    with pytest.raises(ServerUnavailable):
        await serving.look()
    assert server.writes == []


async def test_a_new_process_finds_it_too(serving, server, clock):
    """Its first list brings the pods, and not what is without the label."""
    put_model(server, trained(epochs=20, suspend=True))
    lose_versions(server)
    take_off(server, LABELS["managed-by"])
    hidden = server.objects.pop(DOGS)
    fresh = Operator(server, clock)
    server.objects[DOGS] = hidden
    await fresh.look()
    assert LABELS["managed-by"] in server.objects[DOGS]["metadata"]["labels"]
