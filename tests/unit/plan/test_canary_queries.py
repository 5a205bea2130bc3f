"""A canary and Prometheus: what is asked, what a number leads to, and what is said where there is none."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from keras_operator.api import Analysis, Canary, CanaryQuery, CanaryStatus, KerasModelStatus, Rollout, Strategy
from keras_operator.plan import Observed, Plan, plan
from keras_operator.plan.observed import Measured
from keras_operator.plan.rollout.queries import questions

from tests.unit.plan.observations import INSTALLATION, NOW, condition, message, model, published, trained
from tests.unit.plan.test_canary import GOOD, STEPS, at, canary, four
from tests.unit.plan.test_comparison import traffic
from tests.unit.plan.test_hot import marks, pod, seen, starts_with

ERRORS = CanaryQuery(name="errors", query='sum(e{pod=~"{{pods}}"})', max=0.05)
BUSY = CanaryQuery(name="busy", query="b", min=10.0, max=20.0)
WITH_PROMETHEUS = dataclasses.replace(INSTALLATION, prometheus=True)


def asking(*queries: CanaryQuery, **spec: Any) -> Any:
    rollout = Rollout(strategy=Strategy.CANARY, canary=Canary(steps=STEPS, analysis=Analysis(queries=queries)))
    return trained(epochs=20, rollout=rollout, **({"replicas": 4} | spec))


def decide(
    known: CanaryStatus | None, said: dict[str, Measured] | None = None, *queries: CanaryQuery, **more: Any
) -> Plan:
    """The plan, with what Prometheus said."""
    spec = asking(*(queries or (ERRORS,)), **more.pop("spec", {}))
    where = more.pop("installation", WITH_PROMETHEUS)
    it = dataclasses.replace(
        model(spec, KerasModelStatus(serving_version=1, canary=known)), **more.pop("annotated", {})
    )
    looks = {"traffic": GOOD} | more if "pods" in more else four(2, 1, 1, 1, **({"traffic": GOOD} | more))
    versions = (published(1, trained(epochs=10)), published(2, spec))
    return plan(Observed(it, versions=versions, measured=said or {}, **looks), where, NOW)


DO = "canary version 2 on 1/4 pods · 3m of 5m held · errors 0.0 % against 0.0 % · p95 9.8 ms against 9.8 ms"
SAID: dict[str, tuple[dict[str, Measured], str]] = {
    "a number": ({"errors": Measured(0.0123)}, " · errors 0.0123"),
    "the largest that may be": ({"errors": Measured(0.05)}, " · errors 0.05"),
    "no data": ({"errors": Measured()}, " · waits for data of Prometheus for query errors"),
    "nobody asked yet": ({}, " · waits for an answer of Prometheus"),
    "away": ({"errors": Measured(silent="cannot be reached")}, " · waits for Prometheus, which cannot be reached"),
}


@pytest.mark.parametrize(("said", "words"), SAID.values(), ids=SAID.keys())
def test_what_prometheus_says_stands_in_the_status(said, words):
    assert message(decide(at(1, 3), said)) == DO + words


@pytest.mark.parametrize("said", [{}, {"errors": Measured()}, {"errors": Measured(silent="cannot be reached")}])
def test_without_a_number_a_canary_goes_neither_on_nor_back(said):
    todo = decide(at(1, 600), said)
    assert (canary(todo), marks(todo), condition(todo, "Stalled")) == (at(1, 600), [], None)


def test_with_a_number_within_its_bounds_it_goes_on():
    assert canary(decide(at(1, 5), {"errors": Measured(0.0)})) == at(2)


def test_each_query_needs_its_number():
    todo = decide(at(1, 5), {"errors": Measured(0.0)}, ERRORS, BUSY)
    assert canary(todo) == at(1, 5)
    assert message(todo).endswith(" · errors 0 · waits for an answer of Prometheus")
    assert canary(decide(at(1, 5), {"errors": Measured(0.0), "busy": Measured(12.0)}, ERRORS, BUSY)) == at(2)


OUT = {
    "above": ({"errors": Measured(0.21)}, "query errors gave 0.21 for it, and at most 0.05 is wanted"),
    "by little": ({"errors": Measured(0.0501)}, "query errors gave 0.0501 for it, and at most 0.05 is wanted"),
    "without end": ({"errors": Measured(float("inf"))}, "query errors gave inf for it, and at most 0.05 is wanted"),
    "below": ({"busy": Measured(9.0)}, "query busy gave 9 for it, and at least 10 is wanted"),
    "the second": (
        {"errors": Measured(0.0), "busy": Measured(21.5)},
        "query busy gave 21.5 for it, and at most 20 is wanted",
    ),
    "while another cannot be asked": (
        {"errors": Measured(wrong="is refused"), "busy": Measured(3.0)},
        "query busy gave 3 for it, and at least 10 is wanted",
    ),
}


@pytest.mark.parametrize(("said", "why"), OUT.values(), ids=OUT.keys())
def test_a_number_out_of_its_bounds_takes_the_canary_back(said, why):
    todo = decide(at(1, 3), said, ERRORS, BUSY)
    assert marks(todo) == [("a", 2, 1)]
    assert message(todo) == (
        f"version 2 cannot serve: it was taken back at step 1, because {why}; it is tried again when the spec changes, "
        "and serving.version: 2 serves it as it is; version 1 serves on 3/3 pods"
    )
    stalled = condition(todo, "Stalled")
    assert stalled is not None
    assert stalled.reason == "CanaryWorse"


def test_nothing_is_judged_before_the_least_number_of_requests():
    few = {name: traffic(20) for name in "abcd"}
    todo = decide(at(1, 3), {"errors": Measured(1.0)}, traffic=few)
    assert canary(todo) == at(1, 3)
    assert message(todo).endswith(" · errors 1 · waits for 100 requests")
    todo = decide(at(1, 3), {"errors": Measured()}, traffic=few)
    assert message(todo).endswith(" · waits for 100 requests and data of Prometheus for query errors")


def test_a_query_that_gives_no_single_number_waits_for_somebody_to_change_it():
    wrong = Measured(wrong="gives 3 numbers, and one is wanted: put sum(…) or max(…) around it")
    todo = decide(at(1, 600), {"errors": wrong})
    assert (canary(todo), marks(todo), starts_with(todo)) == (at(1, 600), [], 1)
    stalled = condition(todo, "Stalled")
    assert stalled is not None
    assert stalled.reason == "QueryFailed"
    assert stalled.message == (
        "version 2 cannot serve: its canary waits at step 1: query errors gives 3 numbers, and one is wanted: put "
        "sum(…) or max(…) around it; version 1 serves on 3/3 pods"
    )
    assert todo.requeue_after == 15.0


NOWHERE = (
    "canary.analysis.queries asks Prometheus, and this operator was not told where that is: ask the platform team to "
    "start the operator with --prometheus-url, or remove queries"
)


def test_an_operator_that_does_not_know_prometheus_lets_no_pod_try_the_version():
    todo = decide(None, installation=INSTALLATION, **four(1, 1, 1, 1))
    assert (marks(todo), canary(todo), starts_with(todo)) == ([], None, 1)
    assert message(todo) == f"version 2 cannot serve: {NOWHERE}; version 1 serves on 4/4 pods"
    stalled = condition(todo, "Stalled")
    assert stalled is not None
    assert stalled.reason == "NoPrometheus"


@pytest.mark.parametrize(("known", "serve"), [(at(1), (2, 1, 1, 1)), (at(1, 600), (2, 1, 1, 1)), (at(2), (2, 1, 1, 1))])
def test_an_operator_that_knows_it_no_longer_leaves_a_canary_as_it_is(known, serve):
    todo = decide(known, installation=INSTALLATION, **four(*serve, traffic=GOOD))
    assert canary(todo) is not None
    assert canary(todo).step == known.step  # type: ignore[union-attr]
    assert ("a", 2, 1) not in marks(todo)
    assert NOWHERE in message(todo)


def test_a_person_may_decide_without_prometheus():
    looks = four(1, 1, 1, 1)
    for annotated in ({"promote": 2}, {"abort": 2}):
        todo = decide(None, installation=INSTALLATION, annotated=annotated, **looks)
        assert NOWHERE not in message(todo)
    assert marks(decide(None, installation=INSTALLATION, spec={"version": 2}, **looks)) != []


def asked(query: str, known: CanaryStatus | None = None, **looks: Any) -> dict[str, str]:
    spec = asking(CanaryQuery(name="q", query=query, max=1.0), model_name="Dog.Classifier")
    it = model(spec, KerasModelStatus(serving_version=1, canary=known or at(1, 2.5)))
    return questions(Observed(it, **(looks or four(2, 1, 1, 1))), NOW)


def test_variables_are_put_in_strictly():
    query = (
        "{{namespace}}/{{ model }}/{{modelName}} {{version}} against {{stableVersion}}: {{pods}} and {{  stablePods }} "
        "in [{{interval}}] { } {{ {{unknown}} {{pods }}x"
    )
    assert asked(query)["q"] == ("vision/dogs/Dog.Classifier 2 against 1: a and b|c|d in [150s] { } {{ {{unknown}} ax")


def test_a_dot_in_a_pods_name_is_a_dot_in_whichever_quotes():
    looks = seen(pod("dogs.v1-x", 2), pod("b", 1))
    assert asked("{{pods}}", **looks)["q"] == "dogs[.]v1-x"


def test_values_are_not_looked_through_for_variables():
    assert asked("{{pods}}", **seen(pod("a", 2), pod("b", 1)))["q"] == "a"
    assert asked("{{{{pods}}}}")["q"] == "{{a}}"


def test_only_pods_that_answer_with_the_version_alone_are_asked_about():
    looks = seen(pod("a", 2), pod("b", 2, ready=False), pod("c", 1, 2), pod("d", 1), pod("e", 1, deleting=True))
    assert asked("{{pods}} {{stablePods}}", **looks)["q"] == "a d"


NOT_ASKED: dict[str, tuple[CanaryStatus, dict[str, Any]]] = {
    "the step has not begun": (at(1), four(2, 1, 1, 1)),
    "it was taken back": (at(1, 3, refused="it was slow"), four(2, 1, 1, 1)),
    "no pod has it": (at(1, 3), four(1, 1, 1, 1)),
    "no pod has the other one": (at(1, 3), four(2, 2, 2, 2)),
}


@pytest.mark.parametrize(("known", "looks"), NOT_ASKED.values(), ids=NOT_ASKED.keys())
def test_nothing_is_asked_where_nothing_can_be_compared(known, looks):
    assert asked("up", known, **looks) == {}


def test_nothing_is_asked_of_a_model_without_a_canary():
    it = model(trained(), KerasModelStatus(canary=at(1, 3)))
    assert questions(Observed(it, **four(2, 1, 1, 1)), NOW) == {}
    assert questions(Observed(None), NOW) == {}


def test_an_interval_has_a_second_at_least():
    assert asked("{{interval}}", CanaryStatus(version=2, since=NOW + timedelta(seconds=3)))["q"] == "1s"
