"""The namespaced overlay: an operator with a Role in one namespace serves that one, and asks for nothing elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from benchmarks.demo.kubectl import Kubectl
from tests.e2e.api_server import MODEL, ApiServer, Object
from tests.e2e.audit_log import AuditLog
from tests.e2e.conftest import MakeNamespace, Served
from tests.e2e.models import is_ready, quick_model
from tests.e2e.object_store import ObjectStore
from tests.e2e.operator_process import Operator
from tests.e2e.ready_versions import apply_with_version, copy_servable

OVERLAYS = Path(__file__).resolve().parents[2] / "manifests/overlays"
PLACEHOLDER = "keras-models"
NAME = "keras-operator"


@pytest.fixture
def served(
    api: ApiServer, kubectl: Kubectl, operator: Operator, make_namespace: MakeNamespace, digits_model: Served
) -> Iterator[str]:
    """A namespace with an operator of its own, while the one for all namespaces is stopped."""
    del digits_model  # made before the operator stops
    namespace = make_namespace("served")
    documents = _documents(kubectl, namespace)
    kinds = {document["kind"] for document in documents}
    assert {"Role", "RoleBinding", "Deployment"} <= kinds
    assert not {kind for kind in kinds if kind.startswith("Cluster")}, "a right beyond the namespace"
    with operator.stopped():
        for document in documents:
            api.apply(document)
        yield namespace
        api.delete("Deployment", namespace, NAME)


def _documents(kubectl: Kubectl, namespace: str) -> list[Object]:
    """The overlay's objects, in this namespace and with the images that were built here, without CRDs and namespace."""
    text = kubectl.run("kustomize", str(OVERLAYS / "namespaced")).replace(PLACEHOLDER, namespace)
    here = yaml.safe_load((OVERLAYS / "dev/deployment.yaml").read_text())["spec"]["template"]["spec"]["containers"][0]
    documents = [
        document
        for document in yaml.safe_load_all(text)
        if document["kind"] not in ("CustomResourceDefinition", "Namespace")
    ]
    for document in documents:
        if document["kind"] == "Deployment":
            (container,) = document["spec"]["template"]["spec"]["containers"]
            changed = {variable["name"] for variable in here["env"]}
            container["env"] = [one for one in container["env"] if one["name"] not in changed] + here["env"]
            container |= {"image": "docker.io/keras-operator/operator:dev", "imagePullPolicy": "IfNotPresent"}
    return documents


def test_one_namespace_is_served_with_a_role_only_and_the_other_left_alone(
    api: ApiServer,
    audit: AuditLog,
    s3: ObjectStore,
    make_namespace: MakeNamespace,
    digits_model: Served,
    served: str,
) -> None:
    other, start = make_namespace("unserved"), audit.end()
    for namespace in (other, served):
        copy_servable(s3, digits_model, namespace, "digits")
        apply_with_version(api, quick_model(namespace, "digits"))

    api.wait_for(MODEL, served, "digits", is_ready, "a model that serves")
    left_alone = api.get(MODEL, other, "digits")
    assert left_alone is not None
    assert "phase" not in left_alone.get("status", {}), "somebody looked after it"
    assert not api.objects("Service", other)

    user = f"system:serviceaccount:{served}:{NAME}"
    requests = [request for request in audit.since(start) if request.user == user and request.resource]
    assert {request.namespace for request in requests} == {served}
    assert not [str(request) for request in requests if request.code == 403]
