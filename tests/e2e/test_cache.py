"""A volume that keeps servables, or training data: who comes second takes them from there; and claims without one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.demo.kubectl import Kubectl
from tests.e2e.api_server import MODEL, VERSION, ApiServer, Object
from tests.e2e.conftest import Served
from tests.e2e.models import conditions, is_ready, is_stalled, message, quick_model
from tests.e2e.object_store import ObjectStore
from tests.e2e.ready_versions import apply_with_version, copy_servable

PODS = "keras-operator.dev/model=cached,app.kubernetes.io/component=serving"
FETCHED = re.compile(r"fetched version 1: (\d+) bytes in [0-9.]+ s, (\d+) from the cache")


def cached(namespace: str, claim: str) -> Object:
    """A model that has a cache."""
    return quick_model(namespace, "cached", {"serving": {"cache": {"claimName": claim, "maxGigabytes": 1}}})


def claim(namespace: str, name: str) -> Object:
    """A claim for the volume of this name, which no provisioner makes."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "volumeName": f"{namespace}-{name}",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


@pytest.fixture
def volume(api: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Object]:
    """A folder of the node, as its admin offers it to the claim `servables`; not yet applied."""
    folder = tmp_path / "servables"
    folder.mkdir()
    name = f"{namespace}-servables"
    (node,) = api.objects("Node", None)
    host = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node["metadata"]["name"]]}
    yield {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [host]}]}},
        },
    }
    api.delete("PersistentVolume", None, name)


def fetches(kubectl: Kubectl, api: ApiServer, namespace: str) -> list[tuple[int, int]]:
    """Of each serving pod's servable: its bytes, and how many of them came from the cache; the older pod first."""
    pods = sorted(api.objects("Pod", namespace, PODS), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    logs = [kubectl.run("logs", "-n", namespace, pod["metadata"]["name"], "-c", "agent") for pod in pods]
    return [(int(size), int(kept)) for log in logs for size, kept in FETCHED.findall(log)]


def test_the_second_pod_takes_the_servable_from_the_volume(
    api: ApiServer, kubectl: Kubectl, s3: ObjectStore, namespace: str, digits_model: Served, volume: Object
) -> None:
    copy_servable(s3, digits_model, namespace, "cached")
    api.apply(volume)
    api.apply(claim(namespace, "servables"))
    apply_with_version(api, cached(namespace, "servables"))
    api.wait_for(MODEL, namespace, "cached", is_ready, "a model that serves with a cache")
    ((size, kept),) = fetches(kubectl, api, namespace)
    assert (size > 0, kept) == (True, 0)

    api.patch(MODEL, namespace, "cached", {"spec": {"serving": {"replicas": 2}}})
    api.wait_for(MODEL, namespace, "cached", is_ready, "a second pod that serves")
    assert sorted(fetches(kubectl, api, namespace)) == [(size, 0), (size, size)]


def test_a_claim_that_is_missing_or_has_no_volume_is_said(
    api: ApiServer, s3: ObjectStore, namespace: str, digits_model: Served, volume: Object
) -> None:
    copy_servable(s3, digits_model, namespace, "cached")
    apply_with_version(api, cached(namespace, "servables"))
    model = api.wait_for(MODEL, namespace, "cached", is_stalled, "a sentence about the claim")
    assert conditions(model)["Stalled"]["reason"] == "VolumeClaimNotFound"
    assert (
        f"PersistentVolumeClaim servables is not in namespace {namespace}: create it there or correct "
        "spec.serving.cache" in message(model)
    )

    def unbound(model: Object) -> bool:
        return conditions(model).get("Stalled", {}).get("reason") == "VolumeClaimNotBound"

    api.apply(claim(namespace, "servables"))
    model = api.wait_for(MODEL, namespace, "cached", unbound, "a sentence about the volume")
    assert f"has no volume: 0/1 nodes are available: {WAITS}; see kubectl get pvc -n {namespace}" in message(model)
    api.apply(volume)
    api.wait_for(MODEL, namespace, "cached", is_ready, "a model that serves once there is a volume")


READ = re.compile(r"(\d+) bytes of the data came from the cache, (\d+) from the store")


def test_the_second_training_takes_the_data_from_the_volume(
    api: ApiServer, kubectl: Kubectl, s3: ObjectStore, namespace: str, volume: Object
) -> None:
    def learned(number: int) -> list[tuple[int, int]]:
        """Bytes that a version's training took from the cache, and from the store."""
        api.wait_for(VERSION, namespace, f"learned-{number}", is_published, f"version {number}")
        log = kubectl.run("logs", "-n", namespace, f"job/learned-{number}-train")
        return [(int(kept), int(fetched)) for kept, fetched in READ.findall(log)]

    api.apply(volume)
    api.apply(claim(namespace, "servables"))
    cache = {"claimName": "servable"}
    changes = {"training": {"epochs": 1, "data": {"cache": cache}}}
    api.apply(quick_model(namespace, "learned", changes))
    missing = f"PersistentVolumeClaim servable is not in namespace {namespace}: create it there or correct "
    said = missing + "spec.training.data.cache"
    api.wait_for(MODEL, namespace, "learned", lambda model: said in message(model), "a sentence about the claim")

    cache["claimName"] = "servables"
    api.patch(MODEL, namespace, "learned", {"spec": {"training": {"data": {"cache": cache}}}})
    ((kept, fetched),) = learned(1)
    assert (kept, fetched > 0) == (0, True)

    api.patch(MODEL, namespace, "learned", {"spec": {"training": {"epochs": 2}}})
    assert learned(2) == [(fetched, 0)]
    assert len(api.objects(VERSION, namespace, "keras-operator.dev/model=learned")) == 2


def is_published(version: Object) -> bool:
    """Whether a version is made."""
    return (version.get("status") or {}).get("phase") == "Published"


WAITS = "pod has unbound immediate PersistentVolumeClaims"
