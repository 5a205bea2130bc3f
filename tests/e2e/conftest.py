"""A real node with the operator on it, for every test here; a namespace of its own for each.

Nothing is skipped: where the cluster, the images or the operator do not come up, the tests fail with the reason.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.demo.install import install_operator
from benchmarks.demo.kubectl import Kubectl, find_kubectl
from benchmarks.demo.surroundings import Surroundings, surroundings
from tests.e2e import image_sets, node_network, predictions
from tests.e2e.api_server import MODEL, ApiServer, Object
from tests.e2e.audit_log import AuditLog
from tests.e2e.models import credentials, example, is_ready, message, model_url, phase
from tests.e2e.object_store import ObjectStore
from tests.e2e.operator_process import Operator

ROOT = Path(__file__).resolve().parents[2]
OURS = "keras-operator.dev/e2e"
_SECONDS_TO_LEAVE = 60.0
"""For the pods of a module to end; those that take longer go with their namespaces."""
_LONG_TESTS = ["test_dogs.py", "test_hanging_runtime.py", "test_request_rate.py", "test_store_away.py"]

collect_ignore = [
    # Two trainings on photographs of 120 classes take five minutes: `make dogs` has them done. `make request-rate`
    # builds prometheus-adapter first. `make store-away` waits for five minutes without a store, `make hanging-runtime`
    # for a liveness probe.
    *([] if os.environ.get("LONG_TESTS") else _LONG_TESTS),
    # The cluster has one node: `make two-nodes` starts it with two.
    *([] if os.environ.get("NODES") == "2" else ["test_two_nodes.py"]),
]

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where a request of a test got no answer, its report tells what the node's network looked like."""
    report = yield
    if call.when == "call" and call.excinfo is not None and call.excinfo.errisinstance(OSError):
        report.sections.append(("the node's network", node_network.seen()))
    return report


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
def sources(s3: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Makes the change of a spec that names one of `servables.py`'s SavedModels as its source, in place of training."""
    folder = tmp_path_factory.mktemp("servables")
    subprocess.run([sys.executable, "-m", "tests.e2e.servables", str(folder)], cwd=ROOT, check=True)
    for path in folder.rglob("*"):
        if path.is_file():
            s3.put("datasets", f"servables/{path.relative_to(folder)}", path.read_bytes())
    return lambda name: {"training": None, "source": {"uri": f"s3://datasets/servables/{name}"}}


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
Sources = Callable[[str], Object]


@dataclass
class Made:
    """Namespaces that the module that runs has made, and that go with it."""

    api: ApiServer | None = None
    names: list[str] = field(default_factory=list)

    def leave(self) -> None:
        """Make room for the next module's pods: the node is small.

        Models go first, and with them their pods: in a namespace that ends with all that is in it, the operator would
        still bring back what goes, and a test that counts its writes would count those.
        """
        if self.api is None:
            return
        for name in self.names:
            for model in self.api.objects(MODEL, name):
                self.api.delete(MODEL, name, model["metadata"]["name"])
        end = time.monotonic() + _SECONDS_TO_LEAVE
        while any(self.api.objects("Pod", name) for name in self.names) and time.monotonic() < end:
            time.sleep(0.5)
        for name in self.names:
            self.api.delete("Namespace", None, name)
        self.names.clear()


@pytest.fixture(scope="session")
def made() -> Made:
    """What is made in a module."""
    return Made()


@pytest.fixture(scope="module", autouse=True)
def leaves_room(made: Made) -> Iterator[None]:
    """Ends what a module has left running, after the module's own fixtures."""
    yield
    made.leave()


@pytest.fixture(scope="session")
def make_namespace(api: ApiServer, operator: Operator, s3: ObjectStore, made: Made) -> MakeNamespace:
    """Makes namespaces that admit only restricted pods and hold the Secret `minio`; they go with the module."""
    made.api = api

    def make(word: str) -> str:
        name = f"e2e-{word}-{secrets.token_hex(3)}"
        labels = {"pod-security.kubernetes.io/enforce": "restricted", OURS: "true"}
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        made.names.append(name)
        api.apply(credentials(name, "minio", s3.access_key, s3.secret_key))
        return name

    return make


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
def digits_model(api: ApiServer, make_namespace: MakeNamespace, made: Made) -> Iterator[Served]:
    """The example of all ten digits, served for the first time; it stays for the session."""
    namespace, name = make_namespace("digits"), "digits"
    made.names.remove(namespace)
    with api.recorded(MODEL, namespace, name, lambda model: (phase(model) or "", message(model))) as told:
        api.apply(example("digits.yaml", namespace))
        api.wait_for(MODEL, namespace, name, is_ready, "a first version that serves")
    yield Served(namespace, name, model_url(api, namespace, name), [one for one in told if one[0]])
    api.delete("Namespace", None, namespace)


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
