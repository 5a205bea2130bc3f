"""Versions that are swapped in place: what is written on which pod, and where new pods start."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from keras_operator.api import KerasModelStatus, Resources, Rollout, Strategy, VersionServable
from keras_operator.plan import Plan
from keras_operator.plan.desired import Mark, Template
from keras_operator.plan.observed import AgentReport, AgentTrouble, Container, Pod, Start

from tests.unit.plan.observations import (
    NOW,
    condition,
    decide,
    deployment,
    identity,
    kept,
    message,
    phase,
    published,
    serving_pod,
    trained,
)

HOT = Rollout(strategy=Strategy.HOT)
ONE, TWO = trained(rollout=HOT), trained(epochs=20, rollout=HOT)
VERSIONS = (published(1, ONE), published(2, TWO))
AGENT = Container("agent", running=True)


def pod(name: str, serves: int = 0, wish: int | None = None, **changes: Any) -> Pod:
    """A pod that swaps, by default settled and of the template's first renewal."""
    told: dict[str, Any] = {
        "wish": serves if wish is None else wish,
        "renewal": 0,
        "ip": "10.0.0.1",
        "name": name,
    } | changes
    return serving_pod(serves, AGENT, **told)


def start(number: int) -> Start:
    return Start(identity("dogs", "uid-start", owner_uid="uid-dogs"), b"{}", number)


def seen(*pods: Pod, begins: int | None = 1, **more: Any) -> dict[str, Any]:
    """A Deployment of as many pods that swap, and with what new ones start."""
    live = deployment(0, len(pods), renewal=0)
    return {"deployment": live, "start": None if begins is None else start(begins), "pods": pods} | more


def reports(**serving: int | tuple[int, int | None]) -> dict[str, AgentReport]:
    """What agents say: what each serves, or (what it was told, what it serves)."""
    pairs = {name: (one, one) if isinstance(one, int) else one for name, one in serving.items()}
    return {name: AgentReport(wanted, serves, 3) for name, (wanted, serves) in pairs.items()}


def marks(todo: Plan) -> list[tuple[str, int, int]]:
    """What is written: (pod, the label, the annotation)."""
    return [(one.pod, one.serves, one.wanted) for one in todo.marks]


def starts_with(todo: Plan) -> int | None:
    desired = kept(todo, Template.START)
    return None if desired is None else int(str(desired.values["start"]))


STEPS = {
    "at rest": (ONE, seen(pod("a", 1), pod("b", 1)), [], 1),
    "a new version goes to the first pod": (TWO, seen(pod("a", 1), pod("b", 1)), [("a", 1, 2)], 1),
    "the second waits for the first": (TWO, seen(pod("a", 1, 2), pod("b", 1)), [], 1),
    "what the first serves is written on it": (
        TWO,
        seen(pod("a", 1, 2), pod("b", 1), agent_reports=reports(a=2)),
        [("a", 2, 2)],
        1,
    ),
    "still loading": (TWO, seen(pod("a", 1, 2), pod("b", 1), agent_reports=reports(a=(2, 1))), [], 1),
    "then the second": (TWO, seen(pod("a", 2), pod("b", 1)), [("b", 1, 2)], 1),
    "then new pods start with it": (TWO, seen(pod("a", 2), pod("b", 2)), [], 2),
    "a pod that is not ready waits": (TWO, seen(pod("a", 1, ready=False), pod("b", 1)), [("b", 1, 2)], 1),
    "a pod that is not ready does not hold new ones back": (TWO, seen(pod("a", 0, ready=False), pod("b", 2)), [], 2),
    "a new pod says what it serves": (ONE, seen(pod("a", 1), pod("b"), agent_reports=reports(b=1)), [("b", 1, 1)], 1),
    "a new pod that is not ready says nothing": (
        ONE,
        seen(pod("a", 1), pod("b", ready=False), agent_reports=reports(b=(1, None))),
        [],
        1,
    ),
    "a new pod that started with an old version follows": (
        TWO,
        seen(pod("a", 2), pod("b", 1), begins=2),
        [("b", 1, 2)],
        2,
    ),
    "back, those under way first": (ONE, seen(pod("a", 2), pod("b", 1, 2)), [("b", 1, 1)], 1),
    "back, the rest one by one": (ONE, seen(pod("a", 2), pod("b", 2), pod("c", 1)), [("a", 2, 1)], 1),
    "a pin goes to all at once": (
        trained(epochs=20, rollout=HOT, version=1),
        seen(pod("a", 2), pod("b", 2), pod("c", 2), begins=2),
        [("a", 2, 1), ("b", 2, 1), ("c", 2, 1)],
        2,
    ),
    "what new pods start with cannot be loaded": (TWO, seen(pod("a", 0, ready=False)), [("a", 0, 2)], 1),
    "the ConfigMap is gone": (TWO, seen(pod("a", 1), pod("b", 1, 2), begins=None, last=1), [], 1),
    "the ConfigMap is gone, and nothing is labelled yet": (
        TWO,
        seen(pod("a"), begins=None, agent_reports=reports(a=1)),
        [("a", 1, 1)],
        1,
    ),
    "the version that new pods start with is gone": (TWO, seen(pod("a", 7), begins=7), [("a", 7, 2)], 7),
    "it is gone, and nothing serves": (TWO, seen(pod("a", 0, ready=False), begins=7), [("a", 0, 2)], 2),
    "a first pod needs to be told nothing": (ONE, seen(pod("a", 0, ready=False)), [], 1),
    "a pod that ends is told nothing": (TWO, seen(pod("a", 1, deleting=True), pod("b", 2)), [], 2),
}


@pytest.mark.parametrize(("spec", "looks", "written", "begins"), STEPS.values(), ids=STEPS.keys())
def test_pod_by_pod(spec, looks, written, begins):
    status = KerasModelStatus(serving_version=last) if (last := looks.pop("last", None)) else None
    todo = decide(spec, *VERSIONS, status=status, **looks)
    looks["last"] = last
    assert (marks(todo), starts_with(todo)) == (written, begins)
    values = kept(todo, Template.DEPLOYMENT).values  # type: ignore[union-attr]
    assert (values["number"], values["renewal"]) == (None, 0)


def test_what_pods_serve_stays_although_nothing_but_they_tell_of_it():
    """People took the ConfigMap and the versions away, and ask for one that there is not."""
    looks = seen(pod("a"), pod("b"), begins=None, agent_reports=reports(a=7, b=7))
    todo = decide(trained(epochs=20, rollout=HOT, version=9, suspend=True), **looks)
    assert (marks(todo), starts_with(todo)) == ([("a", 7, 7), ("b", 7, 7)], 7)


OLDER: dict[str, Any] = {"created": NOW - timedelta(hours=2)}
LEFT = {
    "pods of a namesake": (seen(pod("a", 2), pod("old", 7, **OLDER), begins=None), 7, 2),
    "only its word": (seen(pod("a", 1), begins=None), 7, 1),
    "a version that was deleted, and serves": (seen(pod("a", 7), begins=None), 7, 7),
    "a version that was deleted, before its pod was labelled": (
        seen(pod("a", 0), begins=None, agent_reports=reports(a=7)),
        None,
        7,
    ),
    "a namesake's, before its pod was labelled": (
        seen(pod("old", 0, **OLDER), begins=None, agent_reports=reports(old=7)),
        None,
        2,
    ),
}


@pytest.mark.parametrize(("looks", "said", "begins"), LEFT.values(), ids=LEFT.keys())
def test_without_the_configmap_new_pods_start_with_what_serves_of_this_model(looks, said, begins):
    """A model that was deleted and made anew says for a while what its namesake's pods serve."""
    todo = decide(TWO, *VERSIONS, status=KerasModelStatus(serving_version=said), **looks)
    assert starts_with(todo) == begins


def test_a_label_holds_the_swaps_that_the_agent_counted():
    todo = decide(TWO, *VERSIONS, **seen(pod("a", 1, 2, swaps=2), agent_reports=reports(a=2)))
    assert todo.marks == (Mark("a", "uid-a", 2, 2, 3),)


def test_a_version_that_cannot_be_loaded_stops_the_rollout_with_the_agents_words():
    trouble = AgentTrouble("a", "LoadFailed", "the runtime cannot load version 2 of dogs, and version 1 goes on: no")
    looks = seen(pod("a", 1, 2), pod("b", 1), agent_reports=reports(a=(2, 1)), agent_troubles=(trouble,))
    todo = decide(TWO, *VERSIONS, **looks)
    assert todo.marks == ()
    assert starts_with(todo) == 1
    assert message(todo) == (
        "version 2 cannot serve: pod a: the runtime cannot load version 2 of dogs, and version 1 goes on: no; "
        "version 1 serves on 2/2 pods"
    )
    stalled = condition(todo, "Stalled")
    assert stalled is not None
    assert stalled.reason == "LoadFailed"


def test_words_about_an_earlier_wish_stop_nothing():
    """The agent has not read its annotation yet."""
    trouble = AgentTrouble("a", "LoadFailed", "about version 3")
    looks = seen(pod("a", 1, 2), agent_reports=reports(a=(3, 1)), agent_troubles=(trouble,))
    assert condition(decide(TWO, *VERSIONS, **looks), "Stalled") is None


SAYS = {
    "at rest": (ONE, seen(pod("a", 1), pod("b", 1)), "Serving", "version 1 serves on 2/2 pods", None),
    "under way": (
        TWO,
        seen(pod("a", 2), pod("b", 1, 2)),
        "Deploying",
        "version 2 is being loaded into the pods: it serves on 1/2",
        1.0,
    ),
    "a new pod was not asked yet": (
        ONE,
        seen(pod("a", 1), pod("b")),
        "Deploying",
        "version 1 is being rolled out: 1/2 pods are ready",
        1.0,
    ),
    "new pods do not start with it yet": (
        TWO,
        seen(pod("a", 2), pod("b", 2)),
        "Deploying",
        "version 2 is being rolled out: 2/2 pods are ready",
        30.0,
    ),
    "arrived": (TWO, seen(pod("a", 2), pod("b", 2), begins=2), "Serving", "version 2 serves on 2/2 pods", None),
}


@pytest.mark.parametrize(("spec", "looks", "word", "sentence", "again"), SAYS.values(), ids=SAYS.keys())
def test_what_is_said(spec, looks, word, sentence, again):
    todo = decide(spec, *VERSIONS, status=KerasModelStatus(serving_version=1), **looks)
    assert (phase(todo), message(todo), todo.requeue_after) == (word, sentence, again)


def test_from_rolling_to_hot_new_pods_start_with_what_serves():
    """And only once the old ones, which cannot swap, are gone they are told another version."""
    live = deployment(1, 2)
    old = serving_pod(1, name="old")
    todo = decide(TWO, *VERSIONS, deployment=live, pods=(old,))
    assert starts_with(todo) == 1
    assert kept(todo, Template.DEPLOYMENT).values["number"] is None  # type: ignore[union-attr]
    todo = decide(TWO, *VERSIONS, **seen(pod("a", 1), old))
    assert marks(todo) == []
    todo = decide(TWO, *VERSIONS, **seen(pod("a", 1)))
    assert marks(todo) == [("a", 1, 2)]


def test_from_a_rollout_that_is_stuck_to_hot_new_pods_start_with_what_serves():
    pods = (serving_pod(1, name="old"), serving_pod(2, name="new", ready=False))
    todo = decide(TWO, *VERSIONS, deployment=deployment(2, 1), pods=pods, status=KerasModelStatus(serving_version=1))
    assert starts_with(todo) == 1


def test_from_hot_to_rolling_the_template_names_the_version_again():
    todo = decide(trained(), published(1, trained()), **seen(pod("a", 1)))
    assert starts_with(todo) is None
    assert kept(todo, Template.DEPLOYMENT).values["number"] == 1  # type: ignore[union-attr]


FEW = Rollout(strategy=Strategy.HOT, max_swaps=3)
RENEWALS = {
    "not yet": ([pod("a", 1, swaps=2)], 1, {}, 0),
    "one pod has had its swaps": ([pod("a", 1, swaps=3), pod("b", 1)], 1, {}, 1),
    "not while versions change": ([pod("a", 2, swaps=3), pod("b", 1)], 1, {}, 0),
    "not before new pods start with it": ([pod("a", 1, swaps=3)], 2, {}, 0),
    "not while pods are replaced": ([pod("a", 1, swaps=3)], 1, {"updated": 0}, 0),
    "a pod of the template before counts no more": (
        [pod("a", 1, swaps=3), pod("b", 1, renewal=1)],
        1,
        {"renewal": 1},
        1,
    ),
    "again": ([pod("a", 1, swaps=3, renewal=4)], 1, {"renewal": 4}, 5),
}


@pytest.mark.parametrize(("pods", "begins", "live", "renewal"), RENEWALS.values(), ids=RENEWALS.keys())
def test_pods_with_many_swaps_make_way_for_new_ones(pods, begins, live, renewal):
    spec = trained(rollout=FEW)
    looks = seen(*pods, begins=begins)
    looks["deployment"] = dataclasses.replace(looks["deployment"], **live)
    todo = decide(spec, published(1, spec), published(2, TWO), **looks)
    assert kept(todo, Template.DEPLOYMENT).values["renewal"] == renewal  # type: ignore[union-attr]


MIB = 1024 * 1024
HEAVY = {
    "below the mark": (1, 799 * MIB, "1000Mi", 80, 0),
    "at the mark": (1, 800 * MIB, "1000Mi", 80, 1),
    "a runtime that does not say": (1, 0, "1000Mi", 1, 0),
    "without a limit": (1, 800 * MIB, None, 1, 0),
    "without a mark": (1, 1000 * MIB, "1000Mi", None, 0),
    # Or new pods would make way for new pods for ever.
    "from the beginning": (0, 900 * MIB, "1000Mi", 80, 0),
}


@pytest.mark.parametrize(("swaps", "memory", "limit", "percent", "renewal"), HEAVY.values(), ids=HEAVY.keys())
def test_pods_that_have_grown_to_a_share_of_their_memory_make_way_for_new_ones(swaps, memory, limit, percent, renewal):
    rollout = Rollout(strategy=Strategy.HOT, max_memory_percent=percent)
    spec = trained(rollout=rollout, serving_resources=Resources(limits={"memory": limit} if limit else {}))
    looks = seen(pod("a", 1, swaps=swaps, memory=memory), pod("b", 1))
    todo = decide(spec, published(1, spec), published(2, TWO), **looks)
    assert kept(todo, Template.DEPLOYMENT).values["renewal"] == renewal  # type: ignore[union-attr]


def test_what_a_runtime_has_in_memory_stays_with_its_pod():
    """As its agent says after a swap, and when the pod is told the next version."""
    said = {"a": AgentReport(2, 2, 1, memory=700 * MIB)}
    todo = decide(TWO, *VERSIONS, **seen(pod("a", 1, wish=2), pod("b", 1)), agent_reports=said)
    assert [one.memory for one in todo.marks if one.pod == "a"] == [700 * MIB]
    todo = decide(TWO, *VERSIONS, **seen(pod("a", 1, memory=600 * MIB)))
    assert [(one.wanted, one.memory) for one in todo.marks] == [(2, 600 * MIB)]


ROOM = {
    "no limit": ({}, 300, 300, ""),
    "room for two": ({"memory": "1600Mi"}, 300, 300, ""),
    "no room for two": (
        {"memory": "1500Mi"},
        300,
        300,
        (
            "it comes with new pods, not Hot, because versions 1 and 2 at once need about 1600 MiB and "
            "serving.resources.limits.memory is 1500Mi"
        ),
    ),
    "the new one is larger": ({"memory": "1600Mi"}, 100, 600, "about 1800 MiB"),
}


@pytest.mark.parametrize(("limits", "old", "new", "words"), ROOM.values(), ids=ROOM.keys())
def test_where_two_versions_do_not_fit_the_new_one_comes_with_new_pods_and_it_is_said_before(limits, old, new, words):
    resources = Resources(limits=limits)
    specs = [trained(epochs=epochs, rollout=HOT, serving_resources=resources) for epochs in (10, 20)]
    versions = [
        published(number, spec, servable=VersionServable(uri="s3://m", digest="sha256:0", bytes=size * MIB))
        for number, spec, size in ((1, specs[0], old), (2, specs[1], new))
    ]
    todo = decide(specs[1], *versions, **seen(pod("a", 1)))
    assert words in message(todo)
    assert (kept(todo, Template.DEPLOYMENT).values["number"] is None) == (words == "")  # type: ignore[union-attr]
    assert bool(todo.marks) == (words == "")


def test_it_is_said_at_rest_too():
    spec = trained(rollout=HOT, serving_resources=Resources(limits={"memory": "1Gi"}))
    big = published(1, spec, servable=VersionServable(uri="s3://m", digest="sha256:0", bytes=400 * MIB))
    todo = decide(spec, big, deployment=deployment(1), pods=(serving_pod(1),))
    assert phase(todo) == "Serving"
    assert message(todo) == (
        "version 1 serves on 1/1 pods; it comes with new pods, not Hot, because two versions like 1 at once need about "
        "2000 MiB and serving.resources.limits.memory is 1Gi"
    )
