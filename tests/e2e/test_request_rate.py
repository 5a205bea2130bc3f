"""An autoscaler by requests a second, with the configurations of docs/autoscaling.md as they stand there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.demo.surroundings import Surroundings
from tests.e2e import image_sets
from tests.e2e.api_server import MODEL, ApiServer, Object
from tests.e2e.conftest import MakeNamespace
from tests.e2e.models import conditions, is_ready, message, model_url, quick_model
from tests.e2e.prometheus_adapter import documented, metrics_of_pods
from tests.e2e.steady_client import PER_SECOND, Question, SteadyClient

NAME = "asked"
METRIC = "requests_per_second"
# One pod is too few for the steady client's 50 a second, and two are enough.
EACH = 30


@pytest.fixture(scope="module", autouse=True)
def adapter(api: ApiServer, cluster: Surroundings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("prometheus")
    with metrics_of_pods(api, Path(cluster.kubeconfig), folder, documented("job_name"), documented("rules")):
        yield


def _serving() -> Object:
    metric = {
        "type": "Pods",
        "pods": {"metric": {"name": METRIC}, "target": {"type": "AverageValue", "averageValue": EACH}},
    }
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    autoscaling = {"minReplicas": 1, "maxReplicas": 3, "metrics": [metric], "behavior": behavior}
    return {"serving": {"autoscaling": autoscaling}}


def _serves_on(pods: int) -> Callable[[Object], bool]:
    return lambda model: is_ready(model) and message(model) == f"version 1 serves on {pods}/{pods} pods"


@pytest.mark.timeout(900)
def test_pods_come_with_the_requests_and_go_with_them(api: ApiServer, make_namespace: MakeNamespace) -> None:
    assert PER_SECOND / 2 < EACH < PER_SECOND, "the client asks more than one pod's share and less than two's"
    namespace = make_namespace("asked")
    api.apply(quick_model(namespace, NAME, _serving()))
    api.wait_for(MODEL, namespace, NAME, _serves_on(1), "one pod that nobody asks")
    _, hidden = image_sets.known_and_held_out()
    questions = [Question(digit.instance(), digit.label) for digit in image_sets.quick_digits(hidden)]
    with SteadyClient(model_url(api, namespace, NAME), questions, image_sets.QUICK_CLASSES) as client:
        api.wait_for(MODEL, namespace, NAME, _serves_on(2), "two pods for the requests of one and a half", seconds=180)
        scaler = api.get("HorizontalPodAutoscaler", namespace, NAME)
        assert scaler is not None
        assert conditions(scaler)["ScalingActive"]["status"] == "True"
        (seen,) = scaler["status"]["currentMetrics"]
        assert seen["pods"]["metric"]["name"] == METRIC
        client.check()
    api.wait_for(MODEL, namespace, NAME, _serves_on(1), "one pod when nobody asks any more", seconds=240)
