"""A real node with the operator on it, for every test here; a namespace of its own for each.

Nothing is skipped: where the cluster, the images or the operator do not come up, the tests fail with the reason.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.demo.install import install_operator
from benchmarks.demo.kubectl import Kubectl, find_kubectl
from benchmarks.demo.surroundings import Surroundings, surroundings
from tests.e2e import image_sets, predictions
from tests.e2e.api_server import MODEL, ApiServer
from tests.e2e.audit_log import AuditLog
from tests.e2e.models import credentials, example, is_ready, message, model_url, phase
from tests.e2e.object_store import ObjectStore
from tests.e2e.operator_process import Operator

ROOT = Path(__file__).resolve().parents[2]
OURS = "keras-operator.dev/e2e"


# Two trainings on photographs of 120 classes take five minutes: `make dogs` has them done.
collect_ignore = [] if os.environ.get("LONG_TESTS") else ["test_dogs.py"]

# Judges by what the operator has asked for in the course of all the others.
_LAST = "test_rights_in_use.py"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Everything in this folder needs a node; one file needs all the others to have run."""
    here = Path(__file__).parent
    ours = [item for item in items if item.path.is_relative_to(here)]
    for item in ours:
        item.add_marker(pytest.mark.e2e)
        # A first version takes half a minute, and several on a machine that others use too.
        item.add_marker(pytest.mark.timeout(600))
    last = [item for item in ours if item.path.name == _LAST]
    rest = [item for item in items if item not in last]
    whole = {item.path for item in ours} >= set(here.glob("test_*.py")) - {here / name for name in collect_ignore}
    if last and not whole:
        config.hook.pytest_deselected(items=last)
    end = max((rest.index(item) + 1 for item in ours if item not in last), default=len(rest))
    items[:] = rest[:end] + (last if whole else []) + rest[end:]


def _devcluster(*words: str) -> None:
    """Run a command of devcluster and show what it says where it fails."""
    command = [sys.executable, "-m", "devcluster", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"`python3 -m devcluster {' '.join(words)}` failed:\n{done.stdout}{done.stderr}", pytrace=False)


@pytest.fixture(scope="session")
def cluster() -> Surroundings:
    """The running cluster; started, with the present images in it, unless the environment names another."""
    if "DEVCLUSTER_S3_ENDPOINT" not in os.environ:
        _devcluster("up")
        _devcluster("images")
    return surroundings()


@pytest.fixture(scope="session")
def api(cluster: Surroundings) -> ApiServer:
    """The API server; what a killed run has left in it is deleted."""
    server = ApiServer(Path(cluster.kubeconfig))
    for namespace in server.objects("Namespace", None, selector=OURS):
        server.delete("Namespace", None, namespace["metadata"]["name"])
    return server


@pytest.fixture(scope="session")
def kubectl(cluster: Surroundings) -> Kubectl:
    """kubectl as the administrator."""
    return find_kubectl(cluster.kubeconfig)


@pytest.fixture(scope="session")
def audit(cluster: Surroundings) -> AuditLog:
    """The API server's audit log."""
    assert cluster.audit_log is not None, "this cluster has no audit log to read: use devcluster's own"
    return AuditLog(cluster.audit_log)


@pytest.fixture(scope="session")
def s3(cluster: Surroundings) -> ObjectStore:
    """Object storage with every set of images in it."""
    store = ObjectStore(cluster.s3_endpoint, cluster.s3_access_key, cluster.s3_secret_key)
    for bucket in ("datasets", "models"):
        store.ensure_bucket(bucket)
    for name, files in image_sets.SETS.items():
        store.fill("datasets", name, files())
    return store


@pytest.fixture(scope="session")
def suite_start(cluster: Surroundings) -> int:
    """Where the audit log ended before this session's operator was started."""
    return AuditLog(cluster.audit_log).end() if cluster.audit_log else 0


@pytest.fixture(scope="session")
def operator(api: ApiServer, kubectl: Kubectl, s3: ObjectStore, suite_start: int) -> Operator:
    """The operator, installed from the manifests and started anew, as its image may have been built anew."""
    del suite_start  # a place in the audit log from before this
    install_operator(kubectl)
    return Operator(api)


MakeNamespace = Callable[[str], str]


@pytest.fixture(scope="session")
def make_namespace(api: ApiServer, operator: Operator, s3: ObjectStore) -> Iterator[MakeNamespace]:
    """Makes namespaces that admit only restricted pods and hold the Secret `minio`; they go with the session."""
    made = []

    def make(word: str) -> str:
        name = f"e2e-{word}-{secrets.token_hex(3)}"
        labels = {"pod-security.kubernetes.io/enforce": "restricted", OURS: "true"}
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        made.append(name)
        api.apply(credentials(name, "minio", s3.access_key, s3.secret_key))
        return name

    yield make
    for name in made:
        api.delete("Namespace", None, name)


@pytest.fixture
def namespace(api: ApiServer, make_namespace: MakeNamespace) -> Iterator[str]:
    """A namespace for one test."""
    name = make_namespace("test")
    yield name
    api.delete("Namespace", None, name)


@dataclass(frozen=True)
class Served:
    """A model that was brought to Serving, which tests look at and leave as it is."""

    namespace: str
    name: str
    url: str
    """The model's own, at an address that this machine reaches."""
    told: list[tuple[str, str]]
    """Phase and message, each time that one of them changed on the way."""


@pytest.fixture(scope="session")
def digits_model(api: ApiServer, make_namespace: MakeNamespace) -> Served:
    """The example of all ten digits, served for the first time."""
    namespace, name = make_namespace("digits"), "digits"
    with api.recorded(MODEL, namespace, name, lambda model: (phase(model) or "", message(model))) as told:
        api.apply(example("digits.yaml", namespace))
        api.wait_for(MODEL, namespace, name, is_ready, "a first version that serves")
    return Served(namespace, name, model_url(api, namespace, name), [one for one in told if one[0]])


@pytest.fixture
def neighbour(api: ApiServer, digits_model: Served) -> Iterator[Served]:
    """A model that serves, in whose namespace a test does harm to another: nothing may happen to it."""
    namespace, name = digits_model.namespace, digits_model.name
    before = api.wait_for(MODEL, namespace, name, is_ready, "the neighbour that serves")
    yield digits_model
    assert api.get(MODEL, namespace, name) == before, "the neighbour was touched"
    digits = image_sets.known_and_held_out()[1][:20]
    assert predictions.accuracy(predictions.by_floats(digits_model.url, digits), digits) > 0.5


@pytest.fixture
def victim(api: ApiServer, neighbour: Served) -> Iterator[str]:
    """The name of a model that a test may do harm to, beside the neighbour; it is deleted in the end."""
    name = f"victim-{secrets.token_hex(3)}"
    yield name
    api.delete(MODEL, neighbour.namespace, name)
