"""Gates of a model that was trained elsewhere: its export measures everything, and is judged at its end."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from keras_operator.api import Comparison, Evaluation, Gate, Images, Metric, RunStage, VersionComparison, VersionPhase
from keras_operator.plan import Plan
from keras_operator.plan.desired import Template
from keras_operator.plan.observed import JobState, Version

from tests.unit.plan.observations import (
    EARLIER,
    NOW,
    answer,
    brought,
    condition,
    created,
    decide,
    deployment,
    export_result,
    job,
    message,
    published,
    run_pod,
    version,
)

ACCURATE = Gate(metric=Metric.ACCURACY, min=0.85)
NO_WORSE = Gate(metric=Metric.ACCURACY, max_drop_from_serving=0.01)
SMALL = Gate(metric=Metric.SIZE_MB, max=5)
MEASURED = {"size_mb": 9.25, "latency_ms": 1.5}


def gated(*gates: Gate, tested: bool = True, **changes: Any) -> Any:
    return brought(tested=tested, evaluation=Evaluation(gates=gates), **changes)


def exported(number: int = 1, *, published_it: bool = True, **changes: Any) -> dict[str, Any]:
    done = job(number, RunStage.EXPORT, JobState.COMPLETE)
    usual = {
        "metrics": MEASURED,
        "evaluation": {"accuracy": 0.9, "loss": 0.3},
        "images": Images(train=0, validation=0, test=40),
    }
    nothing = {} if published_it else {"servable": None, "parity": None}
    result = export_result(number, **(usual | nothing | changes))
    return {"jobs": (done,), "pods": (run_pod(done, answer(result)),)}


def run_of(todo: Plan) -> dict[str, Any]:
    desired = created(todo, Template.EXPORT_JOB)
    assert desired is not None
    return dict(msgspec.json.decode(str(desired.values["run"])))


def test_no_gate_holds_an_export_back_that_is_to_measure():
    spec = gated(ACCURATE, NO_WORSE, SMALL)
    todo = decide(spec, version(1, spec))
    assert [desired.name for desired in todo.create] == ["dogs-1-export"]
    assert [gate["metric"] for gate in run_of(todo)["gates"]] == ["accuracy", "accuracy", "size_mb"]
    assert todo.version_statuses["dogs-1"].phase is VersionPhase.EXPORTING


@pytest.mark.parametrize(("tested", "told"), [(True, 1), (False, None)])
def test_the_export_is_told_what_serves_where_it_evaluates(tested, told):
    before = gated(tested=tested, uri="s3://models/uploads/old")
    spec = gated(tested=tested)
    todo = decide(spec, published(1, before), version(2, spec), deployment=deployment(1))
    assert run_of(todo).get("serving") == told


def test_what_the_export_measured_is_in_the_status():
    spec = gated(ACCURATE, SMALL)
    compared = Comparison(version=3, metrics={"accuracy": 0.7})
    seen = exported(metrics={"size_mb": 4}, comparison=compared, bad_files=2, data_hash="sha256:1", classes=3)
    todo = decide(spec, version(1, spec, VersionPhase.EXPORTING), **seen)
    status = todo.version_statuses["dogs-1"]
    assert (status.phase, status.metrics) == (VersionPhase.PUBLISHED, {"accuracy": "0.9", "loss": "0.3"})
    assert status.export_metrics == {"size_mb": "4"}
    assert status.images is not None
    assert (status.images.test, status.bad_files, status.data_hash, status.classes) == (40, 2, "sha256:1", 3)
    assert status.comparison == VersionComparison(version=3, metrics={"accuracy": "0.7"})
    assert [(one.metric, one.value, one.met) for one in status.gates] == [
        ("accuracy", "0.9", True),
        ("size_mb", "4", True),
    ]
    met = condition(todo, "GatesMet")
    assert met is not None
    assert (met.status, met.reason) == ("True", "GatesMet")


def test_a_source_without_test_data_has_no_metrics():
    spec = gated(SMALL, tested=False)
    seen = exported(metrics={"size_mb": 4}, evaluation={}, images=None)
    status = decide(spec, version(1, spec, VersionPhase.EXPORTING), **seen).version_statuses["dogs-1"]
    assert (status.phase, status.metrics, status.images, status.data_hash) == (VersionPhase.PUBLISHED, {}, None, None)
    assert [one.met for one in status.gates] == [True]


MISSED = {
    "accuracy": (ACCURATE, {"accuracy": 0.5}, None, "accuracy is 0.5, and its gate asks for >= 0.85"),
    "size": (SMALL, {"accuracy": 0.9}, None, "size_mb is 9.25, and its gate asks for <= 5"),
    "worse than what serves": (
        NO_WORSE,
        {"accuracy": 0.7},
        Comparison(version=1, metrics={"accuracy": 0.9}),
        "accuracy is 0.7, and its gate asks for at most 0.01 below version 1, which has 0.9 on the same images",
    ),
}


@pytest.mark.parametrize(("gate", "evaluation", "comparison", "sentence"), MISSED.values(), ids=MISSED)
def test_a_source_that_misses_a_gate_is_rejected_and_stays_so(gate, evaluation, comparison, sentence):
    first, spec = gated(uri="s3://models/uploads/old"), gated(gate)
    seen = exported(2, published_it=False, evaluation=evaluation, comparison=comparison)
    before = version(2, spec, VersionPhase.EXPORTING)
    todo = decide(spec, published(1, first), before, deployment=deployment(1), **seen)
    status = todo.version_statuses["dogs-2"]
    assert (status.phase, status.message, status.finished_at) == (VersionPhase.REJECTED, sentence, NOW)
    assert (todo.create, todo.remove) == ((), ())
    assert message(todo).startswith(f"version 2 was rejected: {sentence}")
    assert message(todo).endswith("Ease the gate to serve it as it is, or change spec.source for another version")
    rejected = Version(before.identity, before.spec, status)
    later = decide(spec, published(1, first), rejected, at=NOW + timedelta(hours=1), **seen)
    assert (later.version_statuses["dogs-2"], later.create) == (status, ())


def test_an_eased_gate_runs_the_export_again():
    spec = gated(Gate(metric=Metric.ACCURACY, min=0.4))
    metrics = {"accuracy": "0.5"}
    rejected = version(
        1, spec, VersionPhase.REJECTED, finished_at=EARLIER, metrics=metrics, export_metrics={"size_mb": "9.25"}
    )
    todo = decide(spec, rejected, **exported(published_it=False, evaluation={"accuracy": 0.5}))
    status = todo.version_statuses["dogs-1"]
    assert [removal.name for removal in todo.remove] == ["dogs-1-export"]
    assert status.phase is VersionPhase.EXPORTING
    gone = decide(spec, Version(rejected.identity, rejected.spec, status))
    assert [desired.name for desired in gone.create] == ["dogs-1-export"]


def test_a_gate_that_was_tightened_meanwhile_keeps_what_was_exported_from_serving():
    spec = gated(Gate(metric=Metric.ACCURACY, min=0.95))
    status = decide(spec, version(1, spec, VersionPhase.EXPORTING), **exported()).version_statuses["dogs-1"]
    assert (status.phase, status.servable) == (VersionPhase.REJECTED, None)
