"""Autoscalers as a real API server keeps them: what it adds to them is no drift, and what is taken back is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from keras_operator.api import API_VERSION
from keras_operator.plan.drift import drifted
from keras_operator.render import Renderer

from tests.cluster.document_tables import RIGHT
from tests.cluster.life_of_a_model import Life

Autoscaler = Callable[[dict[str, Any]], dict[str, Any]]
BY_MEMORY = {
    "metrics": [
        {
            "type": "Resource",
            "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1024Mi"}},
        },
        {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "0.5"}}},
        {"type": "External", "external": {"metric": {"name": "line"}, "target": {"type": "Value", "value": 1000}}},
    ]
}
POLICIES = [
    {"type": "Pods", "value": 2, "periodSeconds": 60},
    {"type": "Pods", "value": 1, "periodSeconds": 15},
]
BEHAVIORS = {
    "none": {},
    "empty": {"behavior": {}},
    "one side, empty": {"behavior": {"scaleDown": {}}},
    "one number": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}}},
    "policies of one type": {"behavior": {"scaleUp": {"policies": POLICIES, "selectPolicy": "Min"}}},
    "never down": {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}},
}


@pytest.fixture
def render(api, crds, namespace) -> Autoscaler:
    """The manifest of the autoscaler of a model with such `autoscaling`."""

    def made(autoscaling: dict[str, Any]) -> dict[str, Any]:
        model = {
            "apiVersion": API_VERSION,
            "kind": "KerasModel",
            "metadata": {"name": "dogs"},
            "spec": RIGHT["source"] | {"serving": {"autoscaling": autoscaling}},
        }
        path = f"/apis/{API_VERSION}/namespaces/{namespace}/kerasmodels"
        body = api.request("POST", path, model, dryRun="All", fieldValidation="Strict")
        manifests = Life(Renderer()).children(body)
        manifest = next(one for one in manifests if one["kind"] == "HorizontalPodAutoscaler")
        # Its owner is not there: Kubernetes would collect it.
        del manifest["metadata"]["ownerReferences"]
        return manifest

    return made


@pytest.fixture
def apply(api, namespace) -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """What the API server makes of a manifest."""
    path = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"
    yield lambda manifest: api.apply(f"{path}/{manifest['metadata']['name']}", manifest)
    api.request("DELETE", path)


@pytest.mark.parametrize("behavior", BEHAVIORS.values(), ids=BEHAVIORS.keys())
def test_what_the_api_server_makes_of_an_autoscaler_is_no_drift(render, apply, behavior):
    manifest = render(BY_MEMORY | behavior)
    live = apply(manifest)
    assert not drifted(manifest, msgspec.json.encode(live))
    assert apply(manifest)["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]


def test_a_behavior_that_is_taken_back_gives_way_to_what_kubernetes_does(render, apply):
    apply(render(BY_MEMORY | {"behavior": {"scaleUp": {"policies": POLICIES}, "scaleDown": {"selectPolicy": "Min"}}}))
    manifest = render(BY_MEMORY)
    live = apply(manifest)
    assert not drifted(manifest, msgspec.json.encode(live))
    left = live["spec"].get("behavior", {})
    assert left.get("scaleUp", {}).get("policies") != POLICIES
    assert left.get("scaleDown", {}).get("selectPolicy", "Max") == "Max"


def test_metrics_that_are_taken_back_are_gone(render, apply):
    apply(render(BY_MEMORY))
    live = apply(render({"metrics": BY_MEMORY["metrics"][:1]}))
    assert [entry["type"] for entry in live["spec"]["metrics"]] == ["Resource"]
