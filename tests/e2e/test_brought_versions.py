"""Versions that were trained elsewhere: one is slow, others take something else than the one before."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.demo.kubectl import Kubectl
from benchmarks.demo.surroundings import Surroundings
from devcluster.processes import until
from tests.e2e.api_server import MODEL, ApiServer, Object
from tests.e2e.canaries import asks_about_digits, canary_serving, taken_back
from tests.e2e.conftest import MakeNamespace, Sources
from tests.e2e.models import (
    conditions,
    is_ready,
    is_stalled,
    message,
    model_url,
    quick_model,
    restarts_of_runtime,
    serves,
)
from tests.e2e.operator_process import Operator
from tests.e2e.prometheus_adapter import documented, machine_address, prometheus_of_pods
from tests.e2e.steady_client import CONNECTIONS, SteadyClient
from tests.e2e.work_processes import runtime_of

NAME = "brought"
RATIO = 4
# The median, for of a machine that does other things, too, the slowest twentieth says little.
BY_LATENCY = canary_serving(
    {"pods": "50%", "hold": "10m"},
    analysis={"minRequests": 30, "maxErrorIncrease": 0.05, "latencyPercentile": 50, "maxLatencyRatio": RATIO},
)
# How many times the old version's median the new one's is.
RATIO_QUERY = "/".join(
    f'histogram_quantile(0.5, sum by (le) (rate({{__name__=":tensorflow:serving:request_latency_bucket",'
    f'namespace="{{{{namespace}}}}",pod=~"{{{{{pods}}}}}"}}[{{{{interval}}}}])))'
    for pods in ("pods", "stablePods")
)
BY_PROMETHEUS = canary_serving(
    {"pods": "50%", "hold": "10m"},
    analysis={
        "minRequests": 30,
        "maxErrorIncrease": 0.05,
        "maxLatencyRatio": 100,
        "queries": [{"name": "times-as-slow", "query": RATIO_QUERY, "max": RATIO}],
    },
)
DENIES = {"serving": {"replicas": 2, "rollout": {"strategy": "Hot", "signatureChange": "Deny"}}}
ALLOWS = {"serving": {"replicas": 2, "rollout": {"strategy": "Hot", "signatureChange": "Allow"}}}
SERVING_PODS = f"keras-operator.dev/model={NAME},app.kubernetes.io/component=serving"


@pytest.fixture(scope="module")
def namespace(api: ApiServer, make_namespace: MakeNamespace, sources: Sources) -> str:
    """Where one model serves on two pods."""
    name = make_namespace("brought")
    api.apply(quick_model(name, NAME, BY_LATENCY, sources("first")))
    api.wait_for(MODEL, name, NAME, is_ready, "a first version that serves")
    return name


@pytest.fixture
def model(api: ApiServer, namespace: str, sources: Sources) -> Object:
    """The model as it serves now, which is its first version, whatever the test before has left."""
    # That may be a version that takes something else.
    api.apply(quick_model(namespace, NAME, ALLOWS, sources("first")))
    return api.wait_for(MODEL, namespace, NAME, serves(1), "the first version")


@pytest.fixture
def steady_client(api: ApiServer, namespace: str, model: Object) -> Iterator[SteadyClient]:
    """Asks the model all the time."""
    with asks_about_digits(model_url(api, namespace, NAME)) as client:
        yield client


def _versions(api: ApiServer, namespace: str) -> list[int]:
    return sorted(
        int(pod["metadata"]["labels"]["keras-operator.dev/version"])
        for pod in api.objects("Pod", namespace, SERVING_PODS)
    )


def test_a_version_that_answers_slowly_is_taken_back_and_no_request_fails(
    api: ApiServer, namespace: str, model: Object, sources: Sources, steady_client: SteadyClient
) -> None:
    number = model["status"]["latestVersion"] + 1
    api.apply(quick_model(namespace, NAME, BY_LATENCY, sources("slow")))
    stalled = api.wait_for(MODEL, namespace, NAME, taken_back(number), "a canary that was taken back")
    assert conditions(stalled)["Stalled"]["reason"] == "CanaryWorse"
    said = re.search(
        r"its p50 latency is ([\d.]+) ms, ([\d.]+) ms with version 1, and ([\d.]+) ms is allowed", message(stalled)
    )
    assert said, message(stalled)
    slow, usual, allowed = map(float, said.groups())
    assert slow > allowed > usual
    _wait_back(api, namespace)
    steady_client.check()


@pytest.fixture
def asks_prometheus(
    api: ApiServer, cluster: Surroundings, kubectl: Kubectl, operator: Operator, tmp_path: Path
) -> Iterator[None]:
    """The operator is told of a Prometheus that reads all models' pods, until the test has ended."""

    def told(word: str) -> None:
        kubectl.run("set", "env", "deployment/keras-operator", "-n", "keras-operator-system", word)
        operator.wait_ready()

    address = machine_address(Path(cluster.kubeconfig))
    with prometheus_of_pods(api, tmp_path, documented("job_name"), address) as url:
        told(f"KERAS_OPERATOR_PROMETHEUS_URL={url}")
        yield
        told("KERAS_OPERATOR_PROMETHEUS_URL-")


@pytest.mark.usefixtures("asks_prometheus")
def test_a_version_of_which_prometheus_says_no_good_is_taken_back_and_no_request_fails(
    api: ApiServer, namespace: str, model: Object, sources: Sources, steady_client: SteadyClient
) -> None:
    """Errors, latencies as the agents have them, and classes are within bounds."""
    api.apply(quick_model(namespace, NAME, BY_PROMETHEUS, sources("slow")))
    stalled = api.wait_for(MODEL, namespace, NAME, is_stalled, "a canary that was taken back")
    assert conditions(stalled)["Stalled"]["reason"] == "CanaryWorse"
    said = re.search(
        rf"because query times-as-slow gave ([\d.]+) for it, and at most {RATIO} is wanted", message(stalled)
    )
    assert said, message(stalled)
    assert float(said[1]) > RATIO
    _wait_back(api, namespace)
    steady_client.check()


def test_a_version_of_another_shape_does_not_serve(
    api: ApiServer, namespace: str, model: Object, sources: Sources, steady_client: SteadyClient
) -> None:
    number = model["status"]["latestVersion"] + 1
    api.apply(quick_model(namespace, NAME, DENIES, sources("reshaped")))
    how = "input images of signature serving_default was float32 [-1,8,8,1] and is float32 [-1,8,8]"
    _wait_refused(api, namespace, number, how)
    steady_client.check()


def test_a_version_whose_input_is_called_otherwise_serves_once_that_is_allowed(
    api: ApiServer, namespace: str, model: Object, sources: Sources, steady_client: SteadyClient
) -> None:
    """Rows without names are taken by an input of any name, so nobody who sends those sees a difference."""
    number = model["status"]["latestVersion"] + 1
    api.apply(quick_model(namespace, NAME, DENIES, sources("renamed")))
    how = "signature serving_default has no input images any more, and has pictures"
    _wait_refused(api, namespace, number, how)

    api.apply(quick_model(namespace, NAME, ALLOWS, sources("renamed")))
    api.wait_for(MODEL, namespace, NAME, serves(number), "the version whose input is called otherwise")
    assert _versions(api, namespace) == [number, number]
    steady_client.check()


def test_a_runtime_that_is_killed_loses_no_more_than_it_had_in_flight_and_comes_back(
    api: ApiServer, namespace: str, model: Object
) -> None:
    """Nobody listens there until it is back or out of the Service; who is refused then has lost nothing but a try."""
    pod = api.objects("Pod", namespace, SERVING_PODS)[0]
    before = restarts_of_runtime(pod)
    with asks_about_digits(model_url(api, namespace, NAME)) as client:
        assert until(lambda: client.score.right > 2 * CONNECTIONS, 30)
        os.kill(runtime_of(pod["metadata"]["uid"]), signal.SIGKILL)
        api.wait_for(
            "Pod", namespace, pod["metadata"]["name"], lambda seen: restarts_of_runtime(seen) > before, "a restart"
        )
        with asks_about_digits(f"http://{pod['status']['podIP']}:8501/v1/models/{NAME}") as alone:
            assert until(lambda: alone.score.right > 0, 60), "it does not answer any more"
    lost = [one for one in client.score.failures if "ConnectionRefusedError" not in one]
    assert len(lost) <= CONNECTIONS, f"{len(lost)} of {client.score.asked} requests were lost:\n" + "\n".join(lost)


def _wait_back(api: ApiServer, namespace: str) -> None:
    words = "version 1 serves on 2/2 pods"
    api.wait_for(MODEL, namespace, NAME, lambda seen: words in message(seen), words)
    assert _versions(api, namespace) == [1, 1]


def _wait_refused(api: ApiServer, namespace: str, number: int, how: str) -> None:
    stalled = api.wait_for(MODEL, namespace, NAME, is_stalled, "a version that is not rolled out")
    assert conditions(stalled)["Stalled"]["reason"] == "SignatureChanged"
    assert f"version {number} takes something else than version 1: {how}; write" in message(stalled)
    assert "version 1 serves on 2/2 pods" in message(stalled)
    assert _versions(api, namespace) == [1, 1]
