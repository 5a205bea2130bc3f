"""The operator as it runs in the cluster: stopped, killed, restarted."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from tests.e2e.api_server import ApiServer, Object
from tests.e2e.models import pod_is_ready

NAMESPACE, NAME = "keras-operator-system", "keras-operator"
USER = f"system:serviceaccount:{NAMESPACE}:{NAME}"
SELECTOR = f"app.kubernetes.io/name={NAME}"
PROBES_PORT = 8081
_PROC = Path("/proc")


class Operator:
    """The installed operator."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    def pods(self) -> list[Object]:
        """Its pods."""
        return self._api.objects("Pod", NAMESPACE, SELECTOR)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """No operator runs while the context lasts."""
        self._scale(0)
        try:
            for pod in self.pods():
                self._api.wait_gone("Pod", NAMESPACE, pod["metadata"]["name"], seconds=60)
            yield
        finally:
            self._scale(1)
            self.wait_ready()

    def replace(self) -> None:
        """Delete its pods, as a node that is drained does, and wait for the ones that take over."""
        old = {pod["metadata"]["name"] for pod in self.pods()}
        for name in old:
            self._api.delete("Pod", NAMESPACE, name)
        for name in old:
            self._api.wait_gone("Pod", NAMESPACE, name, seconds=60)
        self.wait_ready()

    def kill(self) -> None:
        """SIGKILL its processes, between any two instructions, and let a new pod take over at once.

        The dead pod is removed by force, for kubelet's back-off would make each restart wait longer. The Lease of the
        dead goes too: that it runs out by itself takes 15 s and is tried elsewhere.
        """
        for pod in self.pods():
            for pid in _processes(pod["metadata"]["uid"]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._api.delete("Pod", NAMESPACE, pod["metadata"]["name"], grace_seconds=0)
        self._api.delete("Lease", NAMESPACE, NAME)

    def wait_ready(self) -> None:
        """Return once a replica is ready: its cache is complete.

        The pods are asked too, for the Deployment's status counts one that was just killed until its controller looks.
        """
        self._api.wait_for(
            "Deployment",
            NAMESPACE,
            NAME,
            lambda deployment: (
                deployment["status"].get("observedGeneration") == deployment["metadata"]["generation"]
                and deployment["status"].get("readyReplicas") == deployment["spec"]["replicas"] == 1
                and [pod_is_ready(pod) for pod in self.pods() if not _is_leaving(pod)] == [True]
            ),
            "a ready operator",
            seconds=90,
        )

    def wait_idle(self, reconciles: int) -> None:
        """Return once the operator, since its start, has looked at that many models and has nothing left to do."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            values = self.metrics()
            if values["reconciles"] >= reconciles and not values["depth"]:
                return
            time.sleep(0.2)
        raise AssertionError(f"the operator is still busy after 60 s: {values}")

    def metrics(self) -> dict[str, float]:
        """How many reconciles have ended since its start, and how many are under way or wait for a worker."""
        found = {"reconciles": 0.0, "depth": 0.0}
        for line in self.metrics_text().splitlines():
            name, _, value = line.rpartition(" ")
            if name.startswith("keras_operator_reconcile_seconds_count"):
                found["reconciles"] += float(value)
            if name in {"keras_operator_queue_depth", "keras_operator_queue_processing"}:
                found["depth"] += float(value)
        return found

    def metrics_text(self) -> str:
        """All metrics as Prometheus reads them."""
        ips = [pod["status"]["podIP"] for pod in self.pods() if pod["status"].get("podIP")]
        with urlopen(f"http://{ips[0]}:{PROBES_PORT}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
        return text

    def _scale(self, replicas: int) -> None:
        self._api.patch("Deployment", NAMESPACE, NAME, {"spec": {"replicas": replicas}}, sub="scale")


def _is_leaving(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _processes(pod_uid: str) -> list[int]:
    """The pod's processes that run the operator, on this machine, which is the node."""
    found = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if pod_uid in (entry / "cgroup").read_text() and b"keras-operator" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found
