"""A real API server for the tests in this folder: the dev cluster, started if it is not up."""

import json
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config, watch

ROOT = Path(__file__).parents[2]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs an API server."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


def devcluster(command: str, *, seconds: int) -> subprocess.CompletedProcess[str]:
    """Run a command of the dev cluster."""
    words = [sys.executable, "-m", "devcluster", command]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds)


@pytest.fixture(scope="session")
def cluster_env() -> dict[str, str]:
    """What `devcluster env` exports: KUBECONFIG, where the object storage is, and DEVCLUSTER_BIN with kubectl in it."""
    said = devcluster("env", seconds=60)
    if said.returncode != 0:
        started = devcluster("up", seconds=1800)
        assert started.returncode == 0, f"`python3 -m devcluster up` failed:\n{started.stdout}{started.stderr}"
        said = devcluster("env", seconds=60)
        assert said.returncode == 0, f"`python3 -m devcluster env` failed:\n{said.stderr}"
    exported = (shlex.split(line)[1] for line in said.stdout.splitlines() if line.startswith("export "))
    # PATH is for a shell to put together.
    return {name: value for name, value in (pair.split("=", 1) for pair in exported) if name != "PATH"}


class Refused(Exception):  # noqa: N818 - named after what the API server did
    """The API server answered with an error."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = json.loads(body)

    @property
    def causes(self) -> list[tuple[str, str]]:
        """(field, sentence) for everything that was wrong."""
        causes = self.body.get("details", {}).get("causes") or [{"message": self.body["message"]}]
        return [(cause.get("field", "").replace("<nil>", ""), cause["message"]) for cause in causes]


class ApiServer:
    """Requests and answers as JSON, with the rights of an administrator."""

    def __init__(self, kubeconfig: str) -> None:
        self.client: client.ApiClient = config.new_client_from_config(kubeconfig)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> dict[str, Any]:
        """One request. Raises Refused."""
        wire = self.client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Accept": accept, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = self.client.call_api(*wire)
        text = answer.read().decode()
        if answer.status >= 400:
            raise Refused(answer.status, text)
        decoded: dict[str, Any] = json.loads(text)
        return decoded

    def apply(self, path: str, body: Any, **query: str) -> dict[str, Any]:
        """Server-side apply, as kubectl and GitOps tools do it; a field that is not known is an error."""
        query = {"fieldManager": "tests", "force": "true", "fieldValidation": "Strict"} | query
        return self.request("PATCH", path, body, content_type="application/apply-patch+yaml", **query)


@pytest.fixture(scope="session")
def api(cluster_env: dict[str, str]) -> ApiServer:
    """The API server of the cluster."""
    return ApiServer(cluster_env["KUBECONFIG"])


@pytest.fixture(scope="session")
def crds(api: ApiServer) -> dict[str, dict[str, Any]]:
    """The CRDs of this tree, applied and established; by kind, as the API server returns them."""
    wanted = [yaml.safe_load(file.read_text()) for file in sorted((ROOT / "crds").glob("keras-operator.dev_*.yaml"))]
    assert wanted, f"no CRDs in {ROOT / 'crds'}: run python -m keras_operator.api.generate"
    for crd in wanted:
        api.apply(f"{CRDS}/{crd['metadata']['name']}", crd)
    names = {crd["metadata"]["name"]: crd["spec"]["names"]["kind"] for crd in wanted}
    established: dict[str, dict[str, Any]] = {}
    extensions = client.ApiextensionsV1Api(api.client)
    for event in watch.Watch().stream(extensions.list_custom_resource_definition, timeout_seconds=60):
        crd = event["raw_object"]
        # Null, not absent, in a CRD that the API server has stored and not yet looked at.
        said = crd.get("status", {}).get("conditions") or ()
        conditions = {one["type"]: one["status"] for one in said}
        if crd["metadata"]["name"] in names and conditions.get("Established") == "True":
            established[names[crd["metadata"]["name"]]] = crd
        if len(established) == len(names):
            return established
    raise AssertionError(f"only {sorted(established)} of {sorted(names.values())} were established within 60 s")


@pytest.fixture(scope="module")
def namespace(api: ApiServer) -> Iterator[str]:
    """A namespace of this module's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    api.request("DELETE", f"/api/v1/namespaces/{name}")
