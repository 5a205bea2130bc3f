"""A version on some pods first: one that is as good goes to all, one that is worse is taken back by itself."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.e2e.api_server import MODEL, VERSION, ApiServer, Object
from tests.e2e.canaries import asks_about_digits, canary_serving, taken_back
from tests.e2e.conftest import MakeNamespace
from tests.e2e.models import conditions, is_ready, message, model_url, quick_model, serves
from tests.e2e.steady_client import SteadyClient

NAME = "canary"
STUBBORN = """\
import keras


class FirstOfAll(keras.layers.Layer):
    def call(self, scores):
        return keras.ops.concatenate([scores[:, :1] * 0.0 + 9.0, scores[:, 1:] * 0.0], axis=-1)


def build_model(input_shape, num_classes):
    images = keras.Input(input_shape)
    scores = keras.layers.Dense(num_classes)(keras.layers.Flatten()(images))
    return keras.Model(images, keras.layers.Softmax()(FirstOfAll()(scores)))
"""
SERVING_PODS = f"keras-operator.dev/model={NAME},app.kubernetes.io/component=serving"
PROMOTE = "keras-operator.dev/promote"


BY_ITSELF = canary_serving({"pods": "50%", "hold": "5s"})
BY_A_PERSON = canary_serving({"pods": "1", "hold": "manual"})


@pytest.fixture(scope="module")
def namespace(api: ApiServer, make_namespace: MakeNamespace) -> str:
    """Where one model serves on two pods, and new versions come in steps."""
    name = make_namespace("canary")
    api.apply(quick_model(name, NAME, BY_ITSELF))
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


def _uids(api: ApiServer, namespace: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in api.objects("Pod", namespace, SERVING_PODS)}


def _versions(api: ApiServer, namespace: str) -> list[int]:
    return sorted(
        int(pod["metadata"]["labels"]["keras-operator.dev/version"])
        for pod in api.objects("Pod", namespace, SERVING_PODS)
    )


def _another(api: ApiServer, namespace: str, serving: Object, model: Object) -> int:
    """Ask for another version, as good as the one before; its number."""
    seed = random.SystemRandom().randrange(2**31)
    api.apply(quick_model(namespace, NAME, serving, {"training": {"seed": seed}}))
    return int(model["status"]["latestVersion"]) + 1


def test_a_version_that_is_as_good_goes_to_all_pods_and_no_request_fails(
    api: ApiServer, namespace: str, model: Object, steady_client: SteadyClient
) -> None:
    before, first = _uids(api, namespace), model["status"]["servingVersion"]
    second = _another(api, namespace, BY_ITSELF, model)
    halfway = f"canary version {second} on 1/2 pods · "
    api.wait_for(MODEL, namespace, NAME, lambda seen: " held · errors " in message(seen), "a canary that is held")
    seen = api.wait_for(MODEL, namespace, NAME, lambda seen: message(seen).startswith(halfway), halfway)
    assert seen["status"]["servingVersion"] == first
    assert seen["status"]["canary"]["version"] == second
    done = api.wait_for(MODEL, namespace, NAME, serves(second), f"version {second} on all pods")
    assert "canary" not in done["status"]
    assert _versions(api, namespace) == [second, second]
    assert _uids(api, namespace) == before, "a pod was replaced"
    steady_client.check()


def test_a_version_that_waits_for_a_person_goes_on_when_they_say_so(
    api: ApiServer, namespace: str, model: Object, steady_client: SteadyClient
) -> None:
    first = model["status"]["servingVersion"]
    second = _another(api, namespace, BY_A_PERSON, model)
    words = f"waits for the annotation {PROMOTE}: {second}"
    api.wait_for(MODEL, namespace, NAME, lambda seen: words in message(seen), words)
    assert _versions(api, namespace) == [first, second]
    api.patch(MODEL, namespace, NAME, {"metadata": {"annotations": {PROMOTE: str(second)}}})
    api.wait_for(MODEL, namespace, NAME, serves(second), f"version {second} on all pods")
    steady_client.check()


def test_a_version_that_always_answers_one_class_is_taken_back_and_no_request_fails(
    api: ApiServer, namespace: str, model: Object, steady_client: SteadyClient
) -> None:
    """Its answers come in time and are well-formed. Only which they are shows that something is wrong."""
    first, number = model["status"]["servingVersion"], model["status"]["latestVersion"] + 1
    before, seed = _uids(api, namespace), model["spec"]["training"]["seed"]
    api.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "net", "namespace": namespace},
            "data": {"net.py": STUBBORN},
        }
    )
    stubborn = {"architecture": None, "builder": {"configMapKeyRef": {"name": "net", "key": "net.py"}}, "seed": seed}
    api.apply(quick_model(namespace, NAME, BY_ITSELF, {"training": stubborn}))
    stalled = api.wait_for(MODEL, namespace, NAME, taken_back(number), "a canary that was taken back")
    assert conditions(stalled)["Stalled"]["reason"] == "CanaryWorse"
    assert "because the classes that it predicts are 0." in message(stalled)
    assert f"apart from those of version {first}, and 0.4 is allowed" in message(stalled)
    api.wait_for(
        MODEL, namespace, NAME, lambda seen: f"version {first} serves on 2/2 pods" in message(seen), "the old version"
    )
    assert _versions(api, namespace) == [first, first]
    assert _uids(api, namespace) == before, "a pod was replaced"
    steady_client.check()

    api.apply(quick_model(namespace, NAME, BY_ITSELF, {"training": {"seed": seed}}))
    api.wait_for(MODEL, namespace, NAME, serves(first), "the old version, and nothing to complain of")


def test_a_version_that_answers_errors_is_taken_back(
    api: ApiServer, namespace: str, model: Object, steady_client: SteadyClient
) -> None:
    """It takes larger images than the clients send."""
    first, number = model["status"]["servingVersion"], model["status"]["latestVersion"] + 1
    before = _uids(api, namespace)
    larger = {"training": {"data": {"imageSize": [16, 16]}, "seed": model["spec"]["training"]["seed"]}}
    api.apply(quick_model(namespace, NAME, BY_ITSELF, larger))
    stalled = api.wait_for(MODEL, namespace, NAME, taken_back(number), "a canary that was taken back")
    assert conditions(stalled)["Stalled"]["reason"] == "CanaryWorse"
    assert " % of its requests ended with an error, 0.0 % with version" in message(stalled)
    api.wait_for(
        MODEL, namespace, NAME, lambda seen: f"version {first} serves on 2/2 pods" in message(seen), "the old version"
    )
    assert _versions(api, namespace) == [first, first]
    assert _uids(api, namespace) == before, "a pod was replaced"
    version = api.get(VERSION, namespace, f"{NAME}-{number}")
    assert version is not None
    assert version["status"]["phase"] == "Published"
    assert steady_client.score.failures, "nobody met the bad version"
