"""Versions that change places inside running pods, under a client that never stops asking."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from tests.e2e import image_sets, predictions
from tests.e2e.api_server import MODEL, VERSION, ApiServer, Object
from tests.e2e.conftest import MakeNamespace
from tests.e2e.models import is_ready, is_stalled, message, model_url, quick_model, serves, store_prefix
from tests.e2e.object_store import ObjectStore
from tests.e2e.steady_client import Question, SteadyClient

NAME = "hot"
HOT = {"serving": {"replicas": 2, "rollout": {"strategy": "Hot"}, "resources": {"limits": {"memory": "1Gi"}}}}
SERVING_PODS = f"keras-operator.dev/model={NAME},app.kubernetes.io/component=serving"


@pytest.fixture(scope="module")
def namespace(api: ApiServer, make_namespace: MakeNamespace) -> str:
    """Where one model serves on two pods, whose versions are swapped."""
    name = make_namespace("hot")
    api.apply(quick_model(name, NAME, HOT))
    api.wait_for(MODEL, name, NAME, is_ready, "a first version that serves")
    return name


@pytest.fixture
def model(api: ApiServer, namespace: str) -> Object:
    """The model as it serves now."""
    return api.wait_for(MODEL, namespace, NAME, is_ready, "a version that serves")


@pytest.fixture
def steady_client(api: ApiServer, namespace: str, model: Object) -> Iterator[SteadyClient]:
    """Asks the model all the time, and is checked by the test."""
    _, hidden = image_sets.known_and_held_out()
    questions = [Question(digit.instance(), digit.label) for digit in image_sets.quick_digits(hidden)]
    with SteadyClient(model_url(api, namespace, NAME), questions, image_sets.QUICK_CLASSES) as client:
        yield client


def _pods(api: ApiServer, namespace: str) -> dict[str, tuple[str, int, str]]:
    """Of each serving pod: its uid, how often a container of it was restarted, and its version's label."""
    return {
        pod["metadata"]["name"]: (
            pod["metadata"]["uid"],
            sum(
                one["restartCount"]
                for part in ("containerStatuses", "initContainerStatuses")
                for one in pod["status"][part]
            ),
            pod["metadata"]["labels"].get("keras-operator.dev/version", ""),
        )
        for pod in api.objects("Pod", namespace, SERVING_PODS)
        if "deletionTimestamp" not in pod["metadata"]
    }


def _same_pods(before: dict[str, tuple[str, int, str]], after: dict[str, tuple[str, int, str]]) -> bool:
    return {name: pod[:2] for name, pod in before.items()} == {name: pod[:2] for name, pod in after.items()}


def _versions_of(pods: dict[str, tuple[str, int, str]]) -> list[str]:
    return [pod[2] for pod in pods.values()]


def test_a_new_version_and_the_way_back_cost_no_request_and_no_restart(
    api: ApiServer, s3: ObjectStore, namespace: str, model: Object, steady_client: SteadyClient
) -> None:
    before, first = _pods(api, namespace), model["status"]["servingVersion"]
    assert _versions_of(before) == [str(first)] * 2

    seed = random.SystemRandom().randrange(2**31)
    api.apply(quick_model(namespace, NAME, HOT, {"training": {"seed": seed}}))
    second = model["status"]["latestVersion"] + 1
    api.wait_for(MODEL, namespace, NAME, serves(second), f"version {second} serving")
    after = _pods(api, namespace)
    assert _same_pods(before, after), f"{before} became {after}"
    assert _versions_of(after) == [str(second)] * 2
    start = api.get("ConfigMap", namespace, NAME)
    assert start is not None
    assert start["data"] == {"version": str(second)}
    assert _answering(api, namespace) == second

    # Back by a pin, from the pods' own copies: what is in the store is put out of reach.
    key = f"{store_prefix(namespace, NAME)}/.runs/{first}/manifest.json"
    manifest = s3.read("models", key)
    s3.remove("models", key)
    api.patch(MODEL, namespace, NAME, {"spec": {"serving": {"version": first}}})
    api.wait_for(MODEL, namespace, NAME, serves(first), f"version {first} serving again")
    s3.put("models", key, manifest)
    last = _pods(api, namespace)
    assert _same_pods(before, last), f"{before} became {last}"
    assert _versions_of(last) == [str(first)] * 2
    assert _answering(api, namespace) == first
    steady_client.check()


def test_a_version_that_cannot_be_loaded_stops_at_the_first_pod(
    api: ApiServer, s3: ObjectStore, namespace: str, model: Object, steady_client: SteadyClient
) -> None:
    """Its bytes are changed in the store after it was published, and nothing has it yet."""
    first, before = model["status"]["servingVersion"], _pods(api, namespace)
    api.patch(MODEL, namespace, NAME, {"spec": {"serving": {"version": first}}})
    seed = random.SystemRandom().randrange(2**31)
    api.patch(MODEL, namespace, NAME, {"spec": {"training": {"seed": seed}}})
    broken = model["status"]["latestVersion"] + 1
    api.wait_for(VERSION, namespace, f"{NAME}-{broken}", _is_published, f"version {broken} published")
    s3.put("models", f"{store_prefix(namespace, NAME)}/{broken}/saved_model.pb", b"damaged")

    api.patch(MODEL, namespace, NAME, {"spec": {"serving": {"version": None}}})
    stalled = api.wait_for(MODEL, namespace, NAME, _stalls_on(broken), "a rollout that stopped")
    assert "it was damaged or changed after it was published" in message(stalled)
    assert f"version {first} serves on 2/2 pods" in message(stalled)
    assert _same_pods(before, _pods(api, namespace))
    assert _versions_of(_pods(api, namespace)) == [str(first)] * 2

    api.patch(MODEL, namespace, NAME, {"spec": {"serving": {"version": first}}})
    api.wait_for(MODEL, namespace, NAME, serves(first), "the old version, and nothing to complain of")
    steady_client.check()


def test_pods_with_their_swaps_done_make_way_for_new_ones(
    api: ApiServer, namespace: str, model: Object, steady_client: SteadyClient
) -> None:
    before = _pods(api, namespace)
    few = {"serving": {"rollout": {"maxSwaps": 1}}}
    api.patch(MODEL, namespace, NAME, {"spec": few})
    api.wait_for(
        MODEL,
        namespace,
        NAME,
        lambda seen: is_ready(seen) and before.keys().isdisjoint(_pods(api, namespace)),
        "two other pods",
    )
    assert _versions_of(_pods(api, namespace)) == [str(model["status"]["servingVersion"])] * 2
    steady_client.check()


def test_pods_that_have_grown_to_their_mark_make_way_for_new_ones(
    api: ApiServer, namespace: str, model: Object, steady_client: SteadyClient
) -> None:
    """A runtime has more than a hundredth of its limit from the first, which counts once it has changed versions."""
    training = {"training": {"seed": random.SystemRandom().randrange(2**31)}}
    before, old, new = _pods(api, namespace), model["status"]["servingVersion"], model["status"]["latestVersion"] + 1
    rollout = {"maxSwaps": None, "maxMemoryPercent": 1}
    api.patch(MODEL, namespace, NAME, {"spec": training | {"serving": {"version": old, "rollout": rollout}}})
    api.wait_for(VERSION, namespace, f"{NAME}-{new}", _is_published, f"version {new} published")
    assert before.keys() == _pods(api, namespace).keys()

    api.patch(MODEL, namespace, NAME, {"spec": {"serving": {"version": new}}})
    api.wait_for(
        MODEL,
        namespace,
        NAME,
        lambda seen: serves(new)(seen) and before.keys().isdisjoint(_pods(api, namespace)),
        f"version {new} on two other pods",
    )
    assert _versions_of(_pods(api, namespace)) == [str(new)] * 2
    steady_client.check()


def _answering(api: ApiServer, namespace: str) -> int:
    """The one version that the runtimes say is AVAILABLE."""
    url = model_url(api, namespace, NAME)
    states = predictions.ask(url)["model_version_status"]
    (available,) = [int(one["version"]) for one in states if one["state"] == "AVAILABLE"]
    return available


def _is_published(version: Object) -> bool:
    return bool(version.get("status", {}).get("phase") == "Published")


def _stalls_on(number: int) -> Callable[[Object], bool]:
    return lambda seen: is_stalled(seen) and message(seen).startswith(f"version {number} cannot serve: pod ")
