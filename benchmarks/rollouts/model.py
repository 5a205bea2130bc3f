"""The model whose versions change: what is asked of it, and what can be seen of it."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.demo.errors import DemoError
from benchmarks.demo.kubectl import Kubectl
from benchmarks.rollouts.errors import RolloutsError
from benchmarks.rollouts.looks import Looks

NAMESPACE, NAME = "rollouts", "network"
BUCKET = "rollouts"
POLL_SECONDS = 0.2
WITHIN = 300.0
_SELECTOR = f"keras-operator.dev/model={NAME},app.kubernetes.io/component=serving"
_VERSION_LABEL = "keras-operator.dev/version"

_SPIN = "import time\nwhile time.process_time() < {seconds}: pass"

Object = dict[str, Any]

BASE: Object = {
    "apiVersion": "keras-operator.dev/v1alpha1",
    "kind": "KerasModel",
    "metadata": {"namespace": NAMESPACE, "name": NAME},
    "spec": {
        "source": {"uri": f"s3://{BUCKET}/sources/first"},
        "store": {
            "uri": f"s3://{BUCKET}/{NAME}",
            "endpoint": "http://minio.minio.svc:9000",
            "credentials": {"secretName": "minio"},
        },
        "serving": {
            "replicas": 2,
            "rollout": {"strategy": "Hot"},
            "resources": {"requests": {"cpu": "100m", "memory": "384Mi"}, "limits": {"memory": "1Gi"}},
        },
    },
}


@dataclass(frozen=True)
class Pod:
    """A serving pod: its version's label (0: none yet), whether it is Ready, whether it is on its way out, its node."""

    name: str
    version: int
    ready: bool
    leaves: bool
    node: str = ""


class Model:
    """Applies and looks; every wait has an end, after which it says what did not come to pass.

    Args:
        kubectl: as somebody who may.
    """

    def __init__(self, kubectl: Kubectl) -> None:
        self.kubectl = kubectl
        self._looks = Looks(kubectl.kubeconfig, NAMESPACE)
        self.document = copy.deepcopy(BASE)

    def apply(self, **serving: Any) -> None:
        """Apply the model with other fields of `spec.serving`; None removes one."""
        asked = self.document["spec"]["serving"]
        for field, value in serving.items():
            if value is None:
                asked.pop(field, None)
            else:
                asked[field] = value
        self.kubectl.run("apply", "--server-side", "-f", "-", text_in=json.dumps(self.document))

    def publish(self, source: str, number: int) -> None:
        """Bring another servable, which becomes version `number`; what serves is not changed."""
        self.document["spec"]["source"]["uri"] = f"s3://{BUCKET}/sources/{source}"
        self.apply()

        def published() -> bool:
            versions = self.kubectl.get("kerasmodelversions", "-n", NAMESPACE)["items"]
            return any(
                one["spec"]["number"] == number and one.get("status", {}).get("phase") == "Published"
                for one in versions
            )

        self.wait(published, f"version {number} published")

    def seen(self) -> Object:
        """The model as the API server has it."""
        return self._looks.model(NAME)

    def pods(self) -> list[Pod]:
        """All serving pods."""
        return [
            Pod(
                pod["metadata"]["name"],
                int(pod["metadata"]["labels"].get(_VERSION_LABEL, 0)),
                any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ())),
                "deletionTimestamp" in pod["metadata"],
                pod["spec"].get("nodeName", ""),
            )
            for pod in self._looks.pods(_SELECTOR)
        ]

    def spin(self, name: str, seconds: float) -> None:
        """Run a pod of a serving pod's image and resources that has a processor for so long, and wait for its end."""
        serving = self._looks.pods(_SELECTOR)[0]["spec"]
        container = serving["containers"][0]
        spec = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": serving["securityContext"],
            "containers": [
                {
                    "name": "spin",
                    "command": ["python3", "-c", _SPIN.format(seconds=seconds)],
                    **{
                        field: container[field]
                        for field in ("image", "imagePullPolicy", "resources", "securityContext")
                    },
                }
            ],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": NAMESPACE, "name": name}, "spec": spec}
        self.kubectl.run("create", "-f", "-", text_in=json.dumps(pod))
        ended = f"--timeout={WITHIN:.0f}s"
        self.kubectl.run("wait", f"pod/{name}", "-n", NAMESPACE, "--for=jsonpath={.status.phase}=Succeeded", ended)
        self.kubectl.run("delete", f"pod/{name}", "-n", NAMESPACE, "--wait=false")

    def serves(self, number: int, replicas: int = 2) -> bool:
        """Whether so many pods, and no others, have this version and the status says so."""
        model, pods = self.seen(), self.pods()
        status = model.get("status", {})
        return (
            status.get("observedGeneration") == model["metadata"]["generation"]
            and status.get("servingVersion") == number
            and "canary" not in status
            and any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", ()))
            and len(pods) == replicas
            and all(pod.version == number and pod.ready and not pod.leaves for pod in pods)
        )

    def taken_back(self, number: int) -> bool:
        """Whether the canary of this version was ended because it was worse."""
        said = " ".join(one.get("message", "") for one in self.seen().get("status", {}).get("conditions", ()))
        return f"version {number} cannot serve: it was taken back" in said

    def stalls(self, reason: str) -> bool:
        """Whether the model waits for somebody to do something, for this reason."""
        found = self.seen().get("status", {}).get("conditions", ())
        return any((one["type"], one["status"], one["reason"]) == ("Stalled", "True", reason) for one in found)

    def message(self) -> str:
        """What the status says in one line."""
        return str(self.seen().get("status", {}).get("message", ""))

    def wait(self, condition: Callable[[], bool], what: str, within: float = WITHIN) -> float:
        """Wait until it is so; the time (seconds since the epoch) at which it was seen. Raises RolloutsError."""
        end = time.monotonic() + within
        while not condition():
            if time.monotonic() > end:
                raise RolloutsError(f"not within {within:.0f} s: {what}; the model says: {self.message()}")
            time.sleep(POLL_SECONDS)
        return time.time()

    def evict(self, pod: str) -> bool:
        """Ask for a pod's eviction as `kubectl drain` does; False where its disruption budget has no room now."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": NAMESPACE},
        }
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
        try:
            self.kubectl.run("create", "--raw", path, "-f", "-", text_in=json.dumps(eviction))
        except DemoError as refused:
            if "disruption budget" in str(refused):
                return False
            raise
        return True

    def nodes(self) -> list[str]:
        """The names of all nodes."""
        return sorted(node["metadata"]["name"] for node in self.kubectl.get("nodes")["items"])

    def addresses(self) -> tuple[str, str]:
        """`host:port` of the Service for REST and for gRPC."""
        spec = self.kubectl.get("service", NAME, "-n", NAMESPACE)["spec"]
        ports = {one["name"]: one["port"] for one in spec["ports"]}
        return f"{spec['clusterIP']}:{ports['http']}", f"{spec['clusterIP']}:{ports['grpc']}"
