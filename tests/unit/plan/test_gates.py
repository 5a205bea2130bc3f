"""Gates: which versions get past them, and what is said of those that do not."""

import dataclasses
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from keras_operator.api import Comparison, Gate, Metric, RunStage, VersionComparison, VersionPhase, judge
from keras_operator.plan import Plan
from keras_operator.plan.gates import unmet_sentence
from keras_operator.plan.observed import JobState, Version

from tests.unit.plan.observations import (
    EARLIER,
    GOOD_METRICS,
    NOW,
    answer,
    condition,
    decide,
    deployment,
    export_result,
    gated,
    job,
    message,
    published,
    run_pod,
    train_result,
    trained,
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
    results = [verdict.result for verdict in judge([gate], metrics)]
    assert [(r.bound, r.value, r.met) for r in results] == expected
    assert {r.metric for r in results} == {gate.metric}


def test_results_come_in_the_order_of_the_gates():
    assert [v.result.metric for v in judge([PRECISE, ACCURATE], GOOD_METRICS)] == ["loss", "accuracy"]


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


NO_WORSE = Gate(metric=Metric.ACCURACY, max_drop_from_serving=0.01)
NO_DEARER = Gate(metric=Metric.LOSS, max_drop_from_serving=0.05)
NO_FARTHER = Gate(metric=Metric.MAE, max_drop_from_serving=2)
EXPLAINS_NO_LESS = Gate(metric=Metric.R2, max_drop_from_serving=0.05)
SERVES = VersionComparison(
    version=3, metrics={"accuracy": "0.86", "loss": "0.3", "mae": "43", "rmse_high": "60", "r2": "0.45"}
)
OTHER_CLASSES = VersionComparison(version=3, problem="its classes are others: boxer went")

AGAINST_SERVING = {
    "better": (NO_WORSE, "0.9", SERVES, ""),
    "worse by just as much": (NO_WORSE, "0.85", SERVES, ""),
    "worse by more": (
        NO_WORSE,
        "0.849999",
        SERVES,
        "accuracy is 0.849999, and its gate asks for at most 0.01 below version 3, which has 0.86 on the same images",
    ),
    "a loss that is lower": (NO_DEARER, "0.1", SERVES, ""),
    "a loss that is higher by just as much": (NO_DEARER, "0.35", SERVES, ""),
    "a loss that is higher by more": (
        NO_DEARER,
        "0.36",
        SERVES,
        "loss is 0.36, and its gate asks for at most 0.05 above version 3, which has 0.3 on the same images",
    ),
    "an error that is lower": (NO_FARTHER, "12", SERVES, ""),
    "an error that is higher by just as much": (NO_FARTHER, "45", SERVES, ""),
    "an error that is higher by more": (
        NO_FARTHER,
        "45.1",
        SERVES,
        "mae is 45.1, and its gate asks for at most 2 above version 3, which has 43 on the same images",
    ),
    "the end of an error's interval": (
        Gate(metric=Metric.RMSE_HIGH, max_drop_from_serving=0),
        "61",
        SERVES,
        "rmse_high is 61, and its gate asks for at most 0 above version 3, which has 60 on the same images",
    ),
    "more that is explained": (EXPLAINS_NO_LESS, "0.9", SERVES, ""),
    "less that is explained": (
        EXPLAINS_NO_LESS,
        "-0.1",
        SERVES,
        "r2 is -0.1, and its gate asks for at most 0.05 below version 3, which has 0.45 on the same images",
    ),
    "nothing served": (NO_WORSE, "0.1", None, ""),
    "nothing served, nothing measured": (
        NO_WORSE,
        None,
        None,
        "accuracy was not measured, and its gate asks for at most 0.01 below what serves",
    ),
    "not measured": (
        NO_WORSE,
        None,
        SERVES,
        (
            "accuracy was not measured, and its gate asks for at most 0.01 below version 3, which has 0.86 on the same "
            "images"
        ),
    ),
    "what serves has other classes": (
        NO_WORSE,
        "0.9",
        OTHER_CLASSES,
        (
            "accuracy is 0.9, and its gate asks for at most 0.01 below version 3, which cannot be compared: "
            "its classes are others: boxer went"
        ),
    ),
    "what serves was not measured so": (
        Gate(metric=Metric.ECE, max_drop_from_serving=0),
        "0.9",
        SERVES,
        (
            "ece is 0.9, and its gate asks for at most 0 above version 3, which cannot be compared: "
            "ece was not measured of it"
        ),
    ),
}


@pytest.mark.parametrize(("gate", "value", "comparison", "sentence"), AGAINST_SERVING.values(), ids=AGAINST_SERVING)
def test_a_version_is_held_against_the_one_that_serves(gate, value, comparison, sentence):
    verdicts = judge([gate], {} if value is None else {gate.metric: value}, comparison)
    assert [(v.result.value, v.result.met) for v in verdicts] == [(value, not sentence)]
    assert unmet_sentence(verdicts) == sentence


def test_a_class_that_is_not_there_is_said_to_be_none():
    gate = Gate(metric=Metric.RECALL, of_class="beagel", min=0.8)
    verdicts = judge([gate], GOOD_METRICS, unmeasured={"recall of beagel": "there is no such class"})
    assert unmet_sentence(verdicts) == (
        "recall of beagel was not measured (there is no such class), and its gate asks for >= 0.8"
    )


def test_top_5_says_why_there_is_none():
    assert unmet_sentence(judge([Gate(metric=Metric.TOP_5_ACCURACY, min=0.8)], GOOD_METRICS)) == (
        "top_5_accuracy was not measured (it says nothing with five classes or fewer), and its gate asks for >= 0.8"
    )


def test_what_trained_beside_the_serving_version_is_judged_by_it_and_both_are_recorded():
    spec = gated(NO_WORSE)
    done = job(2, state=JobState.COMPLETE)
    compared = Comparison(version=1, metrics={"accuracy": 0.9, "loss": 0.2})
    pod = run_pod(done, answer(train_result(metrics={"accuracy": 0.7}, comparison=compared)))
    status = decide(spec, version(2, spec, VersionPhase.TRAINING), jobs=(done,), pods=(pod,)).version_statuses["dogs-2"]
    assert status.phase is VersionPhase.REJECTED
    assert status.message == (
        "accuracy is 0.7, and its gate asks for at most 0.01 below version 1, which has 0.9 on the same images"
    )
    assert status.comparison == VersionComparison(version=1, metrics={"accuracy": "0.9", "loss": "0.2"})


def test_the_training_is_told_which_version_serves():
    spec = gated(epochs=9)
    before = published(1, gated())
    todo = decide(spec, before, version(2, spec), deployment=deployment(1))
    assert _run_of(todo)["serving"] == 1
    assert "gates" not in _run_of(todo)


def test_the_first_training_has_nothing_to_be_held_against():
    spec = gated()
    assert "serving" not in _run_of(decide(spec, version(1, spec)))


def test_the_export_is_told_the_gates_as_they_are_now():
    spec = gated(SMALL)
    todo = decide(spec, version(1, spec, VersionPhase.EXPORTING))
    assert _run_of(todo)["gates"] == [{"metric": "size_mb", "max": 5.0}]
    assert "serving" not in _run_of(todo)


def _run_of(todo: Plan) -> dict[str, Any]:
    (desired,) = todo.create
    return dict(msgspec.json.decode(str(desired.values["run"])))


SMALL = Gate(metric=Metric.SIZE_MB, max=5)
BEAGLES = Gate(metric=Metric.RECALL, of_class="beagle", min=0.8)


def exported(*, published_it: bool, **changes: Any) -> dict[str, Any]:
    done = job(1, RunStage.EXPORT, JobState.COMPLETE)
    nothing = {} if published_it else {"servable": None, "parity": None}
    return {"jobs": (done,), "pods": (run_pod(done, answer(export_result(**(nothing | changes)))),)}


TOO_LARGE = {"size_mb": 9.25, "latency_ms": 1.5}


def test_what_only_the_export_can_tell_does_not_hold_it_back():
    spec = gated(SMALL, BEAGLES)
    todo = decide(spec, version(1, spec, VersionPhase.TRAINING), **trained_with(0.9))
    assert [desired.name for desired in todo.create] == ["dogs-1-export"]
    met = condition(todo, "GatesMet")
    assert met is not None
    assert (met.status, met.reason) == ("Unknown", "Exporting")


def test_an_export_that_misses_its_gates_rejects_the_version_and_is_left_alone():
    spec = gated(SMALL)
    seen = exported(published_it=False, metrics=TOO_LARGE)
    before = version(1, spec, VersionPhase.EXPORTING)
    todo = decide(spec, before, **seen)
    status = todo.version_statuses["dogs-1"]
    assert (status.phase, status.message) == (
        VersionPhase.REJECTED,
        "size_mb is 9.25, and its gate asks for <= 5",
    )
    assert (todo.create, todo.remove, status.servable, status.finished_at) == ((), (), None, NOW)
    assert status.export_metrics == {"size_mb": "9.25", "latency_ms": "1.5"}
    later = decide(spec, Version(before.identity, before.spec, status), at=NOW + timedelta(hours=1), **seen)
    assert later.version_statuses["dogs-1"] == status


def test_a_class_that_the_export_does_not_know_rejects_the_version_for_good():
    spec = gated(BEAGLES)
    reason = {"recall of beagle": "there is no such class"}
    seen = exported(published_it=False, metrics=TOO_LARGE, unmeasured=reason)
    before = version(1, spec, VersionPhase.EXPORTING)
    status = decide(spec, before, **seen).version_statuses["dogs-1"]
    assert status.phase is VersionPhase.REJECTED
    assert "there is no such class" in str(status.message)
    again = decide(spec, Version(before.identity, before.spec, status), at=NOW + timedelta(hours=1), **seen)
    assert (again.version_statuses["dogs-1"], again.remove) == (status, ())


EXPORT_REJECTED = {"metrics": GOOD_METRICS, "export_metrics": {"size_mb": "9.25", "latency_ms": "1.5"}}


@pytest.mark.parametrize(
    "eased",
    [gated(Gate(metric=Metric.SIZE_MB, max=10)), gated(BEAGLES), trained()],
    ids=["wider", "another question", "no gate"],
)
def test_an_eased_gate_runs_an_export_that_published_nothing_again(eased):
    rejected = version(1, eased, VersionPhase.REJECTED, finished_at=EARLIER, **EXPORT_REJECTED)
    todo = decide(eased, rejected, **exported(published_it=False, metrics=TOO_LARGE))
    status = todo.version_statuses["dogs-1"]
    assert [(removal.kind, removal.name) for removal in todo.remove] == [("Job", "dogs-1-export")]
    assert (todo.create, status.phase, status.finished_at) == ((), VersionPhase.EXPORTING, None)
    gone = decide(eased, Version(rejected.identity, rejected.spec, status))
    assert [desired.name for desired in gone.create] == ["dogs-1-export"]


def test_an_export_that_is_being_removed_is_not_removed_twice():
    spec = trained()
    seen = exported(published_it=False, metrics=TOO_LARGE)
    going = dataclasses.replace(seen["jobs"][0], identity=dataclasses.replace(seen["jobs"][0].identity, deleting=True))
    rejected = version(1, spec, VersionPhase.REJECTED, **EXPORT_REJECTED)
    assert decide(spec, rejected, jobs=(going,), pods=seen["pods"]).remove == ()


def test_a_suspended_model_runs_no_export_again():
    spec = trained(suspend=True)
    rejected = version(1, spec, VersionPhase.REJECTED, **EXPORT_REJECTED)
    todo = decide(spec, rejected, **exported(published_it=False, metrics=TOO_LARGE))
    assert (todo.remove, todo.version_statuses["dogs-1"].phase) == ((), VersionPhase.PENDING)


def test_an_export_whose_pod_is_gone_is_run_again_where_it_published_nothing():
    spec = trained()
    seen = exported(published_it=False, metrics=TOO_LARGE)
    rejected = version(1, spec, VersionPhase.REJECTED, **EXPORT_REJECTED)
    todo = decide(spec, rejected, jobs=seen["jobs"], pods=(), at=NOW + timedelta(minutes=1))
    assert [removal.name for removal in todo.remove] == ["dogs-1-export"]


def test_a_published_version_keeps_what_its_export_measured():
    spec = gated(Gate(metric=Metric.SIZE_MB, max=10), BEAGLES)
    seen = exported(published_it=True, metrics={**TOO_LARGE, "recall of beagle": 0.9})
    status = decide(spec, version(1, spec, VersionPhase.EXPORTING), **seen).version_statuses["dogs-1"]
    assert status.phase is VersionPhase.PUBLISHED
    assert [(one.metric, one.of_class, one.value, one.met) for one in status.gates] == [
        ("size_mb", None, "9.25", True),
        ("recall", "beagle", "0.9", True),
    ]


def test_a_gate_that_came_after_the_export_began_takes_nothing_from_what_it_published():
    spec = gated(BEAGLES)
    seen = exported(published_it=True, metrics=TOO_LARGE)
    status = decide(spec, version(1, spec, VersionPhase.EXPORTING), **seen).version_statuses["dogs-1"]
    assert (status.phase, status.gates) == (VersionPhase.PUBLISHED, ())


def test_a_gate_that_was_tightened_meanwhile_keeps_what_was_exported_from_serving():
    spec = gated(SMALL)
    seen = exported(published_it=True, metrics=TOO_LARGE)
    todo = decide(spec, version(1, spec, VersionPhase.EXPORTING), **seen)
    status = todo.version_statuses["dogs-1"]
    assert (status.phase, status.servable) == (VersionPhase.REJECTED, None)
