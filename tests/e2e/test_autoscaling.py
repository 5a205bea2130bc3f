"""An autoscaler by memory, as fast as it is told to be; and one of somebody else's that scales the model itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml

from benchmarks.demo.kubectl import Kubectl
from tests.e2e.api_server import MODEL, ApiServer, Object
from tests.e2e.conftest import MakeNamespace
from tests.e2e.models import conditions, is_ready, message, quick_model

NAME = "scaled"
AUTOSCALER = "HorizontalPodAutoscaler"
SERVING_PODS = f"keras-operator.dev/model={NAME},app.kubernetes.io/component=serving"
# Twice of what is requested is more than a runtime with a small model ever uses: nothing comes and nothing goes.
MEMORY = {
    "type": "ContainerResource",
    "containerResource": {
        "name": "memory",
        "container": "runtime",
        "target": {"type": "Utilization", "averageUtilization": 200},
    },
}
POLICIES = [{"type": "Pods", "value": 1, "periodSeconds": 60}, {"type": "Pods", "value": 2, "periodSeconds": 180}]


def _serving(seconds: int) -> Object:
    """By memory, and down again after this many seconds."""
    behavior = {"scaleUp": {"policies": POLICIES}, "scaleDown": {"stabilizationWindowSeconds": seconds}}
    autoscaling = {"minReplicas": 1, "maxReplicas": 2, "metrics": [MEMORY], "behavior": behavior}
    return {"serving": {"autoscaling": autoscaling, "resources": {"requests": {"cpu": "50m", "memory": "512Mi"}}}}


@pytest.fixture(scope="module")
def namespace(api: ApiServer, make_namespace: MakeNamespace) -> str:
    """Where one model serves, scaled by memory."""
    name = make_namespace("scaled")
    api.apply(quick_model(name, NAME, _serving(300)))
    api.wait_for(MODEL, name, NAME, is_ready, "a first version that serves")
    return name


def _measures(source: str, figure: str) -> Callable[[Object], bool]:
    """Whether an autoscaler goes by a metric that it has a figure of."""

    def holds(autoscaler: Object) -> bool:
        found = autoscaler.get("status", {}).get("currentMetrics") or [{}]
        active = conditions(autoscaler).get("ScalingActive", {}).get("status") == "True"
        return active and found[0].get(source, {}).get("current", {}).get(figure, 0) > 0

    return holds


def _facts(api: ApiServer, namespace: str) -> tuple[dict[str, int], int, int]:
    """The serving pods with their restarts, the newest version, and how often the Deployment's spec was changed."""
    model, deployment = api.get(MODEL, namespace, NAME), api.get("Deployment", namespace, NAME)
    assert model is not None
    assert deployment is not None
    pods = {
        pod["metadata"]["uid"]: sum(
            one["restartCount"]
            for part in ("containerStatuses", "initContainerStatuses")
            for one in pod["status"][part]
        )
        for pod in api.objects("Pod", namespace, SERVING_PODS)
    }
    return pods, model["status"]["latestVersion"], deployment["metadata"]["generation"]


def _waits(autoscaler: Object) -> int | None:
    seconds: int | None = autoscaler["spec"]["behavior"]["scaleDown"].get("stabilizationWindowSeconds")
    return seconds


def test_an_autoscaler_by_memory_has_its_figures(api: ApiServer, kubectl: Kubectl, namespace: str) -> None:
    measures = _measures("containerResource", "averageUtilization")
    scaler = api.wait_for(AUTOSCALER, namespace, NAME, measures, "a figure of the runtime's memory")
    assert scaler["spec"]["metrics"] == [MEMORY]
    assert scaler["spec"]["behavior"]["scaleUp"]["policies"] == POLICIES
    assert _waits(scaler) == 300
    words = "version 1 serves on 1/1 pods"
    api.wait_for(MODEL, namespace, NAME, lambda model: is_ready(model) and message(model) == words, words)
    document = quick_model(namespace, NAME, _serving(300))
    assert kubectl.run("diff", "-f", "-", text_in=yaml.safe_dump(document)) == "", "a GitOps tool would see a change"


def test_a_change_of_behavior_arrives_without_a_new_version_or_pod(api: ApiServer, namespace: str) -> None:
    api.wait_for(MODEL, namespace, NAME, is_ready, "a model that serves")
    before = _facts(api, namespace)
    api.apply(quick_model(namespace, NAME, _serving(60)))
    api.wait_for(AUTOSCALER, namespace, NAME, lambda seen: _waits(seen) == 60, "the new behavior")

    without = {"spec": {"serving": {"autoscaling": {"behavior": None}}}}
    api.patch(MODEL, namespace, NAME, without)
    api.wait_for(AUTOSCALER, namespace, NAME, _behaves_as_ever, "Kubernetes' own behavior")
    api.wait_for(MODEL, namespace, NAME, is_ready, "a model that serves")
    assert _facts(api, namespace) == before, "more than the autoscaler was touched"


def _behaves_as_ever(autoscaler: Object) -> bool:
    left = autoscaler["spec"].get("behavior", {})
    gone = "stabilizationWindowSeconds" not in left.get("scaleDown", {})
    return gone and left.get("scaleUp", {}).get("policies") != POLICIES


def test_somebody_elses_autoscaler_may_scale_the_model(api: ApiServer, namespace: str) -> None:
    """As KEDA's do: it names the model, not the Deployment, and the operator brings the pods."""
    latest = _facts(api, namespace)[1]
    api.patch(MODEL, namespace, NAME, {"spec": {"serving": {"autoscaling": None}}})
    api.wait_gone(AUTOSCALER, namespace, NAME)
    theirs = "keda-hpa-scaled"
    api.apply(
        {
            "apiVersion": "autoscaling/v2",
            "kind": AUTOSCALER,
            "metadata": {"name": theirs, "namespace": namespace},
            "spec": {
                "scaleTargetRef": {"apiVersion": "keras-operator.dev/v1alpha1", "kind": MODEL, "name": NAME},
                "minReplicas": 2,
                "maxReplicas": 2,
                "metrics": [MEMORY],
            },
        }
    )
    scaled = api.wait_for(
        MODEL,
        namespace,
        NAME,
        lambda model: is_ready(model) and f"version {latest} serves on 2/2 pods" in message(model),
        "two pods",
    )
    assert scaled["spec"]["serving"]["replicas"] == 2
    measures = _measures("containerResource", "averageUtilization")
    api.wait_for(AUTOSCALER, namespace, theirs, measures, "a figure of both runtimes' memory")
    assert _facts(api, namespace)[1] == latest
