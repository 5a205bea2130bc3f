"""What a platform team sees of the operator: its log as a story, its metrics, its view of one model."""

from __future__ import annotations

import json
import re
from urllib.request import urlopen

from benchmarks.demo.kubectl import Kubectl
from tests.e2e.api_server import MODEL, ApiServer
from tests.e2e.conftest import Served
from tests.e2e.models import is_ready, quick_model
from tests.e2e.operator_process import NAME, NAMESPACE, Operator

METRICS = (
    "keras_operator_api_request_seconds",
    "keras_operator_api_requests_total",
    "keras_operator_leader",
    "keras_operator_models",
    "keras_operator_phase_seconds",
    "keras_operator_queue_depth",
    "keras_operator_queue_processing",
    "keras_operator_queue_wait_seconds",
    "keras_operator_reconcile_retries_total",
    "keras_operator_reconcile_seconds",
    "keras_operator_watch_events_total",
    "keras_operator_watch_requests_total",
)
BOUNDED = {"code", "kind", "le", "phase", "resource", "result", "type", "verb"}


def test_a_first_version_is_a_story_of_less_than_twenty_lines(
    api: ApiServer, kubectl: Kubectl, operator: Operator, namespace: str
) -> None:
    # A model of this test's own: the operator that told of older ones may have been replaced since.
    api.apply(quick_model(namespace, "dogs"))
    api.wait_for(MODEL, namespace, "dogs", is_ready, "a first version that serves")
    log = kubectl.run("logs", f"deployment/{NAME}", "-n", NAMESPACE, "--tail=-1")
    start = f"{namespace}/dogs: "
    told = [line.split(start, 1)[1] for line in log.splitlines() if start in line]
    end = next(n for n, line in enumerate(told) if line.startswith("Serving: version 1 serves"))
    story = told[: end + 1]
    assert len(story) < 20, story
    parts = (
        "KerasModelVersion dogs-1",
        "Job dogs-1-train",
        "Job dogs-1-export",
        "version 1 is published at s3://",
    )
    for part in (*parts, "Deployment dogs"):
        assert any(part in line for line in story), f"{part} is not in {story}"


def test_metrics_are_named_and_bounded(operator: Operator, digits_model: Served) -> None:
    text = operator.metrics_text()
    for name in METRICS:
        assert f"\n# TYPE {name} " in text, f"there is no {name}"
    labels = set(re.findall(r'[{,](\w+)="', text))
    assert labels <= BOUNDED, f"{labels - BOUNDED} may grow without bound"
    watched = dict(re.findall(r'keras_operator_watch_requests_total\{resource="(\w+)"\} (\S+)', text))
    assert float(watched["kerasmodels"]) >= 1
    assert digits_model.name not in text


def test_the_operators_view_of_a_model_can_be_read(kubectl: Kubectl, digits_model: Served) -> None:
    with kubectl.forwarding(f"deployment/{NAME}", "-n", NAMESPACE, ":8082") as address:
        name = f"{digits_model.namespace}/{digits_model.name}"
        with urlopen(f"http://{address}/debug/state?model={name}", timeout=10) as answer:
            state = json.load(answer)
    assert state["queue"]["failures"] == 0
    assert state["observed"]["model"]["identity"]["name"] == digits_model.name
    assert state["observed"]["deployment"]["number"] == 1
    assert state["plan"]["status"]["phase"] == "Serving"
    assert state["plan"]["create"] == []
