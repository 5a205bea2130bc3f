"""Whoever may only write KerasModels gains nothing by it: no account, no host, no other Secret, no structure of a pod.

Nothing runs here: a quota without pods lets the operator make its Jobs and Deployments, which are what is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from benchmarks.demo.errors import DemoError
from benchmarks.demo.kubectl import Kubectl
from tests.e2e.api_server import MODEL, ApiServer, Object, RefusedError
from tests.e2e.conftest import MakeNamespace
from tests.e2e.models import conditions, message, phase, quick_model
from tests.e2e.ready_versions import apply_with_version

HOST = [{"name": "host", "hostPath": {"path": "/"}}]
SELECTOR = "keras-operator.dev/model={}"


@pytest.fixture(scope="module")
def namespace(api: ApiServer, make_namespace: MakeNamespace) -> Iterator[str]:
    """Where Jobs and Deployments are made and no pods."""
    name = make_namespace("escapes")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": name}}
    api.apply({**quota, "spec": {"hard": {"pods": "0"}}})
    yield name
    for model in api.objects(MODEL, name):
        api.delete(MODEL, name, model["metadata"]["name"])


UNKNOWN: dict[str, tuple[str, ...]] = {
    "a service account": ("serving", "serviceAccountName"),
    "a service account of the training": ("training", "serviceAccountName"),
    "a host path": ("serving", "volumes"),
    "a host path of the training": ("training", "volumes"),
    "an image": ("serving", "image"),
    "an image of the training": ("training", "image"),
    "a command": ("serving", "command"),
    "environment": ("training", "env"),
    "a security context": ("serving", "securityContext"),
    "the host's network": ("serving", "hostNetwork"),
    "a node": ("serving", "nodeName"),
    "annotations": ("serving", "annotations"),
    "a pod template": ("serving", "template"),
    "a Secret's namespace": ("store", "credentials", "namespace"),
}


@pytest.mark.parametrize("path", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_there_is_no_field_for_it(api: ApiServer, namespace: str, path: tuple[str, ...]) -> None:
    change: Any = HOST if path[-1] == "volumes" else "kube-system"
    for name in reversed(path):
        change = {name: change}
    document = quick_model(namespace, "wishful", change)
    with pytest.raises(RefusedError, match=f"field not declared in schema|unknown field.*{path[-1]}"):
        api.apply(document)
    # Whoever asks the API server not to be strict is not heard either.
    where = api.path(MODEL, namespace)
    made = api.request("POST", where, document, query={"fieldValidation": "Ignore", "dryRun": "All"})
    for name in path[:-1]:
        made = made["spec"][name] if "spec" in made else made[name]
    assert path[-1] not in made


BENIGN = "benign"
URI = "s3://models/{}"
HOSTILE = {
    "quotes": URI.format("a'\"b"),
    "a flow mapping": URI.format("{hostNetwork:true,x:[1]}"),
    "the end of a string and of an object": URI.format('x"}],"hostPID":true,"a":[{"b":"'),
    "a template": URI.format("{{owner_uid}}{%for-x-in-y%}"),
    "a variable of the container": URI.format("$(AWS_SECRET_ACCESS_KEY)/$$(HOME)"),
    "a comment": URI.format("a/&anchor/*alias/!!python"),
    "a flag": URI.format("--endpoint=http:/evil"),
    "letters beyond ASCII": URI.format("mod\u00e8le/\u72ac/\u0437\u0443"),
}
NAMES = {text: f"hostile-{number}" for number, text in enumerate(HOSTILE)}


@pytest.fixture(scope="module")
def children(api: ApiServer, namespace: str) -> Mapping[str, tuple[Object, Object]]:
    """By name of a model: the Job and the Deployment that the operator makes for it."""
    uris = {BENIGN: URI.format("plain"), **{NAMES[text]: uri for text, uri in HOSTILE.items()}}
    for name, uri in uris.items():
        api.apply(quick_model(namespace, name, {"store": {"uri": f"{uri}/{name}"}}))
        served = f"{name}-s"
        apply_with_version(api, quick_model(namespace, served, {"store": {"uri": f"{uri}/{served}"}}))
    return {
        name: (
            api.wait_for("Job", namespace, f"{name}-1-train", lambda _: True, "a Job"),
            api.wait_for("Deployment", namespace, f"{name}-s", lambda _: True, "a Deployment"),
        )
        for name in uris
    }


@pytest.mark.parametrize("text", HOSTILE)
def test_no_address_changes_what_a_pod_is(children: Mapping[str, tuple[Object, Object]], text: str) -> None:
    name = NAMES[text]
    for benign, hostile in zip(children[BENIGN], children[name], strict=True):
        words = json.dumps(hostile["spec"]["template"]["spec"])
        assert _shape(hostile["spec"]["template"]["spec"]) == _shape(benign["spec"]["template"]["spec"])
        assert "$(" not in words.replace("$$", ""), "the kubelet would put a variable in its place"
    job, deployment = children[name]
    (environment,) = [
        one["value"] for one in job["spec"]["template"]["spec"]["containers"][0]["env"] if one["name"] == "KERAS_RUN"
    ]
    assert json.loads(environment.replace("$$", "$"))["store"]["uri"] == f"{HOSTILE[text]}/{name}"
    (agent,) = deployment["spec"]["template"]["spec"]["initContainers"]
    assert agent["args"][0].replace("$$", "$") == f"--store-uri={HOSTILE[text]}/{name}-s"


def _shape(value: Any) -> Any:
    """Everything but what is written in strings that differ from model to model."""
    if isinstance(value, dict):
        own = {"KERAS_RUN"}
        return {
            key: "" if value.get("name") in own and key == "value" else _shape(inner) for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    if isinstance(value, str) and (value.startswith(("--store-uri=", "--model-name="))):
        return value.partition("=")[0]
    return "" if isinstance(value, str) and value.startswith((BENIGN, "hostile-")) else value


REFUSED = {
    "a variable in the endpoint": {"store": {"endpoint": "http://$(AWS_SECRET_ACCESS_KEY).evil.example"}},
    "a path in the endpoint": {"store": {"endpoint": "http://169.254.169.254/latest/meta-data"}},
    "a line break in an address": {"store": {"uri": "s3://models/a\n    hostPID: true"}},
    "a variable in the served name": {"serving": {"modelName": "$(AWS_SECRET_ACCESS_KEY)"}},
    "a path in the served name": {"serving": {"modelName": "../../etc"}},
    "another namespace's Secret": {"store": {"credentials": {"secretName": "kube-system/token"}}},
    "a file of the node": {"training": {"data": {"uri": "file:///etc"}}},
    "a store on the node": {"store": {"uri": "file:///var/lib/kubelet"}},
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED.keys())
def test_what_would_lead_elsewhere_is_refused_at_apply(api: ApiServer, namespace: str, change: Any) -> None:
    with pytest.raises(RefusedError) as refused:
        api.apply(quick_model(namespace, "sly", change))
    assert refused.value.status == 422


def test_labels_and_annotations_of_a_model_reach_no_pod(api: ApiServer, namespace: str) -> None:
    document = quick_model(namespace, "marked")
    document["metadata"] |= {
        "labels": {"azure.workload.identity/use": "true", "keras-operator.dev/version": "7"},
        "annotations": {"sidecar.istio.io/inject": "true", "container.apparmor.security.beta.kubernetes.io/train": "x"},
    }
    api.apply(document)
    job = api.wait_for("Job", namespace, "marked-1-train", lambda _: True, "a Job")
    assert job["spec"]["template"]["metadata"]["labels"]["keras-operator.dev/version"] == "1"
    text = json.dumps(job)
    assert not [key for key in ("azure.workload", "istio.io", "apparmor") if key in text]


@pytest.mark.parametrize("name", ["deployer", "default"])
def test_nothing_runs_in_the_name_of_an_account_that_is_there(api: ApiServer, namespace: str, name: str) -> None:
    metadata = {"name": "deployer", "namespace": namespace, "annotations": {"example.com/role": "admin"}}
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    before = api.get("ServiceAccount", namespace, name)
    api.apply(quick_model(namespace, name))
    said = (
        f"ServiceAccount {name} exists in namespace {namespace} and does not belong to this model: delete or rename "
        "it, or give the model another name"
    )
    api.wait_for(MODEL, namespace, name, lambda seen: message(seen) == said, said)
    assert api.get("ServiceAccount", namespace, name) == before
    assert not api.objects("Job", namespace, SELECTOR.format(name))
    # The version is there all the same: it is only what runs that waits.
    api.delete(MODEL, namespace, name)


def test_a_secret_of_another_namespace_is_not_found(
    api: ApiServer, namespace: str, make_namespace: MakeNamespace
) -> None:
    make_namespace("other")  # which has a Secret `minio`, as this one has
    api.apply(quick_model(namespace, "reader"))
    job = api.wait_for("Job", namespace, "reader-1-train", lambda _: True, "a Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    references = [one["valueFrom"]["secretKeyRef"] for one in container["env"] if "valueFrom" in one]
    assert references
    assert all(set(reference) <= {"name", "key", "optional"} for reference in references)
    assert "volumes" not in container
    assert [sorted(volume) for volume in job["spec"]["template"]["spec"]["volumes"]] == [["emptyDir", "name"]]
    assert job["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


CAN = {
    ("create", "kerasmodels"): True,
    ("patch", "kerasmodels"): True,
    ("get", "kerasmodels"): False,
    ("create", "kerasmodelversions"): False,
    ("patch", "kerasmodelversions"): False,
    ("delete", "kerasmodelversions"): True,
    ("patch", "kerasmodels/status"): False,
    ("patch", "kerasmodelversions/status"): False,
    ("create", "pods"): False,
    ("create", "jobs"): False,
    ("get", "secrets"): False,
    ("create", "serviceaccounts/token"): False,
}


@pytest.fixture(scope="module")
def author(api: ApiServer, namespace: str) -> str:
    """Somebody who may edit models and nothing else; with `view` comes reading."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "keras-operator-edit"}
    subject = {"kind": "ServiceAccount", "name": "author", "namespace": namespace}
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "author", "namespace": namespace}})
    binding = {"roleRef": role, "subjects": [subject], "metadata": {"name": "author", "namespace": namespace}}
    api.apply({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", **binding})
    return f"system:serviceaccount:{namespace}:author"


@pytest.mark.parametrize(("right", "may"), CAN.items(), ids=[" ".join(right) for right in CAN])
def test_an_author_may_write_models_and_nothing_that_the_operator_writes(
    kubectl: Kubectl, namespace: str, author: str, right: tuple[str, str], may: bool
) -> None:
    verb, what = right
    resource, _, sub = what.partition("/")
    asked = ("auth", "can-i", verb, resource, "-n", namespace, f"--as={author}")
    try:
        answer = kubectl.run(*asked, *([f"--subresource={sub}"] if sub else [])).strip()
    except DemoError:
        answer = "no"  # kubectl ends with status 1
    assert (answer == "yes") is may


def test_a_forged_status_is_corrected(api: ApiServer, namespace: str) -> None:
    name = "forged"
    api.apply(quick_model(namespace, name, {"suspend": True}))
    api.wait_for(MODEL, namespace, name, lambda seen: phase(seen) == "Suspended", "a status")
    forged = {"phase": "Serving", "servingVersion": 9, "message": "all is well", "conditions": []}
    api.patch(MODEL, namespace, name, {"status": forged}, sub="status")
    corrected = api.wait_for(MODEL, namespace, name, lambda seen: phase(seen) == "Suspended", "what is so")
    assert conditions(corrected)["Ready"]["status"] == "False"
    assert "servingVersion" not in corrected["status"]
