"""What a plan asks for: children to keep, objects to create once, objects to delete, statuses, events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from keras_operator.api import KerasModelStatus, KerasModelVersionStatus
from keras_operator.plan.observed import Model


class Template(Enum):
    """The children, by the name of their template; the value is the file in `templates/` without its ending."""

    SERVICE_ACCOUNT = "serviceaccount"
    SERVICE = "service"
    NETWORK_POLICY = "networkpolicy"
    START = "configmap"
    DEPLOYMENT = "deployment"
    AUTOSCALER = "horizontalpodautoscaler"
    DISRUPTION_BUDGET = "poddisruptionbudget"
    BOARD = "tensorboard-deployment"
    BOARD_SERVICE = "tensorboard-service"
    WORKERS_SERVICE = "workers-service"
    VERSION = "kerasmodelversion"
    TRAIN_JOB = "train-job"
    EXPORT_JOB = "export-job"


@dataclass(frozen=True, slots=True)
class Desired:
    """An object wanted in the cluster: a template and the values it prints."""

    template: Template
    name: str
    values: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Removal:
    """An object to delete: `kind` as in its manifest; only the object with this uid."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Seed:
    """Hand the Deployment's replica count to the autoscaler, starting from `replicas`."""

    replicas: int


@dataclass(frozen=True, slots=True)
class Mark:
    """What is to be written on a pod whose versions are swapped in place.

    `serves` becomes its label and 0 leaves it without; `wanted` is read by its agent; `swaps` is how many it has had,
    and `memory` the bytes that its runtime had after the last one.
    """

    pod: str
    uid: str
    serves: int
    wanted: int
    swaps: int
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """A Kubernetes Event about the model: `kind` is Normal or Warning."""

    kind: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything to do about one model now. Status is None where nothing may be said (the model is going away)."""

    keep: tuple[Desired, ...] = ()
    create: tuple[Desired, ...] = ()
    remove: tuple[Removal, ...] = ()
    seed: Seed | None = None
    marks: tuple[Mark, ...] = ()
    status: KerasModelStatus | None = None
    version_statuses: Mapping[str, KerasModelVersionStatus] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    requeue_after: float | None = None


def values_of(model: Model, name: str) -> dict[str, object]:
    """What the template of every object takes that belongs to a model and is called `name`."""
    identity = model.identity
    return {
        "model": identity.name,
        "namespace": identity.namespace,
        "name": name,
        "owner_kind": "KerasModel",
        "owner_name": identity.name,
        "owner_uid": identity.uid,
    }
