"""A new version on some pods first: its steps, what takes it back, and what is remembered."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from keras_operator.api import (
    Analysis,
    Canary,
    CanaryStatus,
    CanaryStep,
    KerasModelSpec,
    KerasModelStatus,
    Resources,
    Rollout,
    Strategy,
    VersionServable,
    hold_seconds,
    pods_of,
)
from keras_operator.plan import Observed, Plan, plan
from keras_operator.plan.observed import AgentTrouble, Model, Traffic

from tests.unit.plan.observations import INSTALLATION, NOW, condition, message, model, phase, published, trained
from tests.unit.plan.test_comparison import traffic
from tests.unit.plan.test_hot import marks, pod, reports, seen, starts_with

STEPS = (CanaryStep(pods="10%", hold="5m"), CanaryStep(pods="50%", hold="manual"))
ROLLOUT = Rollout(strategy=Strategy.CANARY, canary=Canary(steps=STEPS))
ONE, TWO = (trained(epochs=epochs, rollout=ROLLOUT, replicas=4) for epochs in (10, 20))
VERSIONS = (published(1, ONE), published(2, TWO))
GOOD = {name: traffic(500) for name in "abcd"}


def four(*serve: int, **more: Any) -> dict[str, Any]:
    return seen(*(pod(name, number) for name, number in zip("abcd", serve, strict=True)), **more)


def decide(
    known: CanaryStatus | None, spec: KerasModelSpec = TWO, annotated: dict[str, Any] | None = None, **looks: Any
) -> Plan:
    """The plan while the model's status remembers `known`."""
    status = KerasModelStatus(serving_version=1, canary=known)
    it: Model = dataclasses.replace(model(spec, status), **(annotated or {}))
    return plan(Observed(it, versions=VERSIONS, **looks), INSTALLATION, NOW)


def canary(todo: Plan) -> CanaryStatus | None:
    assert todo.status is not None
    return todo.status.canary


def at(step: int = 1, minutes: float | None = None, **more: Any) -> CanaryStatus:
    since = None if minutes is None else NOW - timedelta(minutes=minutes)
    return CanaryStatus(version=2, step=step, since=since, **more)


WAY = {
    "it begins on one pod": (None, four(1, 1, 1, 1), [("a", 1, 2)], at(), "canary version 2 on 0/4 pods"),
    "no other is told meanwhile": (
        at(),
        seen(pod("a", 1, 2), pod("b", 1), pod("c", 1), pod("d", 1)),
        [],
        at(),
        "canary version 2 on 0/4 pods",
    ),
    "the time begins when the pod has it": (
        at(),
        four(2, 1, 1, 1),
        [],
        at(1, 0),
        "canary version 2 on 1/4 pods · 0s of 5m held · errors 0.0 % against 0.0 % · waits for 100 requests",
    ),
    "it is held": (
        at(1, 3),
        four(2, 1, 1, 1, traffic=GOOD),
        [],
        at(1, 3),
        "canary version 2 on 1/4 pods · 3m of 5m held · errors 0.0 % against 0.0 % · p95 9.8 ms against 9.8 ms",
    ),
    "seconds are counted": (
        at(1, 0.1),
        four(2, 1, 1, 1),
        [],
        at(1, 0.1),
        "canary version 2 on 1/4 pods · 0s of 5m held · errors 0.0 % against 0.0 % · waits for 100 requests",
    ),
    "its time is over, and nobody asked it anything": (
        at(1, 6),
        four(2, 1, 1, 1),
        [],
        at(1, 6),
        "canary version 2 on 1/4 pods · 5m of 5m held · errors 0.0 % against 0.0 % · waits for 100 requests",
    ),
    "its time is over": (
        at(1, 5),
        four(2, 1, 1, 1, traffic=GOOD),
        [],
        at(2),
        "canary version 2 on 1/4 pods · errors 0.0 % against 0.0 % · p95 9.8 ms against 9.8 ms",
    ),
    "the next step": (at(2), four(2, 1, 1, 1), [("b", 1, 2)], at(2), "canary version 2 on 1/4 pods"),
    "it waits for a person": (
        at(2, 600),
        four(2, 2, 1, 1, traffic=GOOD),
        [],
        at(2, 600),
        (
            "canary version 2 on 2/4 pods · waits for the annotation keras-operator.dev/promote: 2 · errors 0.0 % "
            "against 0.0 % · p95 9.8 ms against 9.8 ms"
        ),
    ),
    "then to all": (at(3), four(2, 2, 1, 1), [("c", 1, 2)], at(3), "canary version 2 goes to all pods"),
    "a pod that is replaced gets it again": (
        at(2, 600),
        four(2, 1, 1, 1),
        [("b", 1, 2)],
        at(2, 600),
        None,
    ),
}


@pytest.mark.parametrize(("known", "looks", "written", "remembered", "words"), WAY.values(), ids=WAY.keys())
def test_step_by_step(known, looks, written, remembered, words):
    todo = decide(known, **looks)
    assert (marks(todo), canary(todo), starts_with(todo)) == (written, remembered, 1)
    assert phase(todo) == "Deploying"
    assert words is None or message(todo) == words


# Who scales down leaves it to Kubernetes which pods go. Half of the pods have it, and fewer pods are left than that.
FEWER: dict[str, tuple[dict[str, Any], list[tuple[str, int, int]]]] = {
    "only pods with it are left": (seen(pod("a", 2), pod("b", 2)), [("b", 2, 1)]),
    "the share of three is two": (seen(pod("a", 2), pod("b", 2), pod("c", 1)), []),
    "more than one is too many": (seen(pod("a", 2), pod("b", 2), pod("c", 2)), [("c", 2, 1)]),
    "one that does not serve it yet goes first": (seen(pod("a", 1, 2), pod("b", 2)), [("a", 1, 1)]),
    "one that was just seen to serve it": (
        seen(pod("a", 2), pod("b", 1, 2), agent_reports=reports(b=2)),
        [("b", 2, 1)],
    ),
    "one that is away for a moment comes back": (seen(pod("a", 2), pod("b", 1, ready=False)), []),
    "one that has it is away": (seen(pod("a", 2), pod("b", 2, ready=False)), [("b", 2, 1)]),
    "one that is on its way out does not count": (
        seen(pod("a", 2), pod("b", 2), pod("c", 1, deleting=True)),
        [("b", 2, 1)],
    ),
    "a pod alone keeps it": (seen(pod("a", 2)), []),
}


@pytest.mark.parametrize(("looks", "written"), FEWER.values(), ids=FEWER.keys())
def test_after_a_scale_down_the_step_says_again_how_many_pods_have_it(looks, written):
    looks["deployment"] = dataclasses.replace(looks["deployment"], replicas=2)
    todo = decide(at(2, 600), **looks)
    assert (marks(todo), starts_with(todo)) == (written, 1)
    since = None if written else at(2, 600).since
    assert canary(todo) == CanaryStatus(version=2, step=2, since=since)


def test_a_step_with_fewer_pods_takes_back_too():
    one = Rollout(strategy=Strategy.CANARY, canary=Canary(steps=(CanaryStep(pods="1", hold="5m"),)))
    todo = decide(at(1, 1), trained(epochs=20, rollout=one, replicas=4), **four(2, 2, 2, 1))
    assert marks(todo) == [("b", 2, 1), ("c", 2, 1)]


def test_while_a_pod_goes_back_nothing_is_compared_and_then_the_time_begins_anew():
    """What it answered of late it answered with the new version."""
    bad = {"a": traffic(500, 400), "b": traffic(500)}
    todo = decide(at(2), **seen(pod("a", 2), pod("b", 2, 1), traffic=bad))
    assert (marks(todo), canary(todo), message(todo)) == ([], at(2), "canary version 2 on 1/2 pods")
    todo = decide(at(2), **seen(pod("a", 2), pod("b", 1)))
    assert (marks(todo), canary(todo)) == ([], at(2, 0))


def test_a_pod_that_cannot_go_back_is_named():
    trouble = AgentTrouble("b", "StoreUnreachable", "the store does not answer")
    looks = seen(pod("a", 2), pod("b", 2, 1), agent_reports=reports(b=(1, 2)), agent_troubles=(trouble,))
    assert "pod b: the store does not answer" in message(decide(at(2), **looks))


def test_nobody_is_taken_back_once_it_goes_to_all_pods():
    assert marks(decide(at(3), **seen(pod("a", 2), pod("b", 2), pod("c", 1)))) == [("c", 1, 2)]


def test_with_every_pod_it_is_over():
    todo = decide(at(3), **four(2, 2, 2, 2))
    assert (starts_with(todo), canary(todo)) == (2, None)


def test_a_canary_on_every_pod_that_is_ready_is_no_rollout():
    """The others are away for a moment."""
    pods = [pod("a", 2), *(pod(name, 1, ready=False) for name in "bcd")]
    todo = decide(at(1, 1), **seen(*pods))
    assert (starts_with(todo), marks(todo)) == (1, [])


def test_a_person_lets_it_go_to_all_pods():
    todo = decide(at(1, 1), annotated={"promote": 2}, **four(2, 1, 1, 1))
    assert (marks(todo), canary(todo)) == ([("b", 1, 2)], at(3))
    assert marks(decide(at(1, 1), annotated={"promote": 1}, **four(2, 1, 1, 1))) == []


WORSE: dict[str, tuple[dict[str, Traffic], dict[str, int], str, str]] = {
    "errors": (
        GOOD | dict.fromkeys("ab", traffic(500, 60)),
        {},
        "CanaryWorse",
        "12.0 % of its requests ended with an error, 0.0 % with version 1",
    ),
    "slow": (
        GOOD | dict.fromkeys("ab", traffic(500, millis=50)),
        {},
        "CanaryWorse",
        "its p95 latency is 49 ms, 9.8 ms with version 1, and 20 ms is allowed",
    ),
    "a person": ({}, {"abort": 2}, "CanaryAborted", "somebody took it back with keras-operator.dev/abort"),
}


@pytest.mark.parametrize(("answered", "annotated", "reason", "why"), WORSE.values(), ids=WORSE.keys())
def test_what_is_worse_is_taken_back_from_all_pods_at_once_and_not_tried_again(answered, annotated, reason, why):
    todo = decide(at(2, 1), annotated=annotated, **four(2, 2, 1, 1, traffic=answered))
    assert marks(todo) == [("a", 2, 1), ("b", 2, 1)]
    refused = canary(todo)
    assert refused is not None
    assert (refused.refused, refused.reason, refused.generation) == (why, reason, 4)
    said = (
        f"version 2 cannot serve: it was taken back at step 2, because {why}; it is tried again when the spec changes, "
        "and serving.version: 2 serves it as it is"
    )
    later = decide(refused, **four(1, 1, 1, 1))
    assert (marks(later), starts_with(later), canary(later)) == ([], 1, refused)
    assert message(later) == f"{said}; version 1 serves on 4/4 pods"
    stalled = condition(later, "Stalled")
    assert stalled is not None
    assert stalled.reason == reason


def test_what_was_taken_back_is_tried_again_when_the_spec_changes():
    refused = at(2, 1, refused="it was slow", reason="CanaryWorse", generation=3)
    assert marks(decide(refused, **four(1, 1, 1, 1))) == [("a", 1, 2)]


def test_another_version_starts_at_the_first_step():
    other = CanaryStatus(version=7, step=2, refused="it was slow", reason="CanaryWorse", generation=4)
    todo = decide(other, **four(1, 1, 1, 1))
    assert canary(todo) == at()


def test_a_pin_needs_no_steps():
    todo = decide(at(1, 1), trained(epochs=20, rollout=ROLLOUT, replicas=4, version=2), **four(2, 1, 1, 1))
    assert (marks(todo), canary(todo)) == ([("b", 1, 2), ("c", 1, 2), ("d", 1, 2)], None)


def test_where_nothing_serves_there_is_nothing_to_compare_with():
    todo = decide(None, **seen(pod("a", 0, ready=False), pod("b", 0, ready=False)))
    assert (marks(todo), canary(todo)) == ([("a", 0, 2)], None)


def test_pods_that_are_all_away_do_not_come_back_with_the_canary():
    todo = decide(at(1, 1), **seen(pod("a", 2, ready=False), pod("b", 1, ready=False)))
    assert (marks(todo), starts_with(todo)) == ([], 1)


def test_a_canary_that_cannot_be_loaded_stops():
    looks = four(1, 1, 1, 1)
    looks["pods"] = (pod("a", 1, 2), *looks["pods"][1:])
    todo = decide(at(), agent_reports=reports(a=(2, 1)), **looks)
    assert marks(todo) == []


def test_without_room_for_two_versions_nothing_is_rolled_out():
    resources = Resources(limits={"memory": "1Gi"})
    spec = trained(epochs=20, rollout=ROLLOUT, replicas=4, serving_resources=resources)
    big = published(2, spec, servable=VersionServable(uri="s3://m", digest="sha256:0", bytes=400 * 2**20))
    it = model(spec, KerasModelStatus(serving_version=1))
    todo = plan(Observed(it, versions=(VERSIONS[0], big), **four(1, 1, 1, 1)), INSTALLATION, NOW)
    assert (marks(todo), starts_with(todo)) == ([], 1)
    assert message(todo) == (
        "version 2 cannot serve: versions 1 and 2 at once need about 1200 MiB and serving.resources.limits.memory is "
        "1Gi; raise it, or write canary.using: Rolling; version 1 serves on 4/4 pods"
    )


SHARES = {
    "a part": ("10%", 20, 2),
    "rounded up": ("10%", 4, 1),
    "one at least": ("1%", 2, 1),
    "one stays": ("99%", 3, 2),
    "a number": ("2", 5, 2),
    "one of two": ("9", 2, 1),
}


@pytest.mark.parametrize(("share", "pods", "count"), SHARES.values(), ids=SHARES.keys())
def test_one_pod_at_least_gets_it_and_one_keeps_the_other(share, pods, count):
    assert pods_of(share, pods) == count


def test_holds_are_seconds():
    assert [hold_seconds(one) for one in ("30s", "5m", "2h", "manual")] == [30, 300, 7200, None]
    assert Analysis().min_requests == 100
