"""A canary in pods of its own: what its Deployment and the main one are to have, on the way on and on the way back."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from keras_operator.api import (
    Analysis,
    Autoscaling,
    Canary,
    CanaryQuery,
    CanaryStatus,
    CanaryStep,
    KerasModelSpec,
    KerasModelStatus,
    Resources,
    Rollout,
    Strategy,
    Using,
    VersionPhase,
    VersionServable,
    pods_beside,
)
from keras_operator.plan import Observed, Plan, plan
from keras_operator.plan.desired import Removal, Template
from keras_operator.plan.observed import Deployment, Measured, Pod, Traffic
from keras_operator.plan.rollout.queries import questions

from tests.unit.plan.observations import (
    INSTALLATION,
    NOW,
    condition,
    deployment,
    identity,
    kept,
    message,
    model,
    phase,
    published,
    serving_pod,
    trained,
    version,
)
from tests.unit.plan.test_canary import STEPS, WORSE, at, canary
from tests.unit.plan.test_comparison import traffic
from tests.unit.plan.test_hot import HOT, marks, pod, start, starts_with

APART = Rollout(strategy=Strategy.CANARY, canary=Canary(using=Using.ROLLING, steps=STEPS))
ONE, TWO, THREE = (trained(epochs=epochs, rollout=APART, replicas=4) for epochs in (10, 20, 30))
VERSIONS = (published(1, ONE), published(2, TWO))
OWN = "dogs-canary"
GOOD = {name: traffic(500) for name in ("a", "b", "c", "d", "new-0", "new-1")}
GONE = Removal("Deployment", OWN, "uid-canary")


def main(number: int = 1, *, pods: int = 4, ready: bool = True, **changes: Any) -> dict[str, Any]:
    """The main Deployment and its pods."""
    its = tuple(serving_pod(number, name=name, ready=ready) for name in "abcd"[:pods])
    return {"deployment": deployment(number, pods, **changes), "pods": its}


def beside(pods: int = 1, number: int = 2, *, ready: int | None = None, **changes: Any) -> dict[str, Any]:
    """A canary's Deployment and its pods."""
    live = dataclasses.replace(deployment(number, pods), identity=identity(OWN, "uid-canary", owner_uid="uid-dogs"))
    count = pods if ready is None else ready
    its = tuple(serving_pod(number, name=f"new-{n}", ready=n < count, canary=True, ip="10.0.0.2") for n in range(pods))
    return {"canary": dataclasses.replace(live, **changes), "pods": its}


def both(one: dict[str, Any], other: dict[str, Any], **more: Any) -> dict[str, Any]:
    return one | other | {"pods": one["pods"] + other["pods"]} | more


def decide(
    known: CanaryStatus | None, spec: KerasModelSpec = TWO, annotated: dict[str, Any] | None = None, **looks: Any
) -> Plan:
    """The plan while the model's status remembers `known`."""
    status = looks.pop("status", KerasModelStatus(serving_version=1, canary=known))
    it = dataclasses.replace(model(spec, status), **(annotated or {}))
    return plan(Observed(it, **({"versions": VERSIONS} | looks)), INSTALLATION, NOW)


def own(todo: Plan) -> tuple[int, int] | None:
    """Version and pods that the canary's Deployment is to have; None where none is wanted."""
    found = [one.values for one in todo.keep if one.template is Template.DEPLOYMENT and one.name == OWN]
    return (int(str(found[0]["number"])), int(str(found[0]["replicas"]))) if found else None


def mains(todo: Plan) -> tuple[object, object]:
    """Version and pods that the main Deployment is to have."""
    desired = kept(todo, Template.DEPLOYMENT)
    assert desired is not None
    assert desired.name == "dogs"
    return desired.values["number"], desired.values["replicas"]


HELD = "errors 0.0 % against 0.0 %"
FAST = "p95 9.8 ms against 9.8 ms"
WAY: dict[str, tuple[CanaryStatus | None, dict[str, Any], tuple[int, int], CanaryStatus, str]] = {
    "it begins with a pod of its own": (None, main(), (2, 1), at(), "canary version 2 on 0/1 pods of its own"),
    "its pod is on its way": (
        at(),
        both(main(), beside(ready=0)),
        (2, 1),
        at(),
        "canary version 2 on 0/1 pods of its own",
    ),
    "the time begins when the pod has it": (
        at(),
        both(main(), beside()),
        (2, 1),
        at(1, 0),
        f"canary version 2 on 1/1 pods of its own · 0s of 5m held · {HELD} · waits for 100 requests",
    ),
    "it is held": (
        at(1, 3),
        both(main(), beside(), traffic=GOOD),
        (2, 1),
        at(1, 3),
        f"canary version 2 on 1/1 pods of its own · 3m of 5m held · {HELD} · {FAST}",
    ),
    "its time is over": (
        at(1, 5),
        both(main(), beside(), traffic=GOOD),
        (2, 1),
        at(2),
        f"canary version 2 on 1/1 pods of its own · {HELD} · {FAST}",
    ),
    "the next step": (at(2), both(main(), beside()), (2, 2), at(2), "canary version 2 on 1/2 pods of its own"),
    "it waits for a person": (
        at(2, 600),
        both(main(), beside(2), traffic=GOOD),
        (2, 2),
        at(2, 600),
        (
            "canary version 2 on 2/2 pods of its own · waits for the annotation keras-operator.dev/promote: 2 · "
            f"{HELD} · {FAST}"
        ),
    ),
    "a pod of it that is away for a moment": (
        at(2, 600),
        both(main(), beside(2, ready=1), traffic=GOOD),
        (2, 2),
        at(2, 600),
        (
            "canary version 2 on 1/2 pods of its own · waits for the annotation keras-operator.dev/promote: 2 · "
            f"{HELD} · {FAST}"
        ),
    ),
    "somebody deleted its Deployment": (at(2, 600), main(), (2, 2), at(2), "canary version 2 on 0/2 pods of its own"),
    "the pods of the old version are away": (
        at(1, 3),
        both(main(ready=False), beside(), traffic=GOOD),
        (2, 1),
        at(1, 3),
        f"canary version 2 on 1/1 pods of its own · 3m of 5m held · {HELD}",
    ),
}


@pytest.mark.parametrize(("known", "looks", "pods", "remembered", "words"), WAY.values(), ids=WAY.keys())
def test_step_by_step_beside_the_old_version_which_stays_as_it_is(known, looks, pods, remembered, words):
    todo = decide(known, **looks)
    assert (own(todo), mains(todo), canary(todo)) == (pods, (1, 4), remembered)
    assert (phase(todo), message(todo), todo.remove, todo.marks) == ("Deploying", words, (), ())
    assert condition(todo, "Stalled") is None


def test_time_alone_does_not_take_it_on_while_a_pod_is_missing():
    step = CanaryStep(pods="50%", hold="5m")
    alone = Canary(using=Using.ROLLING, steps=(step,), analysis=Analysis(min_requests=0))
    spec = trained(epochs=20, rollout=Rollout(strategy=Strategy.CANARY, canary=alone), replicas=4)
    assert canary(decide(at(1, 6), spec, **both(main(), beside(2, ready=1)))) == at(1, 6)
    assert canary(decide(at(1, 6), spec, **both(main(), beside(2)))) == at(2)


def test_its_pods_are_those_of_the_version_and_of_this_model():
    """The template was changed to another version, or the pods are a deleted namesake's."""
    older = serving_pod(2, name="new-9", canary=True, created=NOW - timedelta(hours=1))
    other = serving_pod(1, name="new-8", canary=True)
    looks = both(main(), beside(0))
    for one in (older, other):
        todo = decide(at(), **looks | {"pods": (*looks["pods"], one)})
        assert message(todo) == "canary version 2 on 0/1 pods of its own"


SHARES = {
    "a part": ("10%", 20, 2),
    "a tenth of ten": ("10%", 10, 1),
    "rounded up": ("10%", 11, 2),
    "one at least": ("1%", 2, 1),
    "one beside one": ("50%", 1, 1),
    "nearly as many": ("99%", 10, 10),
    "a number": ("2", 5, 2),
    "no more than there are": ("9", 2, 2),
    "beside none": ("50%", 0, 1),
}


@pytest.mark.parametrize(("share", "pods", "count"), SHARES.values(), ids=SHARES.keys())
def test_the_share_is_one_of_the_main_deployments_pods(share, pods, count):
    assert pods_beside(share, pods) == count


def test_it_follows_the_autoscaler_which_goes_on_with_the_main_deployment():
    cpu = Resources(requests={"cpu": "500m"})
    scaled = {"autoscaling": Autoscaling(min_replicas=1, max_replicas=9), "serving_resources": cpu}
    spec = trained(epochs=20, rollout=APART, **scaled)
    todo = decide(at(2), spec, **both(main(owns_replicas=False), beside()))
    assert (own(todo), mains(todo)) == ((2, 2), (1, None))
    hpa = kept(todo, Template.AUTOSCALER)
    assert hpa is not None
    assert hpa.name == "dogs"
    assert todo.status is not None
    assert (todo.status.replicas, todo.status.selector) == (
        4,
        "keras-operator.dev/model=dogs,app.kubernetes.io/component=serving",
    )


# Promotion: the main Deployment rolls, and only then the canary's goes.
ROLLS: dict[str, tuple[dict[str, Any], tuple[int, int] | None, tuple[Removal, ...]]] = {
    "it is about to": (both(main(), beside(2)), (2, 2), ()),
    "it does": (both(main(2, updated=1, total=5), beside(2)), (2, 2), ()),
    "its controller has not seen it": (both(main(2, generation=3), beside(2)), (2, 2), ()),
    "it has": (both(main(2), beside(2)), None, (GONE,)),
    "a quota leaves it no room beside them": (
        both(main(2, updated=0, failure="exceeded quota: x"), beside(2)),
        None,
        (GONE,),
    ),
    "no node has room beside them": (
        both(
            both(main(2, updated=0, total=5), {"pods": (serving_pod(2, name="x", ready=False, unschedulable="no"),)}),
            beside(2),
        ),
        None,
        (GONE,),
    ),
    "their Deployment is on its way out": (
        both(
            main(2),
            {"canary": dataclasses.replace(beside()["canary"], identity=identity(OWN, deleting=True)), "pods": ()},
        ),
        None,
        (),
    ),
    "it has, and they are gone": (main(2), None, ()),
}


@pytest.mark.parametrize(("looks", "pods", "removed"), ROLLS.values(), ids=ROLLS.keys())
@pytest.mark.parametrize("how", ["steps", "a person", "a pin", "strategy Rolling"])
def test_when_it_goes_to_all_pods_its_own_stay_until_the_main_deployment_has_rolled(looks, pods, removed, how):
    ways: dict[str, dict[str, Any]] = {
        "steps": {"known": at(3)},
        "a person": {"known": at(1, 1), "annotated": {"promote": 2}},
        "a pin": {"known": at(1, 1), "spec": trained(epochs=20, rollout=APART, replicas=4, version=2)},
        "strategy Rolling": {"known": at(1, 1), "spec": trained(epochs=20, replicas=4)},
    }
    todo = decide(**ways[how], **looks)
    assert (mains(todo), own(todo), todo.remove) == ((2, 4), pods, removed)
    assert phase(todo) == ("Serving" if looks == main(2) else "Deploying")


def test_that_it_goes_to_all_pods_is_remembered_until_the_main_deployment_says_so():
    assert canary(decide(at(1, 1), annotated={"promote": 2}, **both(main(), beside()))) == at(3)
    assert canary(decide(at(3), **both(main(), beside()))) == at(3)
    assert canary(decide(at(3), **both(main(2, updated=1), beside()))) is None
    assert own(decide(at(1, 1), annotated={"promote": 1}, **both(main(), beside()))) == (2, 1)


def bad(answered: dict[str, Traffic]) -> dict[str, Traffic]:
    """What pod a answered there is what the canary's pod answered here."""
    return {name: answered.get("c", traffic(500)) for name in "abcd"} | {"new-0": answered.get("a", traffic(500))}


@pytest.mark.parametrize(("answered", "annotated", "reason", "why"), WORSE.values(), ids=WORSE.keys())
def test_what_is_worse_goes_with_its_pods_and_is_not_tried_again(answered, annotated, reason, why):
    todo = decide(at(1, 1), annotated=annotated, **both(main(), beside(), traffic=bad(answered)))
    assert (own(todo), mains(todo), todo.remove) == (None, (1, 4), (GONE,))
    refused = canary(todo)
    assert refused is not None
    assert (refused.refused, refused.reason, refused.generation) == (why, reason, 4)
    later = decide(refused, **main())
    assert (own(later), mains(later), later.remove, canary(later)) == (None, (1, 4), (), refused)
    assert message(later) == (
        f"version 2 cannot serve: it was taken back at step 1, because {why}; it is tried again when the spec changes, "
        "and serving.version: 2 serves it as it is; version 1 serves on 4/4 pods"
    )
    stalled = condition(later, "Stalled")
    assert stalled is not None
    assert stalled.reason == reason


def test_what_was_taken_back_goes_even_while_nobody_else_answers():
    refused = at(1, 1, refused="it was slow", reason="CanaryWorse", generation=4)
    assert decide(refused, **both(main(ready=False), beside())).remove == (GONE,)


def test_what_was_taken_back_is_tried_again_when_the_spec_changes():
    refused = at(2, 1, refused="it was slow", reason="CanaryWorse", generation=3)
    todo = decide(refused, **main())
    assert (own(todo), canary(todo)) == ((2, 1), at())


# Wanted no more: the pods go, unless nobody else answers.
LEFT: dict[str, dict[str, Any]] = {
    "the old version is pinned": {"spec": trained(epochs=20, rollout=APART, replicas=4, version=1)},
    "the spec is changed back": {"spec": ONE},
    "a newer version is being trained": {
        "spec": THREE,
        "versions": (*VERSIONS, version(3, THREE, phase=VersionPhase.TRAINING)),
    },
    "a newer version waits for a suspended model": {
        "spec": trained(epochs=30, rollout=APART, replicas=4, suspend=True),
        "versions": (*VERSIONS, version(3, THREE)),
    },
}


@pytest.mark.parametrize("more", LEFT.values(), ids=LEFT.keys())
def test_a_canary_that_is_wanted_no_more_goes(more):
    todo = decide(at(1, 1), **both(main(), beside()) | more)
    assert (own(todo), mains(todo), todo.remove, canary(todo)) == (None, (1, 4), (GONE,), None)


@pytest.mark.parametrize("more", LEFT.values(), ids=LEFT.keys())
def test_pods_that_alone_answer_stay_until_others_do_and_come_to_have_what_is_wanted(more):
    todo = decide(at(1, 1), **both(main(ready=False), beside()) | more)
    assert (own(todo), todo.remove) == ((1, 1), ())
    assert decide(at(1, 1), **both(main(ready=False), beside(ready=0)) | more).remove == (GONE,)


def test_a_newer_version_begins_at_the_first_step_in_the_same_deployment():
    versions = (*VERSIONS, published(3, THREE))
    todo = decide(at(2, 600), THREE, **both(main(), beside(2), versions=versions))
    assert (own(todo), mains(todo)) == ((3, 1), (1, 4))
    assert canary(todo) == CanaryStatus(version=3)
    assert message(todo) == "canary version 3 on 0/1 pods of its own"


def test_a_suspended_model_goes_on_with_what_is_published():
    spec = trained(epochs=20, rollout=APART, replicas=4, suspend=True)
    assert own(decide(at(1, 1), spec, **both(main(), beside()))) == (2, 1)


def test_while_a_model_is_being_deleted_nothing_is_done():
    it = model(TWO, KerasModelStatus(serving_version=1, canary=at(1, 1)))
    going = dataclasses.replace(it, identity=dataclasses.replace(it.identity, deleting=True))
    assert plan(Observed(going, versions=VERSIONS, **both(main(), beside())), INSTALLATION, NOW) == Plan()


def test_where_nothing_serves_there_is_nothing_to_compare_with():
    for looks in ({}, main(ready=False)):
        todo = decide(None, status=KerasModelStatus(), **looks)
        assert (own(todo), mains(todo), canary(todo)) == (None, (2, 4), None)


def test_a_main_deployment_that_somebody_deleted_comes_back_with_the_old_version():
    todo = decide(at(1, 1), **beside())
    assert (own(todo), mains(todo)) == ((2, 1), (1, 4))


# From one way to the other in the middle.
def hot_ones(*serve: int) -> dict[str, Any]:
    pods: tuple[Pod, ...] = tuple(pod(name, number) for name, number in zip("abcd", serve, strict=False))
    return {"deployment": deployment(0, len(pods), renewal=0), "start": start(1), "pods": pods}


def test_from_hot_to_pods_of_its_own():
    """Those that had it come back with the old version, and what they answered counts no more."""
    todo = decide(at(2, 600), **hot_ones(2, 2, 1, 1))
    assert (own(todo), mains(todo), canary(todo)) == ((2, 2), (1, 4), at(2))
    assert marks(todo) == []


@pytest.mark.parametrize("strategy", ["Canary", "Hot"])
def test_from_pods_of_its_own_to_hot(strategy):
    rollout = Rollout(strategy=Strategy.CANARY, canary=Canary(steps=STEPS)) if strategy == "Canary" else HOT
    todo = decide(at(2, 600), trained(epochs=20, rollout=rollout, replicas=4), **both(main(), beside(2)))
    assert (own(todo), todo.remove, starts_with(todo)) == (None, (GONE,), 1)
    assert canary(todo) == (at(2) if strategy == "Canary" else None)


def test_pods_that_swap_and_answer_not_yet_leave_it_to_the_canarys():
    looks = hot_ones(0, 0)
    looks["pods"] = tuple(dataclasses.replace(one, ready=False) for one in looks["pods"])
    todo = decide(at(1, 1), trained(epochs=20, rollout=HOT, replicas=4), **both(looks, beside()))
    assert (own(todo), todo.remove) == ((2, 1), ())


# What keeps its pods from being there is said, as of pods that serve.
STUCK: dict[str, tuple[dict[str, Any], str, str]] = {
    "a quota": (
        beside(ready=0, failure='pods "x" is forbidden: exceeded quota: team, limited: pods=4'),
        "QuotaExceeded",
        "Deployment dogs-canary cannot create its pod: it would exceed ResourceQuota team (limited: pods=4); raise it",
    ),
    "nodes that are full": (
        {
            "canary": beside()["canary"],
            "pods": (
                serving_pod(
                    2,
                    name="new-0",
                    ready=False,
                    canary=True,
                    unschedulable="0/1 nodes are available: 1 Insufficient memory.",
                ),
            ),
        },
        "Unschedulable",
        "no node can take pod new-0: 0/1 nodes are available: 1 Insufficient memory; lower memory under spec.serving",
    ),
    "nobody says why": (
        beside(ready=0, stuck=True, available=0),
        "RolloutStuck",
        "pod new-0 is still not ready: nobody says why; see kubectl describe pod -n vision new-0",
    ),
}


@pytest.mark.parametrize(("own_pods", "reason", "words"), STUCK.values(), ids=STUCK.keys())
def test_what_keeps_its_pods_from_being_there_is_named(own_pods, reason, words):
    todo = decide(at(), **both(main(), own_pods))
    assert message(todo).startswith(f"version 2 cannot serve: {words}")
    assert message(todo).endswith("; version 1 serves on 4/4 pods")
    stalled = condition(todo, "Stalled")
    assert stalled is not None
    assert stalled.reason == reason
    assert (own(todo), mains(todo)) == ((2, 1), (1, 4))


def test_what_keeps_the_main_deployment_from_growing_is_no_news_about_the_canary():
    todo = decide(at(1, 3), **both(main(failure="exceeded quota: x"), beside(), traffic=GOOD))
    assert condition(todo, "Stalled") is None


def test_room_for_two_versions_in_one_pod_is_not_asked_for():
    spec = trained(epochs=20, rollout=APART, replicas=4, serving_resources=Resources(limits={"memory": "1Gi"}))
    big = published(2, spec, servable=VersionServable(uri="s3://m", digest="sha256:0", bytes=400 * 2**20))
    todo = decide(None, spec, **main(), versions=(VERSIONS[0], big))
    assert (own(todo), mains(todo)) == ((2, 1), (1, 4))


def test_prometheus_is_asked_about_the_pods_of_either_deployment():
    query = CanaryQuery(name="errors", query="e({{pods}},{{stablePods}},{{version}},{{stableVersion}})", max=0.1)
    steps = Canary(using=Using.ROLLING, steps=STEPS, analysis=Analysis(queries=(query,)))
    spec = trained(epochs=20, rollout=Rollout(strategy=Strategy.CANARY, canary=steps), replicas=4)
    it = model(spec, KerasModelStatus(serving_version=1, canary=at(2, 1)))
    looks = both(main(pods=2), beside(2), traffic=GOOD)
    observed = Observed(it, versions=VERSIONS, **looks)
    assert questions(observed, NOW) == {"errors": "e(new-0|new-1,a|b,2,1)"}
    known = dataclasses.replace(observed, measured={"errors": Measured(0.3)})
    todo = plan(known, dataclasses.replace(INSTALLATION, prometheus=True), NOW)
    assert todo.remove == (GONE,)
    # Where the operator was not told where it is, no pod tries the version.
    nowhere = plan(dataclasses.replace(Observed(model(spec), versions=VERSIONS), **main()), INSTALLATION, NOW)
    assert own(nowhere) is None
    stalled = condition(nowhere, "Stalled")
    assert stalled is not None
    assert stalled.reason == "NoPrometheus"


def test_the_model_is_ready_when_the_last_of_its_own_pods_is_gone():
    last: Deployment = beside()["canary"]
    assert phase(decide(None, **both(main(2), {"pods": beside()["pods"]}))) == "Deploying"
    assert phase(decide(None, **both(main(2), {"pods": (), "canary": last}))) == "Deploying"
    assert phase(decide(None, **main(2))) == "Serving"
