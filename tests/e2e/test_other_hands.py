"""Other hands on what the operator keeps: it puts back its own, takes nothing over, and says what it cannot do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.demo.kubectl import Kubectl
from benchmarks.demo.surroundings import Surroundings
from tests.e2e.api_server import MODEL, VERSION, ApiServer, Object
from tests.e2e.conftest import MakeNamespace, Served
from tests.e2e.models import conditions, is_ready, message, phase, quick_model, store_prefix
from tests.e2e.object_store import ObjectStore
from tests.e2e.operator_process import Operator
from tests.e2e.ready_versions import apply_with_version, copy_servable

NAME = "handled"
ROOT = Path(__file__).resolve().parents[2]
# A model that never gets a node needs no CPU for a test about its Job.
NO_NODE = {"training": {"resources": {"requests": {"cpu": 1000}}}}
SCALED = {
    "serving": {
        "autoscaling": {"minReplicas": 2, "maxReplicas": 3},
        "rollout": {"strategy": "Hot"},
        "resources": {"requests": {"cpu": "20m"}},
    }
}
FINALIZER = "example.com/hanging"
KEPT = (
    "ServiceAccount",
    "Service",
    "NetworkPolicy",
    "ConfigMap",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "Deployment",
)


@pytest.fixture(scope="module")
def namespace(api: ApiServer, make_namespace: MakeNamespace, s3: ObjectStore, digits_model: Served) -> Iterator[str]:
    """Where one model serves that has a child of every kind."""
    name = make_namespace("hands")
    copy_servable(s3, digits_model, name, NAME)
    apply_with_version(api, quick_model(name, NAME, SCALED))
    api.wait_for(MODEL, name, NAME, is_ready, "a model that serves")
    yield name
    api.delete(MODEL, name, NAME)


@pytest.fixture
def model(api: ApiServer, namespace: str) -> Object:
    """The model as it serves."""
    return api.wait_for(MODEL, namespace, NAME, is_ready, "a model that serves")


def _uid(content: Object) -> str:
    return str(content["metadata"]["uid"])


def _child(api: ApiServer, namespace: str, kind: str, name: str = NAME) -> Object:
    content = api.get(kind, namespace, name)
    assert content is not None, f"there is no {kind}"
    return content


@pytest.mark.parametrize("kind", KEPT)
def test_a_child_that_is_deleted_comes_back(api: ApiServer, namespace: str, model: Object, kind: str) -> None:
    before = _uid(_child(api, namespace, kind))
    api.delete(kind, namespace, NAME)
    back = api.wait_for(kind, namespace, NAME, lambda seen: _uid(seen) != before, "another of that name")
    (owner,) = back["metadata"]["ownerReferences"]
    assert owner["uid"] == _uid(model)
    after = api.wait_for(MODEL, namespace, NAME, is_ready, "a model that serves")
    assert after["status"]["latestVersion"] == 1, "a version was made"


EDITS: dict[str, tuple[Any, Callable[[Object], Any]]] = {
    "Service": (
        {"spec": {"selector": {"app.kubernetes.io/instance": "other"}}},
        lambda seen: seen["spec"]["selector"]["app.kubernetes.io/instance"],
    ),
    "NetworkPolicy": ({"spec": {"ingress": [{}]}}, lambda seen: len(seen["spec"]["ingress"])),
    "HorizontalPodAutoscaler": ({"spec": {"maxReplicas": 50}}, lambda seen: seen["spec"]["maxReplicas"]),
    "PodDisruptionBudget": ({"spec": {"maxUnavailable": 2}}, lambda seen: seen["spec"]["maxUnavailable"]),
    "Deployment": (
        {"spec": {"template": {"spec": {"serviceAccountName": "default"}}}},
        lambda seen: seen["spec"]["template"]["spec"]["serviceAccountName"],
    ),
    "ConfigMap": ({"data": {"version": "7"}}, lambda seen: seen["data"]["version"]),
    "ServiceAccount": ({"automountServiceAccountToken": True}, lambda seen: seen["automountServiceAccountToken"]),
}


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("kind", EDITS)
def test_what_is_edited_is_put_back_and_what_others_add_stays(api: ApiServer, namespace: str, kind: str) -> None:
    change, pick = EDITS[kind]
    wanted = pick(_child(api, namespace, kind))
    ours = {"metadata": {"labels": {"example.com/team": "vision"}, "annotations": {"example.com/note": "ours"}}}
    edited = api.patch(kind, namespace, NAME, {**ours, **change})
    assert pick(edited) != wanted
    back = api.wait_for(kind, namespace, NAME, lambda seen: pick(seen) == wanted, "the operator's own value")
    assert back["metadata"]["labels"]["example.com/team"] == "vision"
    assert back["metadata"]["annotations"]["example.com/note"] == "ours"
    api.wait_for(MODEL, namespace, NAME, is_ready, "a model that serves")


LABELS = [(kind, "app.kubernetes.io/managed-by") for kind in KEPT] + [("Service", "keras-operator.dev/model")]


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(("kind", "label"), LABELS, ids=[f"{kind} {label}" for kind, label in LABELS])
def test_a_child_whose_label_is_taken_off_gets_it_back(api: ApiServer, namespace: str, kind: str, label: str) -> None:
    before = _child(api, namespace, kind)
    wanted, other = before["metadata"]["labels"], "app.kubernetes.io/name"
    api.patch(kind, namespace, NAME, {"metadata": {"labels": {label: None}}})
    back = api.wait_for(
        kind, namespace, NAME, lambda seen: seen["metadata"]["labels"].get(label) == wanted[label], "the label again"
    )
    assert _uid(back) == _uid(before)
    # And it is watched as before.
    api.patch(kind, namespace, NAME, {"metadata": {"labels": {other: "other"}}})
    api.wait_for(
        kind, namespace, NAME, lambda seen: seen["metadata"]["labels"].get(other) == wanted[other], "its own name"
    )


def test_a_child_that_another_owner_adopts_is_named_and_left_alone(
    api: ApiServer, namespace: str, model: Object
) -> None:
    keeper = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "keeper", "namespace": namespace}}
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "keeper", "uid": _uid(api.apply(keeper))}
    adopted = {"metadata": {"ownerReferences": [{**owner, "controller": True}]}}
    api.patch("NetworkPolicy", namespace, NAME, adopted)

    said = (
        f"NetworkPolicy {NAME} exists in namespace {namespace} and does not belong to this model: delete or rename it, "
        "or give the model another name; version 1 serves on 2/2 pods"
    )
    stalled = api.wait_for(MODEL, namespace, NAME, lambda seen: message(seen) == said, said)
    assert conditions(stalled)["Stalled"]["reason"] == "ChildRefused"
    (found,) = _child(api, namespace, "NetworkPolicy")["metadata"]["ownerReferences"]
    assert found["uid"] == owner["uid"]

    api.delete("ConfigMap", namespace, "keeper")
    api.wait_for(MODEL, namespace, NAME, is_ready, "a model that serves")
    (found,) = _child(api, namespace, "NetworkPolicy")["metadata"]["ownerReferences"]
    assert found["uid"] == _uid(model)


@pytest.mark.usefixtures("model")
def test_a_child_with_a_finalizer_left_hanging_comes_back_when_it_is_gone(api: ApiServer, namespace: str) -> None:
    before = _uid(_child(api, namespace, "Service"))
    api.patch("Service", namespace, NAME, {"metadata": {"finalizers": [FINALIZER]}})
    api.delete("Service", namespace, NAME)
    api.wait_for("Service", namespace, NAME, lambda seen: "deletionTimestamp" in seen["metadata"], "one that goes")
    assert is_ready(_child(api, namespace, MODEL))
    api.patch("Service", namespace, NAME, {"metadata": {"finalizers": None}})
    api.wait_for("Service", namespace, NAME, lambda seen: _uid(seen) != before, "another of that name")
    api.wait_for(MODEL, namespace, NAME, is_ready, "a model that serves")


def test_a_job_that_somebody_suspends_is_named(api: ApiServer, namespace: str) -> None:
    name = "suspended"
    api.apply(quick_model(namespace, name, NO_NODE))
    api.wait_for(MODEL, namespace, name, lambda seen: "no node can take pod" in message(seen), "a Job that waits")
    api.patch("Job", namespace, f"{name}-1-train", {"spec": {"suspend": True}})
    said = (
        f"version 1 cannot be trained: somebody suspended Job {name}-1-train: set its spec.suspend to false for it to "
        "go on"
    )
    api.wait_for(MODEL, namespace, name, lambda seen: message(seen) == said, said)
    api.patch("Job", namespace, f"{name}-1-train", {"spec": {"suspend": False}})
    api.wait_for(MODEL, namespace, name, lambda seen: "no node can take pod" in message(seen), "a Job that waits")
    api.delete(MODEL, namespace, name)


def test_a_run_that_a_change_makes_superfluous_is_stopped(api: ApiServer, namespace: str) -> None:
    name = "changed"
    api.apply(quick_model(namespace, name, NO_NODE))
    api.wait_for("Job", namespace, f"{name}-1-train", lambda _: True, "a first run")
    api.apply(quick_model(namespace, name, NO_NODE, {"training": {"seed": 7}}))
    api.wait_for("Job", namespace, f"{name}-2-train", lambda _: True, "a second run")
    api.wait_gone("Job", namespace, f"{name}-1-train")
    api.delete(MODEL, namespace, name)


@pytest.mark.parametrize("kind", ["Job", VERSION])
def test_somebody_elses_object_in_the_way_of_a_version_is_named(api: ApiServer, namespace: str, kind: str) -> None:
    name = f"squatted-{kind.lower()}"[:20]
    document = quick_model(namespace, name, NO_NODE)
    if kind == "Job":
        theirs, made = f"{name}-1-train", _foreign_job(namespace, f"{name}-1-train")
    else:
        theirs, made = f"{name}-1", _foreign_version(document)
    before = _uid(api.apply(made))
    api.apply(document)
    said = (
        f"{kind} {theirs} exists in namespace {namespace} and does not belong to this model: delete or rename it, or "
        "give the model another name"
    )
    api.wait_for(MODEL, namespace, name, lambda seen: message(seen) == said, said)
    assert _uid(_child(api, namespace, kind, theirs)) == before
    api.delete(kind, namespace, theirs)
    api.wait_for(MODEL, namespace, name, lambda seen: "no node can take pod" in message(seen), "a run of its own")
    api.delete(MODEL, namespace, name)


def _foreign_job(namespace: str, name: str) -> Object:
    container = {
        "name": "main",
        "image": "none.invalid/none:1",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {"restartPolicy": "Never", "containers": [container], "securityContext": security}
    metadata = {"name": name, "namespace": namespace}
    spec = {"suspend": True, "template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _foreign_version(model: Object) -> Object:
    namespace, name = model["metadata"]["namespace"], model["metadata"]["name"]
    spec = {
        "modelName": name,
        "number": 1,
        "inputsHash": "0" * 16,
        "reason": "somebody wrote it",
        "training": model["spec"]["training"],
        "store": model["spec"]["store"],
    }
    metadata = {"name": f"{name}-1", "namespace": namespace}
    return {"apiVersion": model["apiVersion"], "kind": VERSION, "metadata": metadata, "spec": spec}


def test_a_quota_that_is_raised_lets_the_model_serve(
    api: ApiServer, make_namespace: MakeNamespace, s3: ObjectStore, digits_model: Served
) -> None:
    namespace = make_namespace("quota")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team", "namespace": namespace}}
    api.apply({**quota, "spec": {"hard": {"pods": "0"}}})
    api.wait_for("ResourceQuota", namespace, "team", lambda seen: "hard" in seen.get("status", {}), "a counted quota")
    copy_servable(s3, digits_model, namespace, NAME)
    apply_with_version(api, quick_model(namespace, NAME))
    said = (
        f"version 1 cannot serve: Deployment {NAME} cannot create its pod: it would exceed ResourceQuota team "
        "(requested: pods=1, used: pods=0, limited: pods=0); raise it, or ask for less"
    )
    api.wait_for(MODEL, namespace, NAME, lambda seen: message(seen) == said, said)
    api.patch("ResourceQuota", namespace, "team", {"spec": {"hard": {"pods": "5"}}})
    api.wait_for(MODEL, namespace, NAME, is_ready, "a model that serves")


def test_a_namesake_that_comes_at_once_gets_children_of_its_own(api: ApiServer, namespace: str) -> None:
    name, rounds = "reborn", 30
    document = quick_model(namespace, name, {"suspend": True})
    for _ in range(rounds):
        last = api.apply(document)
        if _ < rounds - 1:
            api.delete(MODEL, namespace, name)
    for kind in ("ServiceAccount", "Service", "NetworkPolicy"):
        api.wait_for(
            kind,
            namespace,
            name,
            lambda seen: [owner["uid"] for owner in seen["metadata"]["ownerReferences"]] == [_uid(last)],
            "a child of the last namesake",
        )
    api.wait_for(MODEL, namespace, name, lambda seen: phase(seen) == "Suspended", "a status of its own")
    assert "Stalled" not in conditions(_child(api, namespace, MODEL, name))
    api.delete(MODEL, namespace, name)


def test_of_two_models_with_one_store_the_second_waits_and_names_the_first(
    api: ApiServer, namespace: str, make_namespace: MakeNamespace
) -> None:
    elsewhere = make_namespace("store")
    first = quick_model(elsewhere, "first", NO_NODE)
    store = first["spec"]["store"]
    second = quick_model(namespace, "second", NO_NODE, {"store": store})
    api.apply(first)
    api.wait_for(MODEL, elsewhere, "first", lambda seen: "no node can take pod" in message(seen), "a run")
    api.apply(second)
    said = (
        f"KerasModel {elsewhere}/first publishes in s3://models/{store_prefix(elsewhere, 'first')} too, and was there "
        "first: make this model anew with another store.uri, or delete that one"
    )
    stalled = api.wait_for(MODEL, namespace, "second", lambda seen: message(seen) == said, said)
    assert conditions(stalled)["Stalled"]["reason"] == "StoreConflict"
    assert not api.objects(VERSION, namespace, "keras-operator.dev/model=second")
    assert "no node can take pod" in message(_child(api, elsewhere, MODEL, "first"))

    api.delete(MODEL, elsewhere, "first")
    api.wait_for(MODEL, namespace, "second", lambda seen: "no node can take pod" in message(seen), "a run of its own")
    api.delete(MODEL, namespace, "second")


def test_a_namespace_that_goes_is_no_trouble(
    api: ApiServer, kubectl: Kubectl, make_namespace: MakeNamespace, operator: Operator
) -> None:
    namespace = make_namespace("going")
    api.apply(quick_model(namespace, NAME, NO_NODE))
    api.wait_for(MODEL, namespace, NAME, lambda seen: "no node can take pod" in message(seen), "a Job that waits")
    # It hangs on this, while the operator goes on looking at what is left.
    metadata = {"name": "keeper", "namespace": namespace, "finalizers": [FINALIZER]}
    api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    api.delete("Namespace", None, namespace)
    api.wait_gone(MODEL, namespace, NAME)
    for kind, child in (("Job", f"{NAME}-1-train"), (VERSION, f"{NAME}-1"), ("Service", NAME), ("NetworkPolicy", NAME)):
        api.wait_gone(kind, namespace, child)
    api.patch("ConfigMap", namespace, "keeper", {"metadata": {"finalizers": None}})
    words = ("logs", "-n", "keras-operator-system", "deployment/keras-operator", "--since=10m")
    lines = [line for line in kubectl.run(*words).splitlines() if namespace in line]
    assert lines, "the operator's log says nothing of the namespace: are these its logs?"
    assert not [line for line in lines if "ERROR" in line or "terminated" in line or "was not written" in line]


@pytest.mark.parametrize("minutes", [5, -5])
def test_an_operator_whose_clock_is_wrong_does_the_same(
    api: ApiServer, cluster: Surroundings, make_namespace: MakeNamespace, operator: Operator, minutes: int
) -> None:
    namespace = make_namespace("clock")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team", "namespace": namespace}}
    api.apply({**quota, "spec": {"hard": {"pods": "0"}}})
    api.wait_for("ResourceQuota", namespace, "team", lambda seen: "hard" in seen.get("status", {}), "a counted quota")
    with operator.stopped(), _skewed(cluster, namespace, minutes):
        made = api.apply(quick_model(namespace, NAME))
        said = f"version 1 cannot be trained: Job {NAME}-1-train cannot create its pod: it would exceed ResourceQuota"
        model = api.wait_for(MODEL, namespace, NAME, lambda seen: message(seen).startswith(said), said)
        since = datetime.fromisoformat(conditions(model)["Stalled"]["lastTransitionTime"])
        assert since >= datetime.fromisoformat(made["metadata"]["creationTimestamp"]) - timedelta(seconds=10)
        job = _child(api, namespace, "Job", f"{NAME}-1-train")
        assert since <= datetime.fromisoformat(job["metadata"]["creationTimestamp"]) + timedelta(minutes=4)


@contextmanager
def _skewed(cluster: Surroundings, namespace: str, minutes: int) -> Iterator[None]:
    """An operator for one namespace on this machine, with another time."""
    images = [
        "--trainer-image=docker.io/keras-operator/trainer:dev",
        "--server-image=docker.io/keras-operator/server:dev",
    ]
    where = [f"--kubeconfig={cluster.kubeconfig}", f"--namespaces={namespace}", f"--lease-namespace={namespace}"]
    command = [sys.executable, "-m", "tests.e2e.skewed_operator", str(60 * minutes), "run", *images, *where]
    process = subprocess.Popen([*command, "--probe-port=0"], cwd=ROOT, env=dict(os.environ))
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)
