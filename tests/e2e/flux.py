"""Flux's kustomize-controller as a process beside the cluster, and folders of manifests that it syncs.

A folder is packed into object storage and named by an ExternalArtifact, Flux's way for sources of other makers.
"""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import yaml

from devcluster.build import binary, build_all, find_go
from devcluster.pins import SOURCES
from devcluster.places import here
from devcluster.processes import until
from tests.e2e import image_sets
from tests.e2e.api_server import ApiServer, Object
from tests.e2e.object_store import ObjectStore

NAMESPACE, NAME = "flux-system", "kustomize-controller"
USER = f"system:serviceaccount:{NAMESPACE}:{NAME}"
KUSTOMIZATION, ARTIFACT = "Kustomization", "ExternalArtifact"
INTERVAL = "5s"
READY_SECONDS = 60.0
BUCKET = "gitops"
# The sources that kustomize-controller watches, whether there are any or not.
_SOURCES = ("buckets", "externalartifacts", "gitrepositories", "ocirepositories")


class Flux:
    """One running kustomize-controller.

    Args:
        api: the cluster.
        s3: where folders are packed into.
        log: the file that the controller writes to.
    """

    def __init__(self, api: ApiServer, s3: ObjectStore, log: Path) -> None:
        self.log = log
        self._api = api
        self._s3 = s3

    @contextmanager
    def running(self, kubeconfig: Path) -> Iterator[None]:
        """The controller with its kinds installed; what it synced and its kinds are gone afterwards."""
        build_all(here(), ["flux"])
        self._s3.ensure_bucket(BUCKET)
        kinds = list(_crds())
        for crd in kinds:
            self._api.apply(crd)
        for content in _account():
            self._api.apply(content)
        for crd in kinds:
            self._api.wait_for("CustomResourceDefinition", "", crd["metadata"]["name"], _established, "its kind")
        own = self._kubeconfig(kubeconfig)
        port = _free_port()
        command = [
            str(binary(here(), NAME)),
            "--feature-gates=ExternalArtifact=true",
            f"--health-addr=127.0.0.1:{port}",
            "--metrics-addr=0",
            "--max-retry-delay=5s",
            "--interval-jitter-percentage=0",
        ]
        environment = {"KUBECONFIG": str(own), "PATH": "/usr/bin:/bin", "HOME": str(self.log.parent)}
        with self.log.open("wb") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
            try:
                until(lambda: _answers(port) or process.poll() is not None, READY_SECONDS)
                assert _answers(port), f"kustomize-controller is not ready:\n{self.log.read_text()}"
                yield
                self._remove_all()
            finally:
                process.terminate()
                process.wait(timeout=30)
        for content in (*kinds, *_account()):
            self._api.delete(content["kind"], content["metadata"].get("namespace"), content["metadata"]["name"])

    def publish(self, namespace: str, name: str, files: Mapping[str, bytes]) -> str:
        """Make these the files of a folder, as a commit would; its revision."""
        packed = image_sets.tarred(files)
        digest = hashlib.sha256(packed).hexdigest()
        key = f"{namespace}/{name}/{digest}.tar.gz"
        self._s3.put(BUCKET, key, packed)
        metadata = {"name": name, "namespace": namespace}
        self._api.apply(
            {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": ARTIFACT, "metadata": metadata, "spec": {}}
        )
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        revision = f"main@sha256:{digest}"
        artifact = {
            "url": self._s3.link(BUCKET, key),
            "path": key,
            "revision": revision,
            "digest": f"sha256:{digest}",
            "lastUpdateTime": now,
        }
        ready = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": now}
        self._api.patch(
            ARTIFACT, namespace, name, {"status": {"artifact": artifact, "conditions": [ready]}}, sub="status"
        )
        return revision

    def sync(self, namespace: str, name: str, *, wait: bool = True, timeout: str = "5m") -> None:
        """Have the folder of that name synced into its namespace every few seconds, and waited for so long."""
        spec = {
            "interval": INTERVAL,
            "retryInterval": INTERVAL,
            "timeout": timeout,
            "prune": True,
            "wait": wait,
            "targetNamespace": namespace,
            "path": "./",
            "sourceRef": {"kind": ARTIFACT, "name": name},
        }
        metadata = {"name": name, "namespace": namespace}
        self._api.apply(
            {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": KUSTOMIZATION, "metadata": metadata, "spec": spec}
        )

    def wait_healthy(self, namespace: str, name: str, revision: str) -> Object:
        """The Kustomization, once everything of that revision is there and healthy."""
        return self._wait(namespace, name, ("lastAppliedRevision", revision), "True")

    def wait_unhealthy(self, namespace: str, name: str, revision: str) -> str:
        """What the Kustomization says, once something of that revision is not healthy."""
        found = self._wait(namespace, name, ("lastAttemptedRevision", revision), "False")
        return str(condition(found, "Healthy")["message"])

    def _wait(self, namespace: str, name: str, revision: tuple[str, str], healthy: str) -> Object:
        def holds(content: Object) -> bool:
            status = content.get("status", {})
            return revision in status.items() and condition(content, "Healthy").get("status") == healthy

        return self._api.wait_for(KUSTOMIZATION, namespace, name, holds, f"{revision[1]} with Healthy={healthy}")

    def remove(self, namespace: str, name: str) -> None:
        """Sync the folder no longer, and have everything pruned that it brought."""
        self._api.delete(KUSTOMIZATION, namespace, name)
        self._api.wait_gone(KUSTOMIZATION, namespace, name)

    def _remove_all(self) -> None:
        for content in self._api.objects(KUSTOMIZATION, None):
            self.remove(content["metadata"]["namespace"], content["metadata"]["name"])

    def _kubeconfig(self, administrators: Path) -> Path:
        """A kubeconfig of the controller's own account, so that the audit log tells its requests from others'."""
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{NAME}/token"
        wish = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}}
        token = self._api.request("POST", path, wish)["status"]["token"]
        content = yaml.safe_load(administrators.read_text())
        for user in content["users"]:
            user["user"] = {"token": token}
        own = self.log.with_name("flux.kubeconfig")
        own.write_text(yaml.safe_dump(content))
        return own


def condition(content: Object, kind: str) -> Object:
    """A condition of an object; empty where it has none of that type."""
    # Null, not absent, in a CRD that the API server has stored and not yet looked at.
    conditions: list[Object] = content.get("status", {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind), {})


def _crds() -> Iterator[Object]:
    """The CRDs that come with Flux's modules, in the versions that are pinned."""
    for module, plurals in (("kustomize-controller", ("kustomizations",)), ("source-controller", _SOURCES)):
        folder = _module_folder(f"github.com/fluxcd/{module}") / "config" / "crd" / "bases"
        for plural in plurals:
            (path,) = folder.glob(f"*_{plural}.yaml")
            yield yaml.safe_load(path.read_text())


def _module_folder(module: str) -> Path:
    go = find_go()
    assert go is not None, "the Go command is gone since the cluster was built"
    command = [go, "mod", "download", "-json", module]
    done = subprocess.run(command, cwd=SOURCES / "flux", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["Dir"])


def _account() -> Iterator[Object]:
    """The controller's account, with all rights, as Flux installs it."""
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": NAMESPACE}}
    yield {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "cluster-reconciler"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
    }


def _established(crd: Object) -> bool:
    return condition(crd, "Established").get("status") == "True"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
        return bool(answer.status == 200)
    return False
