"""What is done to a model while clients ask it, and which versions may answer them meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.demo.install import OPERATOR_DEPLOYMENT, OPERATOR_NAMESPACE, WITHIN
from benchmarks.rollouts.errors import RolloutsError
from benchmarks.rollouts.model import NAMESPACE, Model
from devcluster.places import here
from devcluster.processes import of_cluster

FIRST, SECOND, SLOW, FAILING = 1, 2, 3, 4
SOURCES = {FIRST: "first", SECOND: "second", SLOW: "slow", FAILING: "failing"}
"""Of each version, the folder that it comes from."""
HOT, ROLLING = {"strategy": "Hot"}, {"strategy": "Rolling"}
CANARY = {
    "strategy": "Canary",
    "canary": {"steps": [{"pods": "50%", "hold": "20s"}], "analysis": {"minRequests": 1000}},
}
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


def _frozen(component: str, seconds: int) -> Callable[[Model], float]:
    def change(model: Model) -> float:
        processes = [one for one in of_cluster(here().name) if one.name == component]
        if len(processes) != 1:
            raise RolloutsError(f"{len(processes)} processes of {component} run on this machine: use `make cluster`")
        os.kill(processes[0].pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(processes[0].pid, signal.SIGCONT)
        return model.wait(lambda: model.serves(SECOND), "the model serves as before")

    return change


_PAUSE_SECONDS = 20
_API_SERVER_SECONDS, _STORE_SECONDS = 120, 600

SCENARIOS = (
    Scenario("hot update", HOT, FIRST, SECOND, _unpinned(SECOND), SECOND, p99=HOT_P99),
    Scenario("back by a pin", HOT, SECOND, FIRST, _pinned(FIRST), SECOND, p99=HOT_P99),
    Scenario("rolling update", ROLLING, FIRST, SECOND, _unpinned(SECOND), SECOND, p99=ROLLING_P99),
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
        _frozen("kube-apiserver", _API_SERVER_SECONDS),
        SECOND,
        pause=_API_SERVER_SECONDS,
    ),
    Scenario("store stopped", HOT, SECOND, SECOND, _frozen("minio", _STORE_SECONDS), SECOND, pause=_STORE_SECONDS),
    Scenario(
        "canary taken back: slow",
        CANARY,
        SECOND,
        SECOND,
        _taken_back(SLOW, SECOND),
        SLOW,
        passing=frozenset({SLOW}),
        pause=20,
    ),
    Scenario(
        "canary taken back: errors",
        CANARY,
        SECOND,
        SECOND,
        _taken_back(FAILING, SECOND),
        FAILING,
        passing=frozenset({FAILING}),
        pause=20,
    ),
)
