"""Models on two nodes, one of which is drained, switched off and on again. `make two-nodes` has the cluster for it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from benchmarks.demo.errors import DemoError
from benchmarks.demo.kubectl import Kubectl
from devcluster import node as devcluster_node
from devcluster.namespaces import find_holder
from devcluster.nodes import Node
from devcluster.places import here
from tests.e2e import image_sets
from tests.e2e.api_server import MODEL, PATIENCE, ApiServer, Object
from tests.e2e.conftest import MakeNamespace
from tests.e2e.models import is_ready, message, model_url, quick_model, service_address, store_prefix
from tests.e2e.object_store import ObjectStore
from tests.e2e.operator_process import NAMESPACE as OPERATORS
from tests.e2e.steady_client import Question, SteadyClient

NAME = "spread"
FIRST, SECOND = Node(here()), Node(here(), 2)
EPOCHS = 200
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
SERVING_PODS = f"keras-operator.dev/model={NAME},app.kubernetes.io/component=serving"
# Each argument is a URL that has to answer; what does not ends the program with its reason.
ASK_EACH = """
import ssl, sys, urllib.request
for url in sys.argv[1:]:
    context = ssl._create_unverified_context() if url.startswith("https:") else None
    print(urllib.request.urlopen(url, timeout=10, context=context).status)
"""


@pytest.fixture(scope="module")
def namespace(api: ApiServer, make_namespace: MakeNamespace) -> str:
    """Where one model serves from two pods."""
    name = make_namespace("nodes")
    api.apply(quick_model(name, NAME, {"serving": {"replicas": 2}}))
    api.wait_for(MODEL, name, NAME, is_ready, "a first version that serves")
    return name


@pytest.fixture
def node_is_back(kubectl: Kubectl) -> Iterator[None]:
    """The second node runs, and takes pods, when the test has ended."""
    yield
    kubectl.run("uncordon", FIRST.name)
    devcluster_node.up(here())
    with suppress(DemoError):
        kubectl.run("taint", "nodes", SECOND.name, f"{OUT_OF_SERVICE}-")


@pytest.fixture
def steady_client(api: ApiServer, namespace: str) -> Iterator[SteadyClient]:
    """Asks the model all the time, and is checked by the test."""
    _, hidden = image_sets.known_and_held_out()
    questions = [Question(digit.instance(), digit.label) for digit in image_sets.quick_digits(hidden)]
    with SteadyClient(model_url(api, namespace, NAME), questions, image_sets.QUICK_CLASSES) as client:
        yield client


def test_pods_of_both_nodes_reach_each_other_and_every_service(
    api: ApiServer, kubectl: Kubectl, namespace: str
) -> None:
    pods = _ready_pods(api, namespace)
    assert sorted(pod["spec"]["nodeName"] for pod in pods) == [FIRST.name, SECOND.name]

    port = service_address(api, namespace, NAME).rpartition(":")[2]
    urls = [
        *(f"http://{pod['status']['podIP']}:8501/v1/models/{NAME}" for pod in pods),
        f"http://{NAME}.{namespace}.svc:{port}/v1/models/{NAME}",
        "http://minio.minio.svc:9000/minio/health/live",
        "https://kubernetes.default.svc/livez",
    ]
    for pod in pods:
        words = ("exec", pod["metadata"]["name"], "-n", namespace, "-c", "agent", "--")
        assert kubectl.run(*words, "python3", "-c", ASK_EACH, *urls).split() == ["200"] * len(urls)


def test_a_node_is_drained_switched_off_and_on_again_and_no_request_fails(
    api: ApiServer, kubectl: Kubectl, namespace: str, steady_client: SteadyClient
) -> None:
    # One disruption at a time: the eviction of a second pod has to wait for the first one's successor.
    (budget,) = api.objects("PodDisruptionBudget", namespace, SERVING_PODS.partition(",")[0])
    assert budget["status"]["disruptionsAllowed"] == 1

    kubectl.run("drain", SECOND.name, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={PATIENCE:.0f}s")
    _until(lambda: _nodes(api, namespace) == [FIRST.name] * 2, "two pods on the node that stays")
    api.wait_for(MODEL, namespace, NAME, is_ready, "a version that serves")

    holder = find_holder(SECOND)
    assert holder is not None
    os.kill(holder.pid, signal.SIGKILL)
    api.wait_for("Node", "", SECOND.name, lambda one: _ready_condition(one) != "True", "a node that is gone")

    devcluster_node.up(here())
    kubectl.run("uncordon", SECOND.name)
    api.patch(MODEL, namespace, NAME, {"spec": {"serving": {"replicas": 3}}})
    _until(lambda: _nodes(api, namespace) == [FIRST.name, FIRST.name, SECOND.name], "a pod on the node that came back")
    api.wait_for(MODEL, namespace, NAME, is_ready, "three pods that serve")
    answered = steady_client.score.asked
    _until(lambda: steady_client.score.asked > answered + 250, "requests to all three")

    score = steady_client.check()
    print(f"{score.asked} requests, none failed, the slowest took {score.slowest:.2f} s")


@pytest.mark.timeout(1200)
def test_a_training_on_a_node_that_is_switched_off_goes_on_on_the_other(
    api: ApiServer, kubectl: Kubectl, s3: ObjectStore, make_namespace: MakeNamespace, node_is_back: None
) -> None:
    namespace, name = make_namespace("off"), "learner"
    pods = f"batch.kubernetes.io/job-name={name}-1-train"
    _keep_the_operator(api, kubectl)
    kubectl.run("cordon", FIRST.name)
    api.apply(quick_model(namespace, name, {"training": {"epochs": EPOCHS}}))
    checkpoints = f"{store_prefix(namespace, name)}/.runs/1/checkpoints"
    api.wait_for(MODEL, namespace, name, lambda model: _epoch(model) >= 3, "some epochs")
    _until(lambda: any(key.endswith(".json") for key in s3.listing("models", checkpoints)), "a checkpoint")
    (pod,) = api.objects("Pod", namespace, pods)
    assert pod["spec"]["nodeName"] == SECOND.name
    holder = find_holder(SECOND)
    assert holder is not None
    os.kill(holder.pid, signal.SIGKILL)
    kubectl.run("uncordon", FIRST.name)
    api.wait_for("Node", "", SECOND.name, lambda one: _ready_condition(one) != "True", "a node that is gone")
    model = api.wait_for(MODEL, namespace, name, lambda model: "does not answer" in message(model), "a word about it")
    assert f"kubectl taint node {SECOND.name} {OUT_OF_SERVICE}" in message(model)

    # What whoever is sure that the node is off says to Kubernetes, which cannot know it.
    kubectl.run("taint", "nodes", SECOND.name, OUT_OF_SERVICE)
    resumed = api.wait_for(MODEL, namespace, name, lambda model: "resumed from epoch" in message(model), "a resume")
    (pod,) = [one for one in api.objects("Pod", namespace, pods) if "deletionTimestamp" not in one["metadata"]]
    assert pod["spec"]["nodeName"] == FIRST.name
    api.wait_for(MODEL, namespace, name, is_ready, "a version that serves", seconds=2 * PATIENCE)
    history = json.loads(s3.read("models", f"{store_prefix(namespace, name)}/.runs/1/history.json"))
    assert {len(values) for values in history.values()} == {EPOCHS}
    (job,) = [one for one in api.objects("Job", namespace) if one["metadata"]["name"] == f"{name}-1-train"]
    assert not job["status"].get("failed"), "a node that went away cost an attempt"
    print(f"after the node was switched off: {message(resumed)}")


def _keep_the_operator(api: ApiServer, kubectl: Kubectl) -> None:
    """Have the operator on the node that stays: elsewhere it would be five minutes before Kubernetes replaced it."""
    kubectl.run("cordon", SECOND.name)
    there = ("--field-selector", f"spec.nodeName={SECOND.name}")
    kubectl.run("delete", "pods", "-n", OPERATORS, *there)
    pods = "app.kubernetes.io/name=keras-operator"
    _until(lambda: any(map(_is_ready_here, api.objects("Pod", OPERATORS, pods))), "an operator on the node that stays")
    kubectl.run("uncordon", SECOND.name)


def _is_ready_here(pod: Object) -> bool:
    return bool(pod["spec"].get("nodeName") == FIRST.name) and _ready_condition(pod) == "True"


def _epoch(model: Object) -> int:
    return int(((model.get("status") or {}).get("progress") or {}).get("epoch") or 0)


def _ready_pods(api: ApiServer, namespace: str) -> list[Object]:
    return [
        pod
        for pod in api.objects("Pod", namespace, SERVING_PODS)
        if "deletionTimestamp" not in pod["metadata"] and _ready_condition(pod) == "True"
    ]


def _nodes(api: ApiServer, namespace: str) -> list[str]:
    return sorted(pod["spec"]["nodeName"] for pod in _ready_pods(api, namespace))


def _ready_condition(content: Object) -> str | None:
    conditions = content.get("status", {}).get("conditions", [])
    return next((one["status"] for one in conditions if one["type"] == "Ready"), None)


def _until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.2)
