"""A canary in pods of its own, as it is written: what comes after what, crashes between, and what is in its way."""

from __future__ import annotations

from typing import Any

import pytest
from keras_operator.api import Analysis, Canary, CanaryStep, Rollout, Strategy, Using
from keras_operator.cluster.clock import ManualClock
from keras_operator.cluster.reference import DEPLOYMENT, POD, Ref
from keras_operator.kinds import CANARY_LABEL, MODEL_LABEL
from keras_operator.plan.observed import Pod

from tests.unit.plan.observations import trained
from tests.unit.reconcile.memory_api_server import MemoryApiServer
from tests.unit.reconcile.operator_run import MODEL_REF, Operator, OperatorDied, condition, live, put_model, status
from tests.unit.reconcile.test_crashes import Fault

STEPS = (CanaryStep(pods="50%", hold="3s"), CanaryStep(pods="2", hold="3s"))
APART = Rollout(
    strategy=Strategy.CANARY,
    canary=Canary(using=Using.ROLLING, steps=STEPS, analysis=Analysis(min_requests=0)),
)
FOR_EVER = Rollout(
    strategy=Strategy.CANARY, canary=Canary(using=Using.ROLLING, steps=(CanaryStep(pods="50%", hold="manual"),))
)
MAIN, OWN = Ref(DEPLOYMENT, "vision", "dogs"), Ref(DEPLOYMENT, "vision", "dogs-canary")
REQUESTS = 44


def spec(rollout: Rollout = APART, **changes: Any) -> Any:
    return trained(rollout=rollout, replicas=2, **changes)


async def served(server: MemoryApiServer, clock: ManualClock, rollout: Rollout = APART) -> Operator:
    """An operator whose model serves version 1; its writes so far are forgotten."""
    put_model(server, spec(rollout))
    operator = Operator(server, clock)
    await live(operator, server, clock)
    server.writes.clear()
    return operator


def version_of(server: MemoryApiServer, ref: Ref) -> str:
    return str(server.objects[ref]["spec"]["template"]["metadata"]["labels"]["keras-operator.dev/version"])


def annotate(server: MemoryApiServer, **said: int) -> None:
    metadata = server.objects[MODEL_REF]["metadata"]
    words = {f"keras-operator.dev/{name}": str(number) for name, number in said.items()}
    server.change(MODEL_REF, metadata=metadata | {"annotations": words})


async def test_the_main_deployment_is_touched_when_the_steps_are_over_and_the_canarys_goes_last(server, clock):
    operator = await served(server, clock)
    put_model(server, spec(epochs=20))
    await live(operator, server, clock)
    said = [one for one in server.writes if " Deployment " in one]
    # A pod, and another one for the second step.
    once = ["apply Deployment dogs-canary"] * 2
    assert said == [*once, "apply Deployment dogs", "delete Deployment dogs-canary"]
    assert (status(server)["phase"], status(server)["servingVersion"]) == ("Serving", 2)
    assert version_of(server, MAIN) == "2"
    server.writes.clear()
    await live(operator, server, clock)
    await live(Operator(server, clock), server, clock)
    assert server.writes == []


@pytest.mark.parametrize("at", range(REQUESTS))
@pytest.mark.parametrize("way", ["dies before", "dies after"])
async def test_wherever_the_operator_dies_the_next_one_goes_on(at, way):
    clock = ManualClock()
    server = MemoryApiServer(clock)
    await served(server, clock)
    put_model(server, spec(epochs=20))
    fault = Fault(server, at)
    if way == "dies before":
        server.before = fault.dies_before
    else:
        server.before, server.after = fault.is_dead, fault.dies_after
    operator = Operator(server, clock)
    try:
        await live(operator, server, clock)
    except OperatorDied:
        server.before = server.after = lambda _: None
        await live(Operator(server, clock), server, clock)
    assert (status(server)["phase"], status(server)["servingVersion"]) == ("Serving", 2)
    assert server.names("Deployment") == ["dogs"]
    assert [one for one in server.writes if one == "apply Deployment dogs"] in (
        ["apply Deployment dogs"],
        # Its answer was lost with the process, and the next one is not sure.
        ["apply Deployment dogs"] * 2,
    )


async def test_taken_back_by_a_person_its_deployment_goes_and_the_main_one_was_never_touched(server, clock):
    operator = await served(server, clock, FOR_EVER)
    before = server.objects[MAIN]["metadata"]["generation"]
    put_model(server, spec(FOR_EVER, epochs=20))
    await live(operator, server, clock)
    assert version_of(server, OWN) == "2"
    annotate(server, abort=2)
    await live(operator, server, clock)
    assert server.names("Deployment") == ["dogs"]
    assert (server.objects[MAIN]["metadata"]["generation"], version_of(server, MAIN)) == (before, "1")
    stalled = condition(server, "Stalled")
    assert stalled is not None
    assert stalled["reason"] == "CanaryAborted"


THEIRS: dict[str, dict[str, Any]] = {
    "nobody's": {"metadata": {}},
    "another model's": {
        "metadata": {
            "labels": {MODEL_LABEL: "dogs-canary", "app.kubernetes.io/managed-by": "keras-operator"},
            "ownerReferences": [{"uid": "u", "controller": True}],
        }
    },
}


@pytest.mark.parametrize("theirs", THEIRS.values(), ids=THEIRS)
async def test_somebody_elses_deployment_of_its_name_stays_and_is_named(server, clock, theirs):
    operator = await served(server, clock)
    template = {"metadata": {"labels": {}}, "spec": {"containers": []}}
    before = server.put(OWN, theirs | {"spec": {"replicas": 1, "template": template}})
    put_model(server, spec(epochs=20))
    for _ in range(8):
        await live(operator, server, clock)
    assert server.objects[OWN] == before
    assert version_of(server, MAIN) == "1"
    stalled = condition(server, "Stalled")
    assert stalled is not None
    assert stalled["reason"] == "ChildRefused"
    assert stalled["message"] == (
        "Deployment dogs-canary exists in namespace vision and does not belong to this model: delete or rename it, or "
        "give the model another name; version 1 serves on 2/2 pods"
    )
    server.drop(OWN)
    await live(operator, server, clock)
    assert status(server)["servingVersion"] == 2


@pytest.mark.parametrize("label", [MODEL_LABEL, "app.kubernetes.io/managed-by"])
@pytest.mark.parametrize("wanted", [True, False], ids=["wanted", "taken back"])
async def test_its_deployment_out_of_sight_is_found_by_its_pods(server, clock, label, wanted):
    """Somebody took a label off it: out of sight it would go on answering with what was taken back."""
    operator = await served(server, clock, FOR_EVER)
    put_model(server, spec(FOR_EVER, epochs=20))
    await live(operator, server, clock)
    told, metadata = server.watch, server.objects[OWN]["metadata"]
    if label != MODEL_LABEL:
        server.watch = lambda kind, _type, body: told(kind, "DELETED", body)
    left = {name: value for name, value in metadata["labels"].items() if name != label}
    server.change(OWN, metadata=metadata | {"labels": left})
    server.watch = told
    if not wanted:
        annotate(server, abort=2)
    await live(operator, server, clock)
    assert (OWN in server.objects) == wanted
    if wanted:
        assert label in server.objects[OWN]["metadata"]["labels"]


async def test_its_pods_wake_the_model(server, clock):
    operator = await served(server, clock, FOR_EVER)
    put_model(server, spec(FOR_EVER, epochs=20))
    await live(operator, server, clock)
    owned = [ref for ref in server.objects if ref.kind == POD and "canary" in ref.name]
    assert [server.objects[ref]["metadata"]["labels"][CANARY_LABEL] for ref in owned] == ["dogs"]
    known = operator.cache.owned(("vision", "dogs"), POD)
    assert {ref.name for ref in owned} <= {one.identity.name for one in known if isinstance(one, Pod)}
