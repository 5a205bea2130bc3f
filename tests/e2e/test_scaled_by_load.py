"""The default autoscaler, by CPU: more pods as soon as there is more to do, and a new version in the middle of that."""

from __future__ import annotations

import pytest

from tests.e2e.api_server import MODEL, ApiServer, Object
from tests.e2e.canaries import asks_about_digits
from tests.e2e.conftest import MakeNamespace, Sources
from tests.e2e.models import is_ready, message, model_url, quick_model, serves

NAME = "busy"
# An idle runtime needs less than 10m, and one that a steady client asks more than 20m.
SERVING = {
    "serving": {
        "autoscaling": {"minReplicas": 1, "maxReplicas": 3, "targetCPUUtilization": 50},
        "resources": {"requests": {"cpu": "25m"}},
    }
}


@pytest.fixture(scope="module")
def namespace(api: ApiServer, make_namespace: MakeNamespace, sources: Sources) -> str:
    """Where one model serves on one pod, and nobody asks it."""
    name = make_namespace("busy")
    api.apply(quick_model(name, NAME, SERVING, sources("first")))
    words = "version 1 serves on 1/1 pods"
    api.wait_for(MODEL, name, NAME, lambda seen: is_ready(seen) and message(seen) == words, words)
    return name


def _replicas(deployment: Object) -> int:
    return int(deployment["spec"]["replicas"])


def test_pods_come_with_the_load_and_a_new_version_meanwhile_and_no_request_fails(
    api: ApiServer, namespace: str, sources: Sources
) -> None:
    with (
        api.recorded("Deployment", namespace, NAME, _replicas) as asked,
        asks_about_digits(model_url(api, namespace, NAME)) as client,
    ):
        api.wait_for("Deployment", namespace, NAME, lambda seen: _replicas(seen) > 1, "a second pod for the load")
        scaler = api.get("HorizontalPodAutoscaler", namespace, NAME)
        assert scaler is not None
        assert [one["containerResource"]["name"] for one in scaler["spec"]["metrics"]] == ["cpu"]
        api.apply(quick_model(namespace, NAME, SERVING, sources("second")))
        api.wait_for(MODEL, namespace, NAME, serves(2), "version 2 on all pods")
        client.check()
    assert asked == sorted(set(asked)), f"the operator and the autoscaler did not agree: {asked}"
    model = api.get(MODEL, namespace, NAME)
    assert model is not None
    assert message(model) == f"version 2 serves on {asked[-1]}/{asked[-1]} pods"
