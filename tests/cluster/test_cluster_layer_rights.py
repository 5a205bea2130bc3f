"""The rights in manifests/ on a real API server: enough for all that the operator does, and no more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from keras_operator.cluster.client import Client
from keras_operator.cluster.connection import connect
from keras_operator.cluster.failure import Forbidden
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.reference import (
    CONFIG_MAP,
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    JOB,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
    Ref,
)
from keras_operator.kinds import MODEL, VERSION
from keras_operator.lifecycle import Lifecycle
from keras_operator.settings import Settings

BASE = Path(__file__).parents[2] / "manifests/base"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
SECRET = Kind("", "v1", "secrets", "Secret")


def rules(file: str) -> list[dict[str, Any]]:
    """The rules of the first role in one of the operator's manifests."""
    role = next(iter(yaml.safe_load_all((BASE / file).read_text())))
    found: list[dict[str, Any]] = role["rules"]
    return found


class Account:
    """A ServiceAccount in a namespace of its own, with a kubeconfig that carries its token."""

    def __init__(self, api: Any, admin: str, folder: Path) -> None:
        self.api = api
        self.namespace = f"rights-{uuid.uuid4().hex[:8]}"
        self.kubeconfig = folder / "kubeconfig"
        self._cluster_wide: list[str] = []
        api.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        accounts = f"/api/v1/namespaces/{self.namespace}/serviceaccounts"
        api.request("POST", accounts, {"metadata": {"name": "keras-operator"}})
        token = api.request("POST", f"{accounts}/keras-operator/token", {"spec": {"expirationSeconds": 3600}})
        document = yaml.safe_load(Path(admin).read_text())
        for user in document["users"]:
            user["user"] = {"token": token["status"]["token"]}
        self.kubeconfig.write_text(json.dumps(document))

    def grant(self, granted: list[dict[str, Any]]) -> None:
        """Allow something in the account's own namespace."""
        self._bind("Role", f"{RBAC}/namespaces/{self.namespace}", "roles", "rolebindings", granted)

    def grant_everywhere(self, granted: list[dict[str, Any]]) -> None:
        """Allow something in all namespaces."""
        name = self._bind("ClusterRole", RBAC, "clusterroles", "clusterrolebindings", granted)
        self._cluster_wide += [f"{RBAC}/clusterrolebindings/{name}", f"{RBAC}/clusterroles/{name}"]

    def _bind(self, kind: str, root: str, roles: str, bindings: str, granted: list[dict[str, Any]]) -> str:
        name = f"{self.namespace}-{uuid.uuid4().hex[:4]}"
        self.api.request("POST", f"{root}/{roles}", {"metadata": {"name": name}, "rules": granted})
        subject = {"kind": "ServiceAccount", "name": "keras-operator", "namespace": self.namespace}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
        binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
        self.api.request("POST", f"{root}/{bindings}", binding)
        return name

    def remove(self) -> None:
        for path in self._cluster_wide:
            self.api.request("DELETE", path)
        self.api.request("DELETE", f"/api/v1/namespaces/{self.namespace}")


@pytest.fixture
def account(api: Any, crds: Any, cluster_env: dict[str, str], tmp_path: Path) -> Iterator[Account]:
    account = Account(api, cluster_env["KUBECONFIG"], tmp_path)
    yield account
    account.remove()


@pytest.fixture
async def client(account: Account) -> AsyncIterator[Client]:
    """A client that may do what the operator may, in one namespace."""
    account.grant(rules("cluster-role.yaml"))
    client = Client(await connect(str(account.kubeconfig)), (MODEL, VERSION), Metrics())
    # The authorizer learns of a new binding from its own watch.
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(Forbidden):
                await client.list_metadata(MODEL, namespace=account.namespace)
                break
            await asyncio.sleep(0.05)
    yield client
    await client.close()


def manifest(kind: Kind, namespace: str, name: str, **content: Any) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content}


POD = {"containers": [{"name": "main", "image": "none.invalid/none:1"}], "restartPolicy": "Never"}
LABELS = {"app": "dogs"}
APPLIED: dict[Kind, dict[str, Any]] = {
    SERVICE_ACCOUNT: {},
    SERVICE: {"spec": {"selector": LABELS, "ports": [{"port": 80}]}},
    DEPLOYMENT: {
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": {"containers": POD["containers"]}},
        }
    },
    HORIZONTAL_POD_AUTOSCALER: {
        "spec": {
            "maxReplicas": 2,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "dogs"},
        }
    },
    POD_DISRUPTION_BUDGET: {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": LABELS}}},
    NETWORK_POLICY: {"spec": {"podSelector": {"matchLabels": LABELS}}},
    CONFIG_MAP: {"data": {"version": "1"}},
}
# What a change of the model makes superfluous: the last two are TensorBoard's.
DELETED = (HORIZONTAL_POD_AUTOSCALER, POD_DISRUPTION_BUDGET, DEPLOYMENT, SERVICE)


@pytest.mark.parametrize("kind", APPLIED, ids=str)
async def test_children_may_be_applied_and_changed_and_some_of_them_deleted(client, account, kind):
    wanted = manifest(kind, account.namespace, "dogs", **APPLIED[kind])
    await client.apply(wanted)
    wanted["metadata"]["annotations"] = {"changed": "yes"}
    made = await client.apply(wanted)
    ref, uid = Ref(kind, account.namespace, "dogs"), made["metadata"]["uid"]
    if kind in DELETED:
        assert await client.delete(ref, uid)
    else:
        with pytest.raises(Forbidden):
            await client.delete(ref, uid)


async def test_jobs_may_be_created_and_deleted_and_not_changed(client, account):
    job = manifest(JOB, account.namespace, "train", spec={"suspend": True, "template": {"spec": POD}})
    made = await client.create(job)
    with pytest.raises(Forbidden, match=r'cannot patch resource "jobs"'):
        await client.apply({**job, "spec": {**job["spec"], "suspend": False}})
    assert await client.delete(Ref(JOB, account.namespace, "train"), made["metadata"]["uid"])


async def test_a_models_status_may_be_written_and_its_spec_may_not(client, account, api):
    spec = {"source": {"uri": "s3://models/uploads/dogs"}, "store": {"uri": "s3://models/dogs"}}
    model = manifest(MODEL, account.namespace, "dogs", spec=spec)
    with pytest.raises(Forbidden, match=r'cannot create resource "kerasmodels"'):
        await client.create(model)
    made = api.request("POST", MODEL.path(account.namespace), model)
    ref, uid = Ref(MODEL, account.namespace, "dogs"), made["metadata"]["uid"]
    assert (await client.apply_status(ref, uid, {"phase": "Pending"}))["status"]["phase"] == "Pending"
    for write in (client.apply({**model, "spec": {**spec, "suspend": True}}), client.delete(ref, uid)):
        with pytest.raises(Forbidden):
            await write
    await client.event(ref, uid, reason="Seen", note="a sentence", action="Look")
    await client.event(ref, uid, reason="Seen", note="a sentence", action="Look")
    assert [record.reason for record in await client.events_for(ref, uid)] == ["Seen"]


async def test_no_secret_may_be_read_in_any_way(client, account, api):
    api.request("POST", SECRET.path(account.namespace), {"metadata": {"name": "minio"}, "stringData": {"key": "value"}})
    with pytest.raises(Forbidden):
        await client.get(Ref(SECRET, account.namespace, "minio"))
    with pytest.raises(Forbidden):
        await client.list_metadata(SECRET, namespace=account.namespace)


@pytest.mark.parametrize("everywhere", [False, True], ids=["one namespace", "all namespaces"])
async def test_the_process_becomes_ready_and_leads_with_these_rights(account, everywhere):
    (account.grant_everywhere if everywhere else account.grant)(rules("cluster-role.yaml"))
    account.grant(rules("leader-election-role.yaml"))
    settings = Settings(
        "trainer",
        "server",
        "serving",
        namespaces=() if everywhere else (account.namespace,),
        lease_namespace=account.namespace,
        probe_port=0,
    )
    reconciled: list[tuple[str, str]] = []

    def make_reconciler(*_: Any, **__: Any) -> Any:
        async def reconcile(key: tuple[str, str]) -> None:
            reconciled.append(key)

        return reconcile

    connection = await connect(str(account.kubeconfig))
    lifecycle = Lifecycle(settings, connection, make_reconciler, lambda _, body: repr(body.get("spec")))
    task = asyncio.create_task(lifecycle.run())
    spec = {"source": {"uri": "s3://models/uploads/dogs"}, "store": {"uri": "s3://models/dogs"}}
    account.api.request("POST", MODEL.path(account.namespace), manifest(MODEL, account.namespace, "dogs", spec=spec))
    async with asyncio.timeout(40):
        while (account.namespace, "dogs") not in reconciled:
            assert not task.done(), task.exception()
            await asyncio.sleep(0.05)
    lifecycle.stop()
    await asyncio.wait_for(task, 20)
