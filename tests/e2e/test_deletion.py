"""Deleting a model: nothing of it stays in the cluster, and what it published stays in the store."""

from __future__ import annotations

from tests.e2e.api_server import MODEL, VERSION, ApiServer, Object
from tests.e2e.conftest import Served
from tests.e2e.models import is_ready, phase, quick_model, serves, store_prefix
from tests.e2e.object_store import ObjectStore
from tests.e2e.operator_process import Operator

NAME = "leaving"


def test_deletion_needs_no_operator_and_spares_the_store(
    api: ApiServer, s3: ObjectStore, operator: Operator, namespace: str
) -> None:
    api.apply(quick_model(namespace, NAME, {"serving": {"replicas": 2}}))
    api.wait_for(MODEL, namespace, NAME, is_ready, "a first version that serves")
    prefix = store_prefix(namespace, NAME)
    published = s3.checksums("models", prefix)
    kinds = {content["kind"] for content in api.everything(namespace, _of(NAME))}
    assert kinds >= {VERSION, "Job", "Deployment", "Service", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget"}

    with operator.stopped():
        api.delete(MODEL, namespace, NAME)
        _wait_for_nothing_left(api, namespace, NAME)
    assert s3.checksums("models", prefix) == published, "the store was touched"

    api.apply(quick_model(namespace, NAME))
    api.wait_for(MODEL, namespace, NAME, serves(2), "a namesake with a fresh number")
    assert s3.checksums("models", f"{prefix}/1").items() <= published.items(), "version 1 was overwritten"


def test_a_model_deleted_in_training_takes_its_job_along(api: ApiServer, neighbour: Served, victim: str) -> None:
    namespace = neighbour.namespace
    api.apply(quick_model(namespace, victim, {"training": {"epochs": 100_000}}))
    api.wait_for(MODEL, namespace, victim, _is_at_its_epochs, "a training under way")
    (pod,) = api.objects("Pod", namespace, _of(victim))

    api.delete(MODEL, namespace, victim)
    api.wait_gone("Job", namespace, f"{victim}-1-train")
    api.wait_gone("Pod", namespace, pod["metadata"]["name"])
    _wait_for_nothing_left(api, namespace, victim)


def _is_at_its_epochs(model: Object) -> bool:
    return phase(model) == "Training" and model["status"].get("progress", {}).get("epoch", 0) > 0


def _of(name: str) -> str:
    return f"keras-operator.dev/model={name}"


def _wait_for_nothing_left(api: ApiServer, namespace: str, name: str) -> None:
    """Wait for each object of the model that is there, then look once more through every kind."""
    for content in api.everything(namespace, _of(name)):
        api.wait_gone(content["kind"], namespace, content["metadata"]["name"])
    left = [f"{content['kind']} {content['metadata']['name']}" for content in api.everything(namespace, _of(name))]
    assert not left, f"left behind: {', '.join(left)}"
