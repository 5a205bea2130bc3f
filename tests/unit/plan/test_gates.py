"""Gates: which versions get past them, and what is said of those that do not."""

from typing import Any

import msgspec
import pytest
from keras_operator.api import Gate, Metric, RunStage, VersionPhase
from keras_operator.plan.gates import judge, unmet_sentence
from keras_operator.plan.observed import JobState

from tests.unit.plan.observations import (
    EARLIER,
    GOOD_METRICS,
    NOW,
    answer,
    condition,
    decide,
    gated,
    job,
    message,
    run_pod,
    train_result,
    version,
)

ACCURATE = Gate(metric=Metric.ACCURACY, min=0.85)
PRECISE = Gate(metric=Metric.LOSS, max=0.5)
BOTH_WAYS = Gate(metric=Metric.ACCURACY, min=0.5, max=0.95)

BOUNDS = {
    "above its minimum": (ACCURATE, {"accuracy": "0.9"}, [(">= 0.85", "0.9", True)]),
    "equal to its minimum": (ACCURATE, {"accuracy": "0.85"}, [(">= 0.85", "0.85", True)]),
    "below its minimum": (ACCURATE, {"accuracy": "0.8499"}, [(">= 0.85", "0.8499", False)]),
    "below its maximum": (PRECISE, {"loss": "0.1"}, [("<= 0.5", "0.1", True)]),
    "equal to its maximum": (PRECISE, {"loss": "0.5"}, [("<= 0.5", "0.5", True)]),
    "above its maximum": (PRECISE, {"loss": "0.6"}, [("<= 0.5", "0.6", False)]),
    "between": (BOTH_WAYS, {"accuracy": "0.6"}, [(">= 0.5", "0.6", True), ("<= 0.95", "0.6", True)]),
    "too good": (BOTH_WAYS, {"accuracy": "1"}, [(">= 0.5", "1", True), ("<= 0.95", "1", False)]),
    "not measured, minimum": (ACCURATE, {"loss": "0.1"}, [(">= 0.85", None, False)]),
    "not measured, maximum": (PRECISE, {}, [("<= 0.5", None, False)]),
    "zero is a bound": (
        Gate(metric=Metric.LOSS, min=0, max=0),
        {"loss": "0"},
        [(">= 0", "0", True), ("<= 0", "0", True)],
    ),
}


@pytest.mark.parametrize(("gate", "metrics", "expected"), BOUNDS.values(), ids=BOUNDS.keys())
def test_a_metric_is_held_against_each_bound(gate, metrics, expected):
    results = judge([gate], metrics)
    assert [(r.bound, r.value, r.met) for r in results] == expected
    assert {r.metric for r in results} == {gate.metric}


def test_results_come_in_the_order_of_the_gates():
    assert [r.metric for r in judge([PRECISE, ACCURATE], GOOD_METRICS)] == ["loss", "accuracy"]


def test_what_is_not_met_is_said_for_each_bound():
    results = judge([ACCURATE, PRECISE, BOTH_WAYS], {"accuracy": "0.99"})
    assert unmet_sentence(results) == (
        "loss was not measured, and its gate asks for <= 0.5; accuracy is 0.99, and its gate asks for <= 0.95"
    )


def test_nothing_is_said_where_every_gate_is_met():
    assert unmet_sentence(judge([ACCURATE, PRECISE], GOOD_METRICS)) == ""


def trained_with(accuracy: float) -> dict[str, Any]:
    done = job(1, state=JobState.COMPLETE)
    result = train_result(metrics={"accuracy": accuracy})
    return {"jobs": (done,), "pods": (run_pod(done, answer(result)),)}


def test_a_version_that_misses_its_gate_is_rejected_and_not_exported():
    spec = gated()
    todo = decide(spec, version(1, spec, VersionPhase.TRAINING), **trained_with(0.5))
    status = todo.version_statuses["dogs-1"]
    sentence = "accuracy is 0.5, and its gate asks for >= 0.85"
    assert todo.create == ()
    assert (status.phase, status.message, status.finished_at) == (VersionPhase.REJECTED, sentence, NOW)
    assert [msgspec.to_builtins(one) for one in status.gates] == [
        {"metric": "accuracy", "bound": ">= 0.85", "value": "0.5", "met": False}
    ]
    assert [(c.type, c.status, c.reason, c.message) for c in status.conditions] == [
        ("Ready", "False", "GatesNotMet", sentence),
        ("Stalled", "True", "GatesNotMet", sentence),
    ]


def test_a_version_that_meets_its_gates_is_exported():
    spec = gated()
    todo = decide(spec, version(1, spec, VersionPhase.TRAINING), **trained_with(0.85))
    assert [desired.name for desired in todo.create] == ["dogs-1-export"]
    assert [one.met for one in todo.version_statuses["dogs-1"].gates] == [True]


REJECTED = {"finished_at": EARLIER, "metrics": {"accuracy": "0.8"}}


def test_a_rejected_version_stays_rejected_and_keeps_when():
    spec = gated()
    status = decide(spec, version(1, spec, VersionPhase.REJECTED, **REJECTED)).version_statuses["dogs-1"]
    assert (status.phase, status.finished_at) == (VersionPhase.REJECTED, EARLIER)


def test_an_eased_gate_lets_a_rejected_version_in_without_training_it_again():
    spec = gated(Gate(metric=Metric.ACCURACY, min=0.75))
    todo = decide(spec, version(1, spec, VersionPhase.REJECTED, **REJECTED))
    status = todo.version_statuses["dogs-1"]
    assert [desired.name for desired in todo.create] == ["dogs-1-export"]
    assert (status.phase, status.finished_at) == (VersionPhase.EXPORTING, None)
    assert [one.type for one in status.conditions] == ["Ready", "Reconciling"]


def test_a_tightened_gate_stops_a_version_that_is_not_published_yet():
    spec = gated(Gate(metric=Metric.ACCURACY, min=0.95))
    running = job(1, RunStage.EXPORT)
    todo = decide(spec, version(1, spec, VersionPhase.EXPORTING), jobs=(running,))
    assert todo.version_statuses["dogs-1"].phase is VersionPhase.REJECTED


def test_a_tightened_gate_takes_nothing_from_a_published_version():
    spec = gated(Gate(metric=Metric.ACCURACY, min=0.95))
    before = version(1, spec, VersionPhase.PUBLISHED)
    todo = decide(spec, before)
    assert todo.version_statuses["dogs-1"] == before.status


def test_the_model_says_which_gate_was_missed_and_what_to_do():
    spec = gated()
    todo = decide(spec, version(1, spec, VersionPhase.REJECTED, **REJECTED))
    assert message(todo) == (
        "version 1 was rejected: accuracy is 0.8, and its gate asks for >= 0.85. Ease the gate to serve it as it is, "
        "or change spec.training for another version"
    )
    met = condition(todo, "GatesMet")
    assert met is not None
    assert (met.status, met.reason, met.message) == (
        "False",
        "GatesNotMet",
        "version 1: accuracy is 0.8, and its gate asks for >= 0.85",
    )
