"""A version in pods of its own: in the place of those that serve once it is as good, and gone once it is worse."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.e2e.api_server import MODEL, ApiServer, Object
from tests.e2e.canaries import asks_about_digits, canary_serving, taken_back
from tests.e2e.conftest import MakeNamespace
from tests.e2e.models import conditions, is_ready, message, model_url, quick_model, serves
from tests.e2e.steady_client import SteadyClient

NAME = "apart"
SERVING = canary_serving({"pods": "50%", "hold": "10s"}, using="Rolling")
PODS = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component=serving"


@pytest.fixture(scope="module")
def namespace(api: ApiServer, make_namespace: MakeNamespace) -> str:
    """Where one model serves on two pods, and new versions come in pods of their own."""
    name = make_namespace("apart")
    api.apply(quick_model(name, NAME, SERVING))
    api.wait_for(MODEL, name, NAME, is_ready, "a first version that serves")
    return name


@pytest.fixture
def model(api: ApiServer, namespace: str) -> Object:
    """The model as it serves now."""
    return api.wait_for(MODEL, namespace, NAME, is_ready, "a version that serves")


@pytest.fixture
def steady_client(api: ApiServer, namespace: str, model: Object) -> Iterator[SteadyClient]:
    """Asks the model all the time."""
    with asks_about_digits(model_url(api, namespace, NAME)) as client:
        yield client


def _pods(api: ApiServer, namespace: str) -> list[Object]:
    """The pods behind the Service, those on their way out left out."""
    return [pod for pod in api.objects("Pod", namespace, PODS) if "deletionTimestamp" not in pod["metadata"]]


def _versions(api: ApiServer, namespace: str) -> list[int]:
    return sorted(int(pod["metadata"]["labels"]["keras-operator.dev/version"]) for pod in _pods(api, namespace))


def _uids(api: ApiServer, namespace: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in _pods(api, namespace)}


def _deployments(api: ApiServer, namespace: str) -> list[str]:
    return sorted(one["metadata"]["name"] for one in api.objects("Deployment", namespace))


def test_a_version_that_is_as_good_takes_the_place_of_the_old_one_and_no_request_fails(
    api: ApiServer, namespace: str, model: Object, steady_client: SteadyClient
) -> None:
    before, first = _uids(api, namespace), model["status"]["servingVersion"]
    second = model["status"]["latestVersion"] + 1
    api.apply(quick_model(namespace, NAME, SERVING, {"training": {"seed": random.SystemRandom().randrange(2**31)}}))
    held = f"canary version {second} on 1/1 pods of its own · "
    seen = api.wait_for(MODEL, namespace, NAME, lambda seen: message(seen).startswith(held), "a canary that is held")
    assert seen["status"]["servingVersion"] == first
    assert _versions(api, namespace) == [first, first, second]
    assert before < _uids(api, namespace), "a pod of the old version was touched"
    budget = api.get("PodDisruptionBudget", namespace, NAME)
    assert budget is not None
    assert budget["status"]["expectedPods"] == 2, "a canary that never got ready would keep a node from being drained"
    done = api.wait_for(MODEL, namespace, NAME, serves(second), f"version {second} on all pods")
    assert "canary" not in done["status"]
    assert _deployments(api, namespace) == [NAME]
    assert _versions(api, namespace) == [second, second]
    steady_client.check()


def test_a_version_that_answers_errors_goes_with_its_pods_and_the_old_one_was_never_touched(
    api: ApiServer, namespace: str, model: Object, steady_client: SteadyClient
) -> None:
    """It takes larger images than the clients send."""
    first, number = model["status"]["servingVersion"], model["status"]["latestVersion"] + 1
    before, main = _uids(api, namespace), api.get("Deployment", namespace, NAME)
    larger = {"training": {"data": {"imageSize": [16, 16]}, "seed": model["spec"]["training"].get("seed", 0)}}
    api.apply(quick_model(namespace, NAME, SERVING, larger))
    stalled = api.wait_for(MODEL, namespace, NAME, taken_back(number), "a canary that was taken back")
    assert conditions(stalled)["Stalled"]["reason"] == "CanaryWorse"
    assert " % of its requests ended with an error, 0.0 % with version" in message(stalled)
    assert steady_client.score.failures, "nobody met the bad version"
    for pod in api.objects("Pod", namespace, f"keras-operator.dev/canary={NAME}"):
        api.wait_gone("Pod", namespace, pod["metadata"]["name"])
    assert _uids(api, namespace) == before
    assert _deployments(api, namespace) == [NAME]
    assert _versions(api, namespace) == [first, first]
    after = api.get("Deployment", namespace, NAME)
    assert main is not None
    assert after is not None
    assert after["metadata"]["generation"] == main["metadata"]["generation"]
