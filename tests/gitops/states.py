"""Objects in every phase as the API server would return them, their statuses made by the real plan."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
from keras_operator.api import (
    KerasModelSpec,
    KerasModelStatus,
    Phase,
    RunReason,
    RunStage,
    VersionPhase,
)
from keras_operator.api.status import UNSEEN
from keras_operator.plan import Observed, Plan, plan
from keras_operator.plan.observed import JobState

from tests.unit.plan.observations import (
    INSTALLATION,
    NOW,
    answer,
    decide,
    deployment,
    export_result,
    failed_result,
    gated,
    job,
    model,
    published,
    run_pod,
    serving_pod,
    train_result,
    trained,
    version,
)

Object = dict[str, Any]

GENERATION = 4
ONE, TWO, SUSPENDED = trained(), trained(epochs=20), trained(suspend=True)
SERVES_ONE: dict[str, Any] = {"deployment": deployment(1), "pods": (serving_pod(1),)}
TRAIN, EXPORT = job(1), job(1, RunStage.EXPORT)
ROLLING = deployment(1, replicas=2, available=0, ready=0)
NOT_READY = serving_pod(1, ready=False)
TRAINED_WELL = version(1, ONE, VersionPhase.TRAINING, metrics={"accuracy": "0.91", "loss": "0.3"})


@dataclass(frozen=True)
class State:
    """One object as it may be seen, and what tools are to make of it."""

    words: str
    content: Object
    kstatus: str
    argocd: str

    @property
    def phase(self) -> str | None:
        """`status.phase`."""
        phase: str | None = self.content["status"].get("phase")
        return phase

    @property
    def message(self) -> str:
        """`status.message`."""
        return str(self.content["status"].get("message", ""))


def _object(kind: str, name: str, generation: int, status: Object) -> Object:
    metadata = {"name": name, "namespace": "vision", "generation": generation}
    return {"apiVersion": "keras-operator.dev/v1alpha1", "kind": kind, "metadata": metadata, "status": status}


def _model(todo: Plan | Object, generation: int = GENERATION) -> Object:
    status = todo if isinstance(todo, dict) else msgspec.to_builtins(todo.status)
    return _object("KerasModel", "dogs", generation, status)


def _version(todo: Plan | Object) -> Object:
    status = todo if isinstance(todo, dict) else msgspec.to_builtins(todo.version_statuses["dogs-1"])
    return _object("KerasModelVersion", "dogs-1", 1, status)


def _deleting(content: Object) -> Object:
    return content | {"metadata": content["metadata"] | {"deletionTimestamp": "2026-03-01T12:00:00Z"}}


def _failed_run() -> dict[str, Any]:
    ended = job(1, state=JobState.FAILED)
    words = "there are no images under s3://datasets/dogs: upload some"
    result = failed_result(RunStage.TRAIN, RunReason.NO_IMAGES, words)
    return {"jobs": (ended,), "pods": (run_pod(ended, answer(result, 65), phase="Failed"),)}


def _judged(spec: KerasModelSpec, **result: Any) -> Plan:
    ended = job(1, state=JobState.COMPLETE)
    pods = (run_pod(ended, answer(train_result(**result)), phase="Succeeded"),)
    return decide(spec, version(1, spec, VersionPhase.TRAINING), jobs=(ended,), pods=pods)


def _exported() -> Plan:
    ended = job(1, RunStage.EXPORT, JobState.COMPLETE)
    pods = (run_pod(ended, answer(export_result()), phase="Succeeded"),)
    return decide(ONE, version(1, ONE, VersionPhase.EXPORTING), jobs=(ended,), pods=pods)


TRAINS = decide(ONE, version(1, ONE, VersionPhase.TRAINING), jobs=(TRAIN,))
RETRAINS = decide(TWO, published(1, ONE), version(2, TWO, VersionPhase.TRAINING), jobs=(job(2),), **SERVES_ONE)
EXPORTS = decide(ONE, version(1, ONE, VersionPhase.EXPORTING), jobs=(EXPORT,))
HELD_UP = decide(
    ONE,
    version(1, ONE, VersionPhase.TRAINING),
    jobs=(TRAIN,),
    pods=(run_pod(TRAIN, unschedulable="no node fits."),),
)
SERVES = decide(ONE, published(1, ONE), **SERVES_ONE)
REJECTED = _judged(gated(), metrics={"accuracy": 0.4, "loss": 2.0})
FAILED = decide(ONE, version(1, ONE, VersionPhase.TRAINING), **_failed_run())
FAILED_BESIDE_ONE_THAT_SERVES = decide(
    TWO, published(1, ONE), version(2, TWO, VersionPhase.FAILED, message="no images", reason="NoImages"), **SERVES_ONE
)
REJECTED_BESIDE_ONE_THAT_SERVES = decide(
    gated(epochs=20),
    published(1, ONE),
    version(2, TWO, VersionPhase.REJECTED, metrics={"accuracy": "0.5"}),
    **SERVES_ONE,
)
INVALID = plan(Observed(model(None, KerasModelStatus(), spec_error="epochs is 0")), INSTALLATION, NOW)
SUSPENDED_BETWEEN_JOBS = decide(SUSPENDED, TRAINED_WELL)
REFUSED = decide(
    SUSPENDED, refusals=("the API server refuses Service dogs: no",), status=KerasModelStatus(phase=Phase.SUSPENDED)
)
STUCK_ROLLOUT = decide(
    ONE,
    published(1, ONE),
    deployment=ROLLING,
    pods=(serving_pod(1, ready=False, unschedulable="no node fits.", created=NOW - timedelta(minutes=1)),),
)

MODELS = (
    State("before the operator has seen it", _model(UNSEEN), "InProgress", "Progressing"),
    State("a spec that the operator has not seen", _model(SERVES, GENERATION + 1), "InProgress", "Progressing"),
    State("before its first version", _model(decide(ONE)), "InProgress", "Progressing"),
    State("in training", _model(TRAINS), "InProgress", "Progressing"),
    State("in training beside one that serves", _model(RETRAINS), "InProgress", "Progressing"),
    State("in training, held up", _model(HELD_UP), "Failed", "Degraded"),
    State("in export", _model(EXPORTS), "InProgress", "Progressing"),
    State(
        "being rolled out",
        _model(decide(ONE, published(1, ONE), deployment=ROLLING, pods=(NOT_READY,))),
        "InProgress",
        "Progressing",
    ),
    State("a rollout that is stuck", _model(STUCK_ROLLOUT), "Failed", "Degraded"),
    State("serving", _model(SERVES), "Current", "Healthy"),
    State("serving and suspended", _model(decide(SUSPENDED, published(1, ONE), **SERVES_ONE)), "Current", "Healthy"),
    State("rejected", _model(REJECTED), "Failed", "Degraded"),
    State("rejected beside one that serves", _model(REJECTED_BESIDE_ONE_THAT_SERVES), "Failed", "Degraded"),
    State("failed", _model(FAILED), "Failed", "Degraded"),
    State("failed beside one that serves", _model(FAILED_BESIDE_ONE_THAT_SERVES), "Failed", "Degraded"),
    State("a spec that cannot be used", _model(INVALID), "Failed", "Degraded"),
    State("suspended before its first version", _model(decide(SUSPENDED)), "InProgress", "Suspended"),
    State("suspended, with a child that is refused", _model(REFUSED), "Failed", "Degraded"),
    State("suspended between two Jobs", _model(SUSPENDED_BETWEEN_JOBS), "InProgress", "Suspended"),
)

SUPERSEDED = decide(TWO, version(1, ONE, VersionPhase.TRAINING), jobs=(TRAIN,))

VERSIONS = (
    State("before the operator has said anything", _version(UNSEEN), "InProgress", "Progressing"),
    State("waiting, suspended", _version(SUSPENDED_BETWEEN_JOBS), "InProgress", "Progressing"),
    State("in training", _version(TRAINS), "InProgress", "Progressing"),
    State("in training, held up", _version(HELD_UP), "InProgress", "Progressing"),
    State("in export", _version(EXPORTS), "InProgress", "Progressing"),
    State("published", _version(_exported()), "Current", "Healthy"),
    State("rejected", _version(REJECTED), "Failed", "Degraded"),
    State("failed", _version(FAILED), "Failed", "Degraded"),
    State("stopped for another", _version(SUPERSEDED), "Failed", "Degraded"),
)

GOING = tuple(
    State(f"{state.words}, being deleted", _deleting(state.content), "Terminating", "")
    for state in (MODELS[0], MODELS[3], MODELS[9], VERSIONS[5])
)
