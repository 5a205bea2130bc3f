"""Names of things in the API server: a kind, and one object of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Key = tuple[str, str]
"""Namespace and name of the object whose reconcile a change wakes."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One namespaced resource type: `Kind("apps", "v1", "deployments", "Deployment")`; the core group is empty."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """What manifests say in `apiVersion`: `apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of an object, of a namespace's collection, or (without a namespace) of all namespaces' objects."""
        parts = ["/apis" if self.group else "/api", self.api_version]
        if namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True, slots=True)
class Ref:
    """One object, by name. Two objects of one name, one after the other, differ by uid, which a Ref does not hold."""

    kind: Kind
    namespace: str
    name: str

    @property
    def path(self) -> str:
        """URL path of the object."""
        return self.kind.path(self.namespace, self.name)

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.namespace}/{self.name}"


class UnknownKindError(LookupError):
    """A manifest names a kind this process was not told about."""


class Kinds:
    """The kinds a process works with, found by what a manifest says about itself."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._by_manifest = {(kind.api_version, kind.kind): kind for kind in kinds}

    def ref(self, manifest: Mapping[str, Any]) -> Ref:
        """Reference to the object of a manifest.

        Raises:
            UnknownKindError: its `apiVersion` and `kind` are not among these kinds.
        """
        identity = (manifest.get("apiVersion", ""), manifest.get("kind", ""))
        kind = self._by_manifest.get(identity)
        if kind is None:
            known = ", ".join(sorted(f"{api_version} {name}" for api_version, name in self._by_manifest))
            raise UnknownKindError(f"manifest is a {identity[0]} {identity[1]}; known are {known}")
        metadata = manifest["metadata"]
        return Ref(kind, metadata["namespace"], metadata["name"])


JOB = Kind("batch", "v1", "jobs", "Job")
DEPLOYMENT = Kind("apps", "v1", "deployments", "Deployment")
SERVICE = Kind("", "v1", "services", "Service")
SERVICE_ACCOUNT = Kind("", "v1", "serviceaccounts", "ServiceAccount")
POD = Kind("", "v1", "pods", "Pod")
CONFIG_MAP = Kind("", "v1", "configmaps", "ConfigMap")
HORIZONTAL_POD_AUTOSCALER = Kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
POD_DISRUPTION_BUDGET = Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
NETWORK_POLICY = Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
LEASE = Kind("coordination.k8s.io", "v1", "leases", "Lease")
EVENT = Kind("events.k8s.io", "v1", "events", "Event")
CORE_EVENT = Kind("", "v1", "events", "Event")

KUBERNETES_KINDS = (
    JOB,
    DEPLOYMENT,
    SERVICE,
    SERVICE_ACCOUNT,
    POD,
    CONFIG_MAP,
    HORIZONTAL_POD_AUTOSCALER,
    POD_DISRUPTION_BUDGET,
    NETWORK_POLICY,
    LEASE,
)
