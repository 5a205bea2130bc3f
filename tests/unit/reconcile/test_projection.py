"""What planning gets to see of Kubernetes' objects, as they come from a watch."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from keras_operator.api import KerasModelStatus, RunStage
from keras_operator.cluster import reference
from keras_operator.kinds import MODEL, VERSION
from keras_operator.plan.observed import Autoscaler, Child, Container, Deployment, Identity, Job, JobState, Model, Pod
from keras_operator.projection import identity, project

NOON = "2026-03-01T12:00:00Z"
AT_NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def body(name: str = "dogs", labels: dict[str, str] | None = None, **parts: Any) -> dict[str, Any]:
    metadata = {
        "namespace": "vision",
        "name": name,
        "uid": "uid-1",
        "creationTimestamp": NOON,
        "generation": 3,
        "resourceVersion": "77",
        "labels": labels or {},
        "ownerReferences": [{"uid": "not-the-controller"}, {"uid": "uid-owner", "controller": True}],
    }
    return {"metadata": metadata | parts.pop("metadata", {})} | parts


WHO = Identity("vision", "dogs", "uid-1", AT_NOON, generation=3, deleting=False, owner_uid="uid-owner")


def test_an_identity_is_what_every_decision_may_need():
    assert identity(body()) == WHO


def test_an_object_that_is_barely_there_has_an_identity():
    bare = identity({"metadata": {"name": "x"}})
    assert bare == Identity("", "x", "", datetime.fromtimestamp(0, UTC))


def test_an_object_with_a_deletion_time_is_on_its_way_out():
    assert identity(body(metadata={"deletionTimestamp": NOON})).deleting


SPEC = {"training": {"data": {"uri": "s3://datasets/dogs"}}, "store": {"uri": "s3://models/dogs"}}


def test_a_model_is_read_with_its_defaults():
    model = project(MODEL, body(spec=SPEC, status={"phase": "Serving", "newer": 1}))
    assert isinstance(model, Model)
    assert model.spec is not None
    assert model.spec.training is not None
    assert model.spec.training.epochs == 10
    assert model.status == KerasModelStatus(phase="Serving")  # type: ignore[arg-type]
    assert model.spec_error is None


def test_a_model_that_cannot_be_used_says_why():
    model = project(MODEL, body(spec=SPEC | {"epochs": 3}))
    assert isinstance(model, Model)
    assert model.spec is None
    assert model.spec_error is not None
    assert "epochs" in model.spec_error


def test_a_model_without_a_spec_says_why():
    model = project(MODEL, body())
    assert isinstance(model, Model)
    assert model.spec is None


def test_a_version_is_read():
    spec = SPEC | {"modelName": "dogs", "number": 3, "inputsHash": "0123456789abcdef", "reason": "because"}
    version: Any = project(VERSION, body(spec=spec, status={"phase": "Published", "times": {"started": NOON}}))
    assert (version.number, version.status.phase) == (3, "Published")
    assert version.status.times == {"started": AT_NOON}
    assert version.identity == WHO


RUN = {"app.kubernetes.io/component": "train", "keras-operator.dev/version": "3"}


def ended(kind: str, status: str = "True", **more: str) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": status, "lastTransitionTime": NOON} | more]}


JOBS = {
    "just created": ({}, Job(WHO, 3, RunStage.TRAIN, JobState.ACTIVE)),
    "about to fail": (ended("FailureTarget"), Job(WHO, 3, RunStage.TRAIN, JobState.ACTIVE)),
    "not failed": (ended("Failed", "False"), Job(WHO, 3, RunStage.TRAIN, JobState.ACTIVE)),
    "complete": (ended("Complete"), Job(WHO, 3, RunStage.TRAIN, JobState.COMPLETE)),
    "failed": (
        ended("Failed", reason="DeadlineExceeded", message="too long"),
        Job(WHO, 3, RunStage.TRAIN, JobState.FAILED, "DeadlineExceeded", "too long"),
    ),
}


@pytest.mark.parametrize(("status", "job"), JOBS.values(), ids=JOBS.keys())
def test_a_job_is_active_until_it_says_how_it_ended(status, job):
    assert project(reference.JOB, body(labels=RUN, status=status)) == job


@pytest.mark.parametrize("component", ["", "serving", "other"])
def test_a_job_that_is_no_run_is_not_seen(component):
    assert project(reference.JOB, body(labels=RUN | {"app.kubernetes.io/component": component})) is None


@pytest.mark.parametrize("number", ["", "three"])
def test_a_job_without_a_number_is_not_seen(number):
    assert project(reference.JOB, body(labels=RUN | {"keras-operator.dev/version": number})) is None


def test_a_job_says_how_it_reaches_the_store():
    annotations = {"keras-operator.dev/store": "0123456789abcdef"}
    job: Any = project(reference.JOB, body(labels=RUN, metadata={"annotations": annotations, "labels": RUN}))
    assert job.store == "0123456789abcdef"


def test_a_pod_that_was_just_created():
    assert project(reference.POD, body(labels=RUN)) == Pod(WHO, 3, "train", "", job_uid="uid-owner")


def test_workers_are_told_apart_by_their_index():
    job: Any = project(reference.JOB, body(labels=RUN, spec={"completionMode": "Indexed", "completions": 3}))
    assert job.workers == 3
    assert project(reference.JOB, body(labels=RUN, spec={"completions": 1})).workers == 1  # type: ignore[attr-defined]
    pod: Any = project(reference.POD, body(labels=RUN | {"batch.kubernetes.io/job-completion-index": "2"}))
    assert pod.index == 2


SERVING = {"app.kubernetes.io/component": "serving", "keras-operator.dev/version": "3"}


def test_a_pod_that_runs():
    status = {
        "phase": "Running",
        "podIP": "10.0.0.7",
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
        "initContainerStatuses": [{"name": "agent", "ready": True, "restartCount": 1, "state": {"running": {}}}],
        "containerStatuses": [{"name": "runtime", "state": {"running": {}}}],
    }
    assert project(reference.POD, body(labels=SERVING, status=status)) == Pod(
        WHO,
        3,
        "serving",
        "Running",
        ip="10.0.0.7",
        ready=True,
        containers=(Container("agent", ready=True, running=True, restarts=1), Container("runtime", running=True)),
    )


def test_a_pod_that_goes_away_is_not_ready_whatever_it_says():
    status = {"conditions": [{"type": "Ready", "status": "True"}]}
    pod: Any = project(reference.POD, body(metadata={"deletionTimestamp": NOON}, status=status))
    assert not pod.ready


@pytest.mark.parametrize(
    ("ready", "container_ready", "lost"), [("False", True, "n1"), ("False", False, ""), ("True", True, "")]
)
def test_a_pod_is_lost_whose_containers_were_last_heard_to_be_ready(ready, container_ready, lost):
    status = {
        "conditions": [{"type": "Ready", "status": ready}],
        "containerStatuses": [{"name": "train", "ready": container_ready, "state": {"running": {}}}],
    }
    pod: Any = project(reference.POD, body(spec={"nodeName": "n1"}, status=status))
    assert pod.lost_with == lost


UNSCHEDULED = {
    "no node fits": ({"status": "False", "reason": "Unschedulable", "message": "0/1"}, "0/1"),
    "no node fits, nobody says why": ({"status": "False", "reason": "Unschedulable"}, "no node fits."),
    "held back on purpose": ({"status": "False", "reason": "SchedulingGated", "message": "gated"}, ""),
    "scheduled": ({"status": "True", "reason": "Unschedulable", "message": "old"}, ""),
}


@pytest.mark.parametrize(("condition", "words"), UNSCHEDULED.values(), ids=UNSCHEDULED.keys())
def test_a_pod_says_whether_a_node_takes_it(condition, words):
    pod: Any = project(reference.POD, body(status={"conditions": [{"type": "PodScheduled"} | condition]}))
    assert pod.unschedulable == words


def test_a_pod_that_was_evicted_says_so():
    pod: Any = project(reference.POD, body(status={"phase": "Failed", "reason": "Evicted", "message": "low"}))
    assert (pod.phase, pod.reason, pod.message, pod.over) == ("Failed", "Evicted", "low", True)


ENDED = {"exitCode": 65, "reason": "Error", "message": "{}", "finishedAt": NOON}
TOLD = {"exit_code": 65, "exit_reason": "Error", "exit_message": "{}", "finished": AT_NOON}

CONTAINERS = {
    "waiting": (
        {"state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}},
        Container("train", waiting_reason="ErrImagePull", waiting_message="no"),
    ),
    "ended": ({"state": {"terminated": ENDED}}, Container("train", **TOLD)),  # type: ignore[arg-type]
    "restarted": (
        {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": ENDED}, "restartCount": 2},
        Container("train", waiting_reason="CrashLoopBackOff", restarts=2, **TOLD),  # type: ignore[arg-type]
    ),
    "nothing yet": ({}, Container("train")),
}


@pytest.mark.parametrize(("told", "container"), CONTAINERS.values(), ids=CONTAINERS.keys())
def test_a_container_says_how_it_is_and_how_it_ended(told, container):
    pod: Any = project(reference.POD, body(status={"containerStatuses": [{"name": "train"} | told]}))
    assert pod.containers == (container,)


def test_of_a_teams_own_container_its_image_and_its_beginning_are_kept():
    told = {"imageID": "net@sha256:1", "state": {"running": {"startedAt": NOON}}}
    pod: Any = project(reference.POD, body(status={"initContainerStatuses": [{"name": "own"} | told]}))
    assert pod.containers == (Container("own", running=True, image="net@sha256:1", started=AT_NOON),)
    others: Any = project(reference.POD, body(status={"containerStatuses": [{"name": "train"} | told]}))
    assert others.containers == (Container("train", running=True),)


def deployment_body(**parts: Any) -> dict[str, Any]:
    spec = {"replicas": 2, "template": {"metadata": {"labels": SERVING}}}
    return body(**({"spec": spec} | parts))


def deployment(**parts: Any) -> Deployment:
    value = project(reference.DEPLOYMENT, deployment_body(**parts))
    assert isinstance(value, Deployment)
    return value


def test_a_deployment_with_its_counts():
    status = {
        "observedGeneration": 3,
        "updatedReplicas": 1,
        "readyReplicas": 2,
        "availableReplicas": 4,
        "replicas": 5,
        "conditions": [
            {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"},
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
        ],
    }
    value = deployment(status=status)
    assert (value.number, value.replicas) == (3, 2)
    assert (value.observed_generation, value.updated, value.ready, value.available, value.total) == (3, 1, 2, 4, 5)
    assert (value.failure, value.stuck) == ("exceeded quota", True)


def test_a_deployment_that_was_just_created():
    value = deployment(spec={"template": {"metadata": {}}})
    assert (value.number, value.replicas, value.total, value.failure, value.stuck) == (0, 1, 0, "", False)
    assert not value.rolled_out


def test_a_failure_that_is_over_is_none():
    status = {"conditions": [{"type": "ReplicaFailure", "status": "False", "message": "was"}]}
    assert deployment(status=status).failure == ""


def managed(manager: str, operation: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"managedFields": [{"manager": manager, "operation": operation, "fieldsV1": {"f:spec": fields}}]}


OWNERS = {
    "by this operator's apply": (managed("keras-operator", "Apply", {"f:replicas": {}}), True),
    "by another's apply": (managed("keras-operator-seed", "Apply", {"f:replicas": {}}), False),
    "by an update": (managed("keras-operator", "Update", {"f:replicas": {}}), False),
    "other fields": (managed("keras-operator", "Apply", {"f:paused": {}}), False),
    "nothing said": ({"managedFields": [{"manager": "keras-operator", "operation": "Apply"}]}, False),
    "nobody": ({}, False),
}


@pytest.mark.parametrize(("metadata", "owns"), OWNERS.values(), ids=OWNERS.keys())
def test_the_count_is_this_operators_only_where_it_was_applied(metadata, owns):
    assert deployment(metadata=metadata).owns_replicas is owns


SCALERS = {
    "well": ([{"type": "AbleToScale", "status": "True", "message": "fine"}], "", None),
    "blind": (
        [{"type": "ScalingActive", "status": "False", "message": "no metrics", "lastTransitionTime": NOON}],
        "no metrics",
        AT_NOON,
    ),
    "unable": ([{"type": "AbleToScale", "status": "False", "message": "no scale", "reason": "X"}], "no scale", None),
    "switched off": (
        [{"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled", "message": "0"}],
        "",
        None,
    ),
    "at its limit": ([{"type": "ScalingLimited", "status": "False", "message": "limit"}], "", None),
    "new": ([], "", None),
}


@pytest.mark.parametrize(("conditions", "trouble", "since"), SCALERS.values(), ids=SCALERS.keys())
def test_an_autoscaler_says_why_it_cannot_scale(conditions, trouble, since):
    value = project(reference.HORIZONTAL_POD_AUTOSCALER, body(spec={}, status={"conditions": conditions}))
    assert isinstance(value, Autoscaler)
    assert (value.trouble, value.trouble_since) == (trouble, since)


HEARTBEATS = {
    "another resource version": {"resourceVersion": "78"},
    "another manager": {"managedFields": [{"manager": "kubectl", "operation": "Update", "fieldsV1": {}}]},
    "a self link": {"selfLink": "/x"},
}


@pytest.mark.parametrize("metadata", HEARTBEATS.values(), ids=HEARTBEATS.keys())
def test_what_does_not_matter_wakes_nobody(metadata):
    for kind in (reference.SERVICE, reference.DEPLOYMENT):
        assert project(kind, deployment_body()) == project(kind, deployment_body(metadata=metadata))


def test_a_child_is_the_same_from_a_list_and_from_a_watch_whatever_its_status():
    listed = deployment_body()
    watched = {"apiVersion": "v1", "kind": "Service", "status": {"loadBalancer": {}}} | copy.deepcopy(listed)
    assert project(reference.SERVICE, listed) == project(reference.SERVICE, watched)


@pytest.mark.parametrize("field", ["labels", "annotations", "ownerReferences"])
def test_what_people_and_programs_write_is_seen(field):
    changed = deployment_body(metadata={field: {"a": "b"} if field != "ownerReferences" else []})
    assert project(reference.SERVICE, changed) != project(reference.SERVICE, deployment_body())


def test_any_other_child_is_its_content():
    value = project(reference.SERVICE, body(spec={"type": "ClusterIP"}, status={"x": 1}))
    assert isinstance(value, Child)
    assert b'"type":"ClusterIP"' in value.content
    assert b"status" not in value.content
    assert b"uid-1" not in value.content
