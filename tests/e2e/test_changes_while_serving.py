"""Changes of a model that serves: what trains again and what does not, and that no client notices either."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from benchmarks.demo.kubectl import Kubectl
from tests.e2e import image_sets
from tests.e2e.api_server import MODEL, VERSION, ApiServer, Object
from tests.e2e.conftest import MakeNamespace
from tests.e2e.models import is_ready, model_url, quick_model, serves, store_prefix
from tests.e2e.object_store import ObjectStore
from tests.e2e.steady_client import Question, SteadyClient

NAME = "changing"
SERVING_PODS = f"keras-operator.dev/model={NAME},app.kubernetes.io/component=serving"


@pytest.fixture(scope="module")
def namespace(api: ApiServer, make_namespace: MakeNamespace) -> str:
    """Where one model serves, which every test here changes in a way of its own."""
    name = make_namespace("changes")
    api.apply(quick_model(name, NAME))
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


def test_a_training_change_makes_a_version_and_no_request_fails(
    api: ApiServer, s3: ObjectStore, namespace: str, model: Object, steady_client: SteadyClient
) -> None:
    before = model["status"]["servingVersion"]
    prefix = store_prefix(namespace, NAME)
    published = s3.checksums("models", f"{prefix}/{before}")

    seed = random.SystemRandom().randrange(2**31)
    api.apply(quick_model(namespace, NAME, {"training": {"seed": seed}}))
    after = model["status"]["latestVersion"] + 1
    api.wait_for(MODEL, namespace, NAME, serves(after), f"version {after} serving")
    _wait_for_old_pods_to_go(api, namespace)

    steady_client.check()
    assert published, "there was nothing in the store"
    assert s3.checksums("models", f"{prefix}/{before}") == published, "a published version changed"
    version = api.get(VERSION, namespace, f"{NAME}-{after}")
    assert version is not None
    assert f"training.seed changed from {model['spec']['training']['seed']} to {seed}" in version["spec"]["reason"]


def test_serving_changes_do_not_train_and_no_request_fails(
    api: ApiServer, kubectl: Kubectl, namespace: str, model: Object, steady_client: SteadyClient
) -> None:
    versions, jobs = _uids(api, VERSION, namespace), _uids(api, "Job", namespace)

    kubectl.run("scale", f"kerasmodel/{NAME}", "--replicas=2", "-n", namespace)
    scaled = api.wait_for(MODEL, namespace, NAME, _ready_on(2), "two pods after kubectl scale")
    assert scaled["spec"]["serving"]["replicas"] == 2

    batching = {"batching": {"maxBatchSize": 16, "timeoutMicros": 1000}}
    api.patch(MODEL, namespace, NAME, {"spec": {"serving": {**batching, "replicas": 1}}})
    api.wait_for(MODEL, namespace, NAME, _ready_on(1), "one pod with batching")
    (pod,) = _serving_pods(api, namespace)
    (runtime,) = pod["spec"]["containers"]
    assert "--enable_batching" in runtime["args"]
    _wait_for_old_pods_to_go(api, namespace)

    steady_client.check()
    assert _uids(api, VERSION, namespace) == versions, "a serving change made a version"
    assert _uids(api, "Job", namespace) == jobs, "a serving change started a Job"


def test_autoscaling_comes_and_goes_and_no_request_fails(
    api: ApiServer, namespace: str, model: Object, steady_client: SteadyClient
) -> None:
    del model
    api.patch(
        MODEL,
        namespace,
        NAME,
        # Not one pod more: the steady client is load enough for a third.
        {"spec": {"serving": {"replicas": None, "autoscaling": {"minReplicas": 2, "maxReplicas": 2}}}},
    )
    api.wait_for(MODEL, namespace, NAME, _ready_on(2), "the autoscaler's two pods")
    scaler = api.get("HorizontalPodAutoscaler", namespace, NAME)
    assert scaler is not None
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 2)
    budget = api.get("PodDisruptionBudget", namespace, NAME)
    assert budget is not None
    assert budget["spec"]["maxUnavailable"] == 1

    api.patch(MODEL, namespace, NAME, {"spec": {"serving": {"replicas": 1, "autoscaling": None}}})
    api.wait_for(MODEL, namespace, NAME, _ready_on(1), "one pod after autoscaling")
    api.wait_gone("HorizontalPodAutoscaler", namespace, NAME)
    api.wait_gone("PodDisruptionBudget", namespace, NAME)
    _wait_for_old_pods_to_go(api, namespace)
    steady_client.check()


def _ready_on(pods: int) -> Callable[[Object], bool]:
    def holds(model: Object) -> bool:
        words = f"serves on {pods}/{pods} pods"
        return is_ready(model) and model["status"]["replicas"] == pods and words in model["status"]["message"]

    return holds


def _uids(api: ApiServer, kind: str, namespace: str) -> set[str]:
    return {content["metadata"]["uid"] for content in api.objects(kind, namespace)}


def _serving_pods(api: ApiServer, namespace: str) -> list[Object]:
    return [pod for pod in api.objects("Pod", namespace, SERVING_PODS) if "deletionTimestamp" not in pod["metadata"]]


def _wait_for_old_pods_to_go(api: ApiServer, namespace: str) -> None:
    """A rollout has ended for clients when the last of the pods that go has gone."""
    for pod in api.objects("Pod", namespace, SERVING_PODS):
        if "deletionTimestamp" in pod["metadata"]:
            api.wait_gone("Pod", namespace, pod["metadata"]["name"])
