"""What is done to a model while clients ask it, and which versions may answer them meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.demo.install import OPERATOR_DEPLOYMENT, OPERATOR_NAMESPACE, WITHIN
from benchmarks.rollouts.errors import RolloutsError
from benchmarks.rollouts.model import NAMESPACE, Model
from devcluster import node as devcluster_node
from devcluster.places import here
from devcluster.processes import Process, of_cluster, stop

FIRST, SECOND, SLOW, FAILING, WRONG, THIRD = 1, 2, 3, 4, 5, 6
SOURCES = {FIRST: "first", SECOND: "second", SLOW: "slow", FAILING: "failing", WRONG: "wrong", THIRD: "third"}
"""Of each version, the folder that it comes from."""
HOT, ROLLING = {"strategy": "Hot"}, {"strategy": "Rolling"}
CANARY = {
    "strategy": "Canary",
    "canary": {"steps": [{"pods": "50%", "hold": "20s"}], "analysis": {"minRequests": 1000}},
}
CANARY_BY_CLASSES = {
    "strategy": "Canary",
    "canary": {
        "steps": [{"pods": "50%", "hold": "20s"}],
        "analysis": {"minRequests": 1000, "predictionDrift": {"maxDistance": 0.2, "minPredictions": 1000}},
    },
}
# Seconds of a processor. A serving pod takes more until it is Ready: KerasServer alone 1.0, by itself on a processor.
_SPIN_SECONDS = 1.0
HOT_P99, ROLLING_P99 = 1.5, 2.0


@dataclass(frozen=True)
class Scenario:
    """One change.

    Attributes:
        name: of its row.
        rollout: `spec.serving.rollout` meanwhile.
        before: the version that serves until then; it is pinned.
        after: the one that serves in the end.
        change: makes the change and returns when it is through.
        newest: the source whose version must have been published, and is the newest, before.
        passing: versions that may answer during the change besides those two.
        p99: how many times the p99 at rest the p99 during the change may be; None where nothing is said.
        pause: seconds that the change takes at least, by what it is.
        nodes: how many the cluster must have.
    """

    name: str
    rollout: dict[str, Any]
    before: int
    after: int
    change: Callable[[Model], float]
    newest: int
    passing: frozenset[int] = frozenset()
    p99: float | None = None
    pause: int = 0
    nodes: int = 1


def _unpinned(number: int) -> Callable[[Model], float]:
    def change(model: Model) -> float:
        model.apply(version=None)
        return model.wait(lambda: model.serves(number), f"version {number} on all pods")

    return change


def _pinned(number: int) -> Callable[[Model], float]:
    def change(model: Model) -> float:
        model.apply(version=number)
        return model.wait(lambda: model.serves(number), f"version {number} on all pods")

    return change


def _taken_back(number: int, stays: int) -> Callable[[Model], float]:
    def change(model: Model) -> float:
        model.apply(version=None)
        model.wait(lambda: model.taken_back(number), f"version {number} taken back")
        return model.wait(lambda: all(pod.version == stays for pod in model.pods()), f"version {stays} on all pods")

    return change


def _evicted(model: Model) -> float:
    for pod in model.pods():
        model.wait(lambda pod=pod: model.evict(pod.name), f"room to evict {pod.name}")  # type: ignore[misc]
        model.wait(
            lambda pod=pod: (  # type: ignore[misc]
                pod.name not in {one.name for one in model.pods()} and model.serves(SECOND)
            ),
            f"another pod in the place of {pod.name}",
        )
    return time.time()


def _drained(model: Model) -> float:
    """Drain each node once. After the first all pods are on the other one, so that the second moves every pod."""
    nodes = model.nodes()
    for node in nodes:
        others = set(nodes) - {node}
        try:
            model.kubectl.run("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={WITHIN}")
            model.wait(
                lambda: model.serves(SECOND) and {pod.node for pod in model.pods()} <= others,  # noqa: B023 - waits at once
                f"all pods on another node than {node}",
            )
        finally:
            model.kubectl.run("uncordon", node)
    return time.time()


def _spun(model: Model) -> float:
    """What new pods take of the node whatever is in them: a container each, and a processor for a while."""
    for number in (1, 2):
        model.spin(f"spin-{number}", _SPIN_SECONDS)
    return time.time()


def _scaled(model: Model) -> float:
    for replicas in (1, 4, 1):
        model.apply(replicas=replicas)
        model.wait(lambda: model.serves(SECOND, replicas), f"{replicas} pods that serve")  # noqa: B023 - waits at once
    model.apply(replicas=2)
    return model.wait(lambda: model.serves(SECOND), "2 pods that serve")


def _killed(model: Model) -> float:
    pod = model.pods()[0].name
    model.kubectl.run("delete", "pod", pod, "-n", NAMESPACE, "--grace-period=0", "--force", "--wait=false")
    return model.wait(
        lambda: pod not in {one.name for one in model.pods()} and model.serves(SECOND), f"another pod for {pod}"
    )


def _without_operator(model: Model) -> float:
    operator = ("-n", OPERATOR_NAMESPACE, OPERATOR_DEPLOYMENT)
    replicas = model.kubectl.get(*operator)["spec"]["replicas"]
    model.kubectl.run("scale", "--replicas=0", *operator)
    gone = f"--timeout={WITHIN}"
    model.kubectl.run(
        "wait", "--for=delete", "pods", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/name=keras-operator", gone
    )
    model.apply(version=FIRST)
    time.sleep(_PAUSE_SECONDS)
    model.kubectl.run("scale", f"--replicas={replicas}", *operator)
    return model.wait(lambda: model.serves(FIRST), f"version {FIRST} on all pods")


@contextmanager
def _frozen(component: str) -> Iterator[None]:
    """A process of the cluster takes connections and answers nothing, until the context ends."""
    process = _process(component)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


@contextmanager
def _ended(component: str) -> Iterator[None]:
    """A process of the cluster is away until the context ends."""
    stop(_process(component))
    try:
        yield
    finally:
        devcluster_node.up(here())


def _process(component: str) -> Process:
    processes = [one for one in of_cluster(here().name) if one.name == component]
    if len(processes) != 1:
        raise RolloutsError(f"{len(processes)} processes of {component} run on this machine: use `make cluster`")
    return processes[0]


def _without_api_server(model: Model) -> float:
    """The controller manager ends meanwhile and is begun anew, as everywhere where it leads by a Lease.

    The dev cluster's has none. Left alone it takes the API server's silence for the node's, and takes all pods out of
    their Services for some seconds where it is the first to be answered again.
    """
    with _ended("kube-controller-manager"), _frozen("kube-apiserver"):
        time.sleep(_API_SERVER_SECONDS)
    return model.wait(lambda: model.serves(SECOND), "the model serves as before")


def _without_store(seconds: int) -> Callable[[Model], float]:
    """Meanwhile a version is asked for that no pod has, and a pod is deleted, whose successor has nothing yet."""

    def change(model: Model) -> float:
        with _frozen("minio"):
            end = time.monotonic() + seconds
            model.kubectl.run("delete", "pod", model.pods()[0].name, "-n", NAMESPACE, "--wait=false")
            model.apply(version=None)
            model.wait(lambda: model.stalls("StoreUnreachable"), "a word about the store in the status", seconds)
            while time.monotonic() < end:
                if any(pod.version == THIRD for pod in model.pods()) or not model.stalls("StoreUnreachable"):
                    raise RolloutsError(f"nobody waits for the store any more; the model says: {model.message()}")
                time.sleep(_LOOK_SECONDS)
        return model.wait(lambda: model.serves(THIRD), f"version {THIRD} on all pods")

    return change


def store_stopped(seconds: int) -> Scenario:
    """The scenario without the store for so long; the name says so where it is not the time that is recorded."""
    name = STORE_STOPPED if seconds == STORE_SECONDS else f"{STORE_STOPPED} for {seconds} s"
    return Scenario(name, HOT, SECOND, THIRD, _without_store(seconds), THIRD, pause=seconds)


def _worse(how: str, number: int, rollout: dict[str, Any] = CANARY) -> Scenario:
    """A canary whose version is worse than what serves, and which therefore ends by itself."""
    name, change = f"canary taken back: {how}", _taken_back(number, SECOND)
    return Scenario(name, rollout, SECOND, SECOND, change, number, passing=frozenset({number}), pause=20)


STORE_STOPPED, STORE_SECONDS = "store stopped", 600
_PAUSE_SECONDS = 20
_API_SERVER_SECONDS = 120
_LOOK_SECONDS = 1

SCENARIOS = (
    Scenario("hot update", HOT, FIRST, SECOND, _unpinned(SECOND), SECOND, p99=HOT_P99),
    Scenario("back by a pin", HOT, SECOND, FIRST, _pinned(FIRST), SECOND, p99=HOT_P99),
    Scenario("rolling update", ROLLING, FIRST, SECOND, _unpinned(SECOND), SECOND, p99=ROLLING_P99),
    Scenario("two pods that only spin", HOT, SECOND, SECOND, _spun, SECOND),
    Scenario("canary promoted", CANARY, FIRST, SECOND, _unpinned(SECOND), SECOND, p99=HOT_P99, pause=20),
    Scenario("pods evicted one by one", HOT, SECOND, SECOND, _evicted, SECOND),
    Scenario("both nodes drained", HOT, SECOND, SECOND, _drained, SECOND, nodes=2),
    Scenario("scaled 1, 4, 1", HOT, SECOND, SECOND, _scaled, SECOND),
    Scenario("operator stopped", HOT, SECOND, FIRST, _without_operator, SECOND, pause=_PAUSE_SECONDS),
    Scenario("pod killed", HOT, SECOND, SECOND, _killed, SECOND),
    Scenario(
        "API server stopped",
        HOT,
        SECOND,
        SECOND,
        _without_api_server,
        SECOND,
        pause=_API_SERVER_SECONDS,
    ),
    _worse("slow", SLOW),
    _worse("errors", FAILING),
    _worse("wrong", WRONG, CANARY_BY_CLASSES),
    store_stopped(STORE_SECONDS),
)
