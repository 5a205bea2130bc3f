"""A model's life, step by step, and what there is in the end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.chaos.pretended_node import MISSES_GATE_EPOCHS
from tests.e2e.api_server import MODEL, VERSION, ApiServer, Object
from tests.e2e.models import is_seen, is_stalled, serves

NAME = "dogs"
SELECTOR = f"keras-operator.dev/model={NAME}"
PATIENCE = 240.0
KEPT = ("ServiceAccount", "Service", "NetworkPolicy", "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget")

_UNLIKE = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "{uid}"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "{time}"),
    (re.compile(r'("keras-operator.dev/(?:applied-hash|store)": )"[0-9a-f]+"'), r'\1"{hash}"'),
)
_OF_THE_SERVER = {"uid", "resourceVersion", "generation", "managedFields", "creationTimestamp"}


def model(namespace: str, name: str = NAME) -> Object:
    """The model at the beginning of its life."""
    return {
        "apiVersion": "keras-operator.dev/v1alpha1",
        "kind": MODEL,
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "training": {
                "data": {"uri": "s3://datasets/dogs", "imageSize": [8, 8]},
                "architecture": {"name": "SmallCNN"},
                "epochs": 1,
            },
            "evaluation": {"gates": [{"metric": "accuracy", "min": 0.8}]},
            "store": {"uri": f"s3://models/{namespace}/{name}"},
            "serving": {"resources": {"requests": {"cpu": "10m"}}},
        },
    }


class Life:
    """One model that is led through everything that can be asked of it.

    Args:
        api: the API server.
        namespace: where it lives.
    """

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self.namespace = namespace

    def lead(self) -> Object:
        """All of it but the end; returns what there is then, as `described` does."""
        self.first_version()
        self.change_training()
        self.change_serving()
        self.miss_gate()
        return described(self._api, self.namespace)

    def first_version(self) -> None:
        """Create the model, and wait until version 1 serves."""
        self._api.apply(model(self.namespace))
        self._wait(serves(1), "version 1 that serves")

    def change_training(self) -> None:
        """Train otherwise, and wait until version 2 serves."""
        self._change({"training": {"epochs": 2}})
        self._wait(serves(2), "version 2 that serves")

    def change_serving(self) -> None:
        """Hand the number of pods to an autoscaler, and take it back."""
        self._change({"serving": {"autoscaling": {"minReplicas": 2, "maxReplicas": 3}}})
        self._wait(lambda now: serves(2)(now) and now["status"]["replicas"] == 2, "two pods, by an autoscaler")
        self._change({"serving": {"autoscaling": None, "replicas": 1}})
        self._wait(lambda now: serves(2)(now) and now["status"]["replicas"] == 1, "one pod, by its own number")
        for kind in ("HorizontalPodAutoscaler", "PodDisruptionBudget"):
            self._api.wait_gone(kind, self.namespace, NAME, seconds=PATIENCE)

    def miss_gate(self) -> None:
        """Train badly, and wait until that is known; version 2 goes on to serve."""
        self._change({"training": {"epochs": MISSES_GATE_EPOCHS}})
        self._wait(
            lambda now: now["status"].get("latestVersion") == 3 and is_stalled(now),
            "version 3 that is rejected",
        )

    def end(self) -> None:
        """Delete the model, and wait until nothing of it is there."""
        self._api.delete(MODEL, self.namespace, NAME)
        for kind in (MODEL, VERSION, "Job", *KEPT, "Pod"):
            for one in self._api.objects(kind, self.namespace, SELECTOR if kind != MODEL else ""):
                self._api.wait_gone(kind, self.namespace, one["metadata"]["name"], seconds=PATIENCE)

    def _change(self, spec: Object) -> None:
        self._api.patch(MODEL, self.namespace, NAME, {"spec": spec})

    def _wait(self, holds: Callable[[Object], object], what: str) -> None:
        self._api.wait_for(MODEL, self.namespace, NAME, lambda now: bool(is_seen(now) and holds(now)), what, PATIENCE)


def described(api: ApiServer, namespace: str) -> Object:
    """All that there is of a model, without what differs from one namespace and one moment to another."""
    found: Object = {}
    for kind in (MODEL, VERSION, "Job", *KEPT):
        for content in api.objects(kind, namespace, SELECTOR if kind != MODEL else ""):
            found[f"{kind} {content['metadata']['name']}"] = _likened(_essence(kind, content), namespace)
    found["ReplicaSets"] = len(api.objects("ReplicaSet", namespace, SELECTOR))
    return found


def _essence(kind: str, content: Object) -> Object:
    metadata = {name: value for name, value in content["metadata"].items() if name not in _OF_THE_SERVER}
    spec, status = dict(content.get("spec", {})), dict(content.get("status", {}))
    if kind == "Service":
        for name in ("clusterIP", "clusterIPs"):
            spec.pop(name)
    if kind == VERSION:
        # Which of them are known depends on when the operator looked.
        status.pop("times", None)
    if kind == "Job":
        status = {name: status.get(name, 0) for name in ("succeeded", "failed")}
    elif kind not in {MODEL, VERSION}:
        status = {}
    return {"metadata": metadata, "spec": spec, "status": status}


def _likened(content: Object, namespace: str) -> Any:
    text = json.dumps(content, sort_keys=True).replace(namespace, "{namespace}")
    for pattern, word in _UNLIKE:
        text = pattern.sub(word, text)
    return json.loads(text)
