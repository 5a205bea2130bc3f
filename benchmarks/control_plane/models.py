"""The models of the benchmark, and everything that a controller has to write for one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from keras_operator.api import KerasModelVersionSpec, decode_model, inputs_hash
from keras_operator.cluster.reference import KUBERNETES_KINDS, Kinds
from keras_operator.kinds import MODEL, VERSION
from keras_operator.plan import Plan, plan
from keras_operator.plan.images import Images, Installation
from keras_operator.plan.observed import Deployment, Identity, Model, Observed, Pod
from keras_operator.plan.observed import Version as ObservedVersion
from keras_operator.projection import project
from keras_operator.render import Renderer

from benchmarks.control_plane.cluster import NAMESPACE

TRAINER_IMAGE = SERVER_IMAGE = TENSORFLOW_SERVING_IMAGE = "example.com/none:1"
IN_ONE_NAMESPACE = 1000
A_NAMESPACE_BEYOND = 100
DIGEST = "sha256:" + "0" * 64

Body = dict[str, Any]


def spec(name: str) -> Body:
    """The spec of a model that is trained from images and serves on one to three pods."""
    return {
        "training": {
            "data": {"uri": "s3://datasets/digits", "format": "ImageFolder", "imageSize": [8, 8]},
            "architecture": {"name": "SmallCNN"},
            "epochs": 5,
        },
        "evaluation": {"gates": [{"metric": "accuracy", "min": 0.9}]},
        "store": {"uri": f"s3://models/{name}", "credentials": {"secretName": "store"}},
        "serving": {
            "autoscaling": {"minReplicas": 1, "maxReplicas": 3, "targetCPUUtilization": 70},
            "resources": {"requests": {"cpu": "100m", "memory": "384Mi"}, "limits": {"memory": "1Gi"}},
        },
    }


def namespaces(prefix: str, count: int) -> list[str]:
    """The namespace of each model: one for all, and beyond 1,000 models one for each hundred."""
    if count <= IN_ONE_NAMESPACE:
        return [prefix] * count
    return [f"{prefix}-{number // A_NAMESPACE_BEYOND}" for number in range(count)]


def manifest(namespace: str, name: str) -> Body:
    """A model as a person would apply it."""
    return {
        "apiVersion": MODEL.api_version,
        "kind": MODEL.kind,
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec(name),
    }


def published_version(model: Body) -> Body:
    """Version 1 of a model that exists, with the status of one that is published."""
    metadata = model["metadata"]
    decoded = decode_model(model["spec"])
    made = KerasModelVersionSpec(
        model_name=metadata["name"],
        number=1,
        inputs_hash=inputs_hash(decoded),
        reason="the first version",
        training=decoded.training,
        store=decoded.store,
    )
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = f"is published at {decoded.store.uri}/1"
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Published",
        "message": words,
        "lastTransitionTime": now,
        "observedGeneration": 1,
    }
    return {
        "apiVersion": VERSION.api_version,
        "kind": VERSION.kind,
        "metadata": {
            "namespace": metadata["namespace"],
            "name": f"{metadata['name']}-1",
            "labels": {
                "app.kubernetes.io/name": "keras-model",
                "app.kubernetes.io/instance": metadata["name"],
                "app.kubernetes.io/managed-by": "keras-operator",
                "keras-operator.dev/model": metadata["name"],
                "keras-operator.dev/version": "1",
            },
            "ownerReferences": [
                {
                    "apiVersion": MODEL.api_version,
                    "kind": MODEL.kind,
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": msgspec.to_builtins(made),
        "status": {
            "phase": "Published",
            "message": words,
            "conditions": [condition],
            "metrics": {"accuracy": "0.97", "loss": "0.1"},
            "classes": 10,
            "gates": [{"metric": "accuracy", "bound": ">= 0.9", "value": "0.97", "met": True}],
            "servable": {"uri": f"{decoded.store.uri}/1", "digest": DIGEST, "bytes": 1_000_000},
            "startedAt": now,
            "finishedAt": now,
        },
    }


@dataclass(frozen=True)
class Writes:
    """All that a controller writes for one model: its children, and the statuses on the way to Ready."""

    children: tuple[Body, ...]
    statuses: tuple[Body, ...]


class Author:
    """Says what the operator would write for a model, by the operator's own plan and templates."""

    def __init__(self) -> None:
        self._installation = Installation(Images(TRAINER_IMAGE, SERVER_IMAGE, TENSORFLOW_SERVING_IMAGE), NAMESPACE)
        self._renderer = Renderer()
        self.kinds = Kinds((*KUBERNETES_KINDS, MODEL, VERSION))

    def writes(self, model: Body, version: Body) -> Writes:
        """Everything for one model, from the first look at it until it is Ready."""
        observed = Observed(model=_projected_model(model), versions=(_projected_version(version),))
        first = self._plan(observed)
        children = tuple(self._renderer.render(desired) for desired in first.keep)
        serves = dataclasses.replace(
            observed, deployment=_rolled_out(model["metadata"]), pods=(_ready_pod(model["metadata"]),)
        )
        statuses = tuple(msgspec.to_builtins(todo.status) for todo in (first, self._plan(serves)))
        return Writes(children, statuses)

    def _plan(self, observed: Observed) -> Plan:
        return plan(observed, self._installation, datetime.now(UTC).replace(microsecond=0))


def _projected_model(body: Mapping[str, Any]) -> Model:
    model = project(MODEL, body)
    assert isinstance(model, Model)
    return model


def _projected_version(body: Mapping[str, Any]) -> ObservedVersion:
    version = project(VERSION, body)
    assert isinstance(version, ObservedVersion)
    return version


def _ready_pod(metadata: Mapping[str, Any]) -> Pod:
    who = Identity(metadata["namespace"], f"{metadata['name']}-pod", "a pod's", datetime.now(UTC))
    return Pod(who, number=1, component="serving", phase="Running", ready=True)


def _rolled_out(metadata: Mapping[str, Any]) -> Deployment:
    identity = Identity(metadata["namespace"], metadata["name"], "none", datetime.now(UTC), generation=1)
    return Deployment(
        identity,
        content=b"",
        number=1,
        replicas=1,
        owns_replicas=False,
        observed_generation=1,
        updated=1,
        ready=1,
        available=1,
        total=1,
    )
