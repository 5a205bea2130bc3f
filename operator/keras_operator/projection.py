"""From a Kubernetes object to the small value that planning needs of it.

`project` gives equal values for objects that planning would treat alike, so that heartbeats wake nobody.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from keras_operator.api import (
    ApiError,
    KerasModelSpec,
    KerasModelStatus,
    KerasModelVersionSpec,
    KerasModelVersionStatus,
    RunStage,
    decode_model,
)
from keras_operator.cluster import reference
from keras_operator.cluster.reference import Kind
from keras_operator.kinds import CANARY_LABEL, MODEL, VERSION
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
    Start,
    Version,
)
from keras_operator.plan.own_container import OWN

VERSION_LABEL = "keras-operator.dev/version"
PROMOTE_ANNOTATION = "keras-operator.dev/promote"
ABORT_ANNOTATION = "keras-operator.dev/abort"
WISH_ANNOTATION = "keras-operator.dev/version"
SWAPS_ANNOTATION = "keras-operator.dev/swaps"
MEMORY_ANNOTATION = "keras-operator.dev/memory"
STORE_ANNOTATION = "keras-operator.dev/store"
RENEWAL_ANNOTATION = "keras-operator.dev/renewal"
COMPONENT_LABEL = "app.kubernetes.io/component"
# Of Kubernetes, on the pods of an Indexed Job.
INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
# Of Kueue, as its documentation asks for it on a Job.
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
FIELD_MANAGER = "keras-operator"
_SPECS = 1024

Body = Mapping[str, Any]


def project(kind: Kind, body: Body) -> object:
    """The value for an object of a kind that the operator watches.

    Raises:
        msgspec.ValidationError: a KerasModelVersion that does not fit its type; only its own author is this operator.
    """
    return _PROJECTIONS.get(kind, _child)(body)


def identity(body: Body) -> Identity:
    """What every projection holds of an object's metadata."""
    metadata = body["metadata"]
    owners = metadata.get("ownerReferences") or ()
    return Identity(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        created=_time(metadata.get("creationTimestamp")) or datetime.fromtimestamp(0, UTC),
        generation=metadata.get("generation", 0),
        deleting="deletionTimestamp" in metadata,
        owner_uid=next((owner["uid"] for owner in owners if owner.get("controller")), None),
    )


def _model(body: Body) -> Model:
    spec, error = _model_spec(msgspec.json.encode(body.get("spec") or {}))
    status = msgspec.convert(body.get("status") or {}, KerasModelStatus)
    annotations = body["metadata"].get("annotations") or {}
    promote, abort = (_number(annotations, name) for name in (PROMOTE_ANNOTATION, ABORT_ANNOTATION))
    return Model(identity(body), spec, status, error, promote, abort)


@lru_cache(maxsize=_SPECS)
def _model_spec(spec: bytes) -> tuple[KerasModelSpec | None, str | None]:
    """A spec, or what is wrong with it. A model is seen again with each change of its status, its spec is the same."""
    try:
        return decode_model(msgspec.json.decode(spec)), None
    except ApiError as refused:
        return None, str(refused)


def _version(body: Body) -> Version:
    return Version(
        identity(body),
        msgspec.convert(body["spec"], KerasModelVersionSpec),
        msgspec.convert(body.get("status") or {}, KerasModelVersionStatus),
    )


def _job(body: Body) -> Job | None:
    """None for a Job that is labelled as a model's and is not a stage of a run."""
    labels = body["metadata"].get("labels") or {}
    try:
        stage = RunStage(labels.get(COMPONENT_LABEL, ""))
        number = int(labels.get(VERSION_LABEL, ""))
    except ValueError:
        return None
    ended = {c["type"]: c for c in (body.get("status") or {}).get("conditions") or () if c.get("status") == "True"}
    failed, complete = ended.get("Failed"), ended.get("Complete")
    spec = body.get("spec") or {}
    return Job(
        identity=identity(body),
        number=number,
        stage=stage,
        state=JobState.FAILED if failed else JobState.COMPLETE if complete else JobState.ACTIVE,
        failure_reason=failed.get("reason", "") if failed else "",
        failure_message=failed.get("message", "") if failed else "",
        suspended=bool(spec.get("suspend")),
        queue=labels.get(QUEUE_LABEL, ""),
        workers=spec.get("completions", 1) if spec.get("completionMode") == "Indexed" else 1,
        store=(body["metadata"].get("annotations") or {}).get(STORE_ANNOTATION, ""),
    )


def _pod(body: Body) -> Pod:
    labels = body["metadata"].get("labels") or {}
    status = body.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    scheduled, ready = conditions.get("PodScheduled", {}), conditions.get("Ready", {})
    stuck = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    annotations = body["metadata"].get("annotations") or {}
    who = identity(body)
    containers = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    # No kubelet says that of a pod without a readiness gate: the control plane did, which hears nothing of the node.
    lost = ready.get("status") == "False" and bool(containers) and all(one.get("ready") for one in containers)
    return Pod(
        identity=who,
        number=_number(labels, VERSION_LABEL),
        component=labels.get(COMPONENT_LABEL, ""),
        phase=status.get("phase", ""),
        ip=status.get("podIP", ""),
        ready=ready.get("status") == "True" and not who.deleting,
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        unschedulable=scheduled.get("message", "no node fits.") if stuck else "",
        unready=ready.get("message", "") if ready.get("status") == "False" else "",
        lost_with=str((body.get("spec") or {}).get("nodeName", "")) if lost else "",
        gates=tuple(gate["name"] for gate in (body.get("spec") or {}).get("schedulingGates") or ()),
        containers=tuple(_container(one) for one in containers),
        job_uid=(who.owner_uid or "") if labels.get(COMPONENT_LABEL) != "serving" else "",
        index=_number(labels, INDEX_LABEL),
        wish=_number(annotations, WISH_ANNOTATION),
        swaps=_number(annotations, SWAPS_ANNOTATION),
        memory=_number(annotations, MEMORY_ANNOTATION),
        renewal=_number(annotations, RENEWAL_ANNOTATION) if RENEWAL_ANNOTATION in annotations else None,
        canary=CANARY_LABEL in labels,
    )


def _container(status: Body) -> Container:
    state = status.get("state") or {}
    own = status["name"] == OWN
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    return Container(
        name=status["name"],
        ready=bool(status.get("ready")),
        running="running" in state,
        restarts=status.get("restartCount", 0),
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        exit_code=ended.get("exitCode"),
        exit_reason=ended.get("reason", ""),
        exit_message=ended.get("message", ""),
        finished=_time(ended.get("finishedAt")),
        image=status.get("imageID", "") if own else "",
        started=_time((state.get("running") or {}).get("startedAt")) if own else None,
    )


def _deployment(body: Body) -> Deployment:
    spec, status = body["spec"], body.get("status") or {}
    template = spec["template"]["metadata"]
    annotations = template.get("annotations") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    failure, progress = conditions.get("ReplicaFailure", {}), conditions.get("Progressing", {})
    return Deployment(
        identity=identity(body),
        content=_content(body),
        number=_number(template.get("labels") or {}, VERSION_LABEL),
        replicas=spec.get("replicas", 1),
        owns_replicas=_owns_replicas(body),
        observed_generation=status.get("observedGeneration", 0),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
        available=status.get("availableReplicas", 0),
        total=status.get("replicas", 0),
        failure=failure.get("message", "") if failure.get("status") == "True" else "",
        stuck=progress.get("reason") == "ProgressDeadlineExceeded",
        renewal=_number(annotations, RENEWAL_ANNOTATION) if RENEWAL_ANNOTATION in annotations else None,
    )


def _owns_replicas(body: Body) -> bool:
    return any(
        "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
        for entry in body["metadata"].get("managedFields") or ()
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
    )


def _autoscaler(body: Body) -> Autoscaler:
    conditions = (body.get("status") or {}).get("conditions") or ()
    # ScalingDisabled is somebody's choice (no replicas), not trouble.
    nothing: Body = {}
    stuck: Body = next(
        (
            c
            for c in conditions
            if c["type"] in ("AbleToScale", "ScalingActive")
            and c.get("status") == "False"
            and c.get("reason") != "ScalingDisabled"
        ),
        nothing,
    )
    return Autoscaler(
        identity=identity(body),
        content=_content(body),
        trouble=stuck.get("message", ""),
        trouble_since=_time(stuck.get("lastTransitionTime")),
    )


def _start(body: Body) -> Start:
    return Start(identity(body), _content(body), _number(body.get("data") or {}, "version"))


def _number(words: Mapping[str, str], name: str) -> int:
    """A whole number among labels, annotations or data; 0 where it is missing or none."""
    word = words.get(name, "")
    return int(word) if word.isascii() and word.isdecimal() else 0


def _child(body: Body) -> Child:
    return Child(identity(body), _content(body))


def _content(body: Body) -> bytes:
    """Canonical JSON of what can drift: no status, and of the metadata only what people and programs write."""
    metadata = body["metadata"]
    kept = {
        name: metadata[name]
        for name in ("name", "namespace", "labels", "annotations", "ownerReferences")
        if name in metadata
    }
    # Items of a LIST bear no apiVersion and kind, those of a WATCH do: neither is worth remembering.
    rest = {name: value for name, value in body.items() if name not in ("apiVersion", "kind", "metadata", "status")}
    return msgspec.json.encode({**rest, "metadata": kept}, order="deterministic")


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


_PROJECTIONS: dict[Kind, Callable[[Body], object]] = {
    MODEL: _model,
    VERSION: _version,
    reference.JOB: _job,
    reference.POD: _pod,
    reference.DEPLOYMENT: _deployment,
    reference.HORIZONTAL_POD_AUTOSCALER: _autoscaler,
    reference.CONFIG_MAP: _start,
}
