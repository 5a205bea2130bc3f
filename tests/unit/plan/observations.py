"""Builders of what planning sees: each gives the usual case, and takes what a test is about as a keyword."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from keras_operator.api import (
    Condition,
    ConditionStatus,
    ConditionType,
    Data,
    Evaluation,
    EvaluationData,
    Gate,
    KerasModelSpec,
    KerasModelStatus,
    KerasModelVersionSpec,
    KerasModelVersionStatus,
    Metric,
    Phase,
    RunError,
    RunResult,
    RunStage,
    Servable,
    Serving,
    Source,
    Store,
    Training,
    VersionPhase,
    VersionServable,
    inputs_hash,
)
from keras_operator.plan import Observed, Plan, plan
from keras_operator.plan.desired import Desired, Template
from keras_operator.plan.images import Images, Installation
from keras_operator.plan.observed import (
    Autoscaler,
    Child,
    Container,
    Deployment,
    Identity,
    Job,
    JobState,
    Model,
    Pod,
    Version,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=10)
INSTALLATION = Installation(Images("trainer:1", "server:1", "tensorflow/serving:1"), "keras-operator-system")
STORE = Store(uri="s3://models/dogs")
GOOD_METRICS = {"accuracy": "0.91", "loss": "0.3"}


def _usual(changes: dict[str, Any], **usual: Any) -> dict[str, Any]:
    return usual | changes


def _fields_of(part: type[Serving | Training], changes: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Take the fields of a struct out of keywords."""
    named = {name: prefix + name if name == "resources" else name for name in part.__struct_fields__}
    return {name: changes.pop(keyword) for name, keyword in named.items() if keyword in changes}


def identity(name: str, uid: str = "", **changes: Any) -> Identity:
    return Identity(**_usual(changes, namespace="vision", name=name, uid=uid or f"uid-{name}", created=EARLIER))


def training(**changes: Any) -> Training:
    return Training(**_usual(changes, data=Data(uri="s3://datasets/dogs")))


def trained(**changes: Any) -> KerasModelSpec:
    """The spec of a model that is trained; keywords of Training, Serving and KerasModelSpec are told apart by name.

    `training_resources` and `serving_resources` are the `resources` that both have.
    """
    serving = _fields_of(Serving, changes, "serving_")
    learned = _fields_of(Training, changes, "training_")
    return KerasModelSpec(**_usual(changes, training=training(**learned), store=STORE, serving=Serving(**serving)))


def brought(**changes: Any) -> KerasModelSpec:
    """The spec of a model that comes as a SavedModel; `tested` says that it has test data."""
    serving = _fields_of(Serving, changes, "serving_")
    tested = EvaluationData(uri="s3://datasets/dogs") if changes.pop("tested", False) else None
    source = Source(uri=changes.pop("uri", "s3://models/uploads/dogs"), test_data=tested)
    return KerasModelSpec(**_usual(changes, source=source, store=STORE, serving=Serving(**serving)))


def gated(*gates: Gate, **changes: Any) -> KerasModelSpec:
    bars = gates or (Gate(metric=Metric.ACCURACY, min=0.85),)
    return trained(evaluation=Evaluation(gates=bars), **changes)


def model(spec: KerasModelSpec | None, status: KerasModelStatus | None = None, **changes: Any) -> Model:
    error = changes.pop("spec_error", None)
    return Model(identity("dogs", **({"generation": 4} | changes)), spec, status or KerasModelStatus(), error)


def said(kind: ConditionType, reason: str, *, holds: bool = False, since: datetime = EARLIER) -> Condition:
    status = ConditionStatus.TRUE if holds else ConditionStatus.FALSE
    return Condition(
        type=kind, status=status, reason=reason, message="so it is", last_transition_time=since, observed_generation=1
    )


def version(number: int, spec: KerasModelSpec, phase: VersionPhase | None = None, **changes: Any) -> Version:
    """A version with the inputs of `spec`; `reason` is its Ready condition's, other keywords are of its status."""
    reason = changes.pop("reason", "")
    who: dict[str, Any] = {name: changes.pop(name) for name in ("deleting", "uid") if name in changes}
    past_training = phase in (VersionPhase.EXPORTING, VersionPhase.PUBLISHED, VersionPhase.REJECTED)
    if spec.training and past_training:
        changes.setdefault("metrics", GOOD_METRICS)
    if phase is VersionPhase.PUBLISHED:
        uri = f"s3://models/dogs/{number}"
        changes.setdefault("servable", VersionServable(uri=uri, digest="sha256:0", bytes=9))
        changes.setdefault("message", f"is published at {uri}")
        reason = reason or "Published"
    if reason:
        ready = said(ConditionType.READY, reason, holds=phase is VersionPhase.PUBLISHED)
        changes.setdefault("conditions", (ready,))
    frozen = KerasModelVersionSpec(
        model_name="dogs",
        number=number,
        inputs_hash=inputs_hash(spec),
        reason="because",
        training=spec.training,
        source=spec.source,
        store=spec.store,
    )
    who = _usual(who, owner_uid="uid-dogs", generation=1)
    return Version(identity(f"dogs-{number}", **who), frozen, KerasModelVersionStatus(phase=phase, **changes))


def published(number: int, spec: KerasModelSpec, **changes: Any) -> Version:
    return version(number, spec, VersionPhase.PUBLISHED, **changes)


def job(number: int, stage: RunStage = RunStage.TRAIN, state: JobState = JobState.ACTIVE, **changes: Any) -> Job:
    told = {
        name: changes.pop(name)
        for name in ("failure_reason", "failure_message", "finished", "suspended", "queue", "workers", "store")
        if name in changes
    }
    if state is not JobState.ACTIVE:
        told.setdefault("finished", NOW)
    who = {"owner_uid": f"uid-dogs-{number}"} | changes
    return Job(identity(f"dogs-{number}-{stage.value}", **who), number, stage, state, **told)


def run_pod(of: Job, *containers: Container, **changes: Any) -> Pod:
    """A pod of a Job; `name` tells several apart."""
    name = changes.pop("name", f"{of.identity.name}-x")
    who = {key: changes.pop(key) for key in ("created", "deleting") if key in changes}
    told = {"phase": "Running", "job_uid": of.identity.uid, "containers": containers} | changes
    return Pod(identity(name, **who), number=of.number, component=of.stage.value, **told)


def ended(stage: RunStage = RunStage.TRAIN, exit_code: int = 0, message: str = "", **changes: Any) -> Container:
    return Container(**_usual(changes, name=stage.value, exit_code=exit_code, exit_message=message))


def answer(result: RunResult, exit_code: int = 0) -> Container:
    """A container that left its result."""
    return ended(result.stage, exit_code, msgspec.json.encode(result).decode())


def train_result(**changes: Any) -> RunResult:
    return RunResult(**_usual(changes, stage=RunStage.TRAIN, ok=True, metrics={"accuracy": 0.91, "loss": 0.3}))


def export_result(number: int = 1, **changes: Any) -> RunResult:
    servable = Servable(uri=f"s3://models/dogs/{number}", digest="sha256:0", bytes=9, signatures=("serving_default",))
    return RunResult(**_usual(changes, stage=RunStage.EXPORT, ok=True, servable=servable, parity=2.4e-7))


def failed_result(stage: RunStage, reason: str, message: str, next_number: int | None = None) -> RunResult:
    return RunResult(stage=stage, ok=False, error=RunError(reason=reason, message=message, next_number=next_number))


def serving_pod(number: int, *containers: Container, ready: bool = True, **changes: Any) -> Pod:
    name = changes.pop("name", f"dogs-{number}-pod")
    who = {key: changes.pop(key) for key in ("created", "deleting") if key in changes}
    told = {"phase": "Running", "containers": containers} | changes
    return Pod(identity(name, **who), number=number, component="serving", ready=ready, **told)


def deployment(number: int, replicas: int = 1, **changes: Any) -> Deployment:
    """A Deployment that is rolled out unless keywords say otherwise."""
    who = {key: changes.pop(key) for key in ("generation", "created", "deleting") if key in changes}
    counts = dict.fromkeys(("updated", "ready", "available", "total"), replicas)
    told = {"owns_replicas": True, "observed_generation": 2} | counts | changes
    return Deployment(
        identity("dogs", "uid-deployment", **({"generation": 2, "owner_uid": "uid-dogs"} | who)),
        b"{}",
        number,
        replicas,
        **told,
    )


def child(kind: str) -> Child:
    return Child(identity("dogs", f"uid-{kind}"), b"{}")


def autoscaler(trouble: str = "", since: datetime | None = None) -> Autoscaler:
    return Autoscaler(identity("dogs", "uid-hpa"), b"{}", trouble, since)


def decide(spec: KerasModelSpec, *versions: Version, at: datetime = NOW, **seen: Any) -> Plan:
    """The plan for a model of this spec; `status` is the model's."""
    status = seen.pop("status", None)
    return plan(Observed(model(spec, status), versions=versions, **seen), INSTALLATION, at)


def condition(todo: Plan, kind: str) -> Condition | None:
    """A condition of the model's status in a plan."""
    assert todo.status is not None
    return next((one for one in todo.status.conditions if one.type == kind), None)


def phase(todo: Plan) -> Phase | None:
    assert todo.status is not None
    return todo.status.phase


def message(todo: Plan) -> str:
    assert todo.status is not None
    assert todo.status.message is not None
    return todo.status.message


def created(todo: Plan, template: Template) -> Desired | None:
    return next((one for one in todo.create if one.template is template), None)


def kept(todo: Plan, template: Template) -> Desired | None:
    return next((one for one in todo.keep if one.template is template), None)
