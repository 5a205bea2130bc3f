"""The API server as the tests use it: apply strictly, watch until something holds, else say what was there."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
import yaml
from kubernetes import config as kubernetes_config

Object = dict[str, Any]
FIELD_MANAGER = "e2e"
PATIENCE = 300.0
"""Seconds to wait for anything: ten times what the slowest step takes, as others may use the machine as well."""
MODEL, VERSION = "KerasModel", "KerasModelVersion"
# The kinds that tests name; the API server's discovery gives the rest.
_API_VERSIONS = {
    MODEL: "keras-operator.dev/v1alpha1",
    VERSION: "keras-operator.dev/v1alpha1",
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "Job": "batch/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "Lease": "coordination.k8s.io/v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
    "Kustomization": "kustomize.toolkit.fluxcd.io/v1",
    "ExternalArtifact": "source.toolkit.fluxcd.io/v1",
    "APIService": "apiregistration.k8s.io/v1",
    "MutatingAdmissionPolicy": "admissionregistration.k8s.io/v1",
    "MutatingAdmissionPolicyBinding": "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy": "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding": "admissionregistration.k8s.io/v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "ClusterRole": "rbac.authorization.k8s.io/v1",
}


class RefusedError(Exception):
    """The API server's answer to a request that it does not carry out."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class ApiServer:
    """Requests to one API server as its administrator."""

    def __init__(self, kubeconfig: Path) -> None:
        client = kubernetes_config.new_client_from_config(str(kubeconfig))
        self._host: str = client.configuration.host
        self._pool: urllib3.PoolManager = client.rest_client.pool_manager
        self._plurals: dict[tuple[str, str], tuple[str, bool]] = {}

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Object:
        """The JSON answer. Raises RefusedError."""
        answer = self._pool.request(
            method,
            f"{self._host}{path}" + (f"?{urlencode(query)}" if query else ""),
            body=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": content_type, "Accept": "application/json"},
            timeout=urllib3.Timeout(connect=5, read=30),
        )
        if answer.status >= 400:
            raise RefusedError(answer.status, _message_of(answer.data))
        content: Object = json.loads(answer.data)
        return content

    # ---- where objects are

    def path(self, kind: str, namespace: str | None, name: str | None = None, *, sub: str | None = None) -> str:
        """The path of a kind's collection, of one object, or of its subresource."""
        api_version = _API_VERSIONS.get(kind, "v1")
        plural, namespaced = self._plural(api_version, kind)
        parts = [_root(api_version)]
        if namespaced and namespace:
            parts += ["namespaces", namespace]
        return "/".join((*parts, plural, *(part for part in (name, sub) if part)))

    def _plural(self, api_version: str, kind: str) -> tuple[str, bool]:
        if (api_version, kind) not in self._plurals:
            for resource in self.request("GET", _root(api_version))["resources"]:
                if "/" not in resource["name"]:
                    self._plurals[api_version, resource["kind"]] = (resource["name"], resource["namespaced"])
        return self._plurals[api_version, kind]

    # ---- read

    def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """One object, None where it is not there."""
        try:
            return self.request("GET", self.path(kind, namespace, name))
        except RefusedError as refused:
            if refused.status == 404:
                return None
            raise

    def objects(self, kind: str, namespace: str | None, selector: str = "") -> list[Object]:
        """The objects of a kind in a namespace, or in all."""
        query = {"labelSelector": selector} if selector else None
        items: list[Object] = self.request("GET", self.path(kind, namespace), query=query)["items"]
        return items

    def everything(self, namespace: str, selector: str = "") -> list[Object]:
        """All objects in a namespace, of every kind that can be listed, each with `kind` and `apiVersion`."""
        found: list[Object] = []
        groups = self.request("GET", "/apis")["groups"]
        for api_version in ("v1", *(group["preferredVersion"]["groupVersion"] for group in groups)):
            for resource in self.request("GET", _root(api_version))["resources"]:
                listable = resource["namespaced"] and "list" in resource["verbs"] and "/" not in resource["name"]
                # Events outlive what they are about, and metrics are readings, not objects.
                if not listable or resource["kind"] in ("Event", "PodMetrics"):
                    continue
                path = f"{_root(api_version)}/namespaces/{namespace}/{resource['name']}"
                answer = self.request("GET", path, query={"labelSelector": selector} if selector else None)
                found += [{**item, "kind": resource["kind"], "apiVersion": api_version} for item in answer["items"]]
        return found

    def events(self, namespace: str, name: str) -> list[Object]:
        """The Events about objects of this name, oldest first."""
        query = {"fieldSelector": f"involvedObject.name={name}"}
        items = self.request("GET", self.path("Event", namespace), query=query)["items"]
        return sorted(items, key=lambda event: str(event["metadata"]["creationTimestamp"]))

    # ---- write

    def apply(self, manifest: Object | str) -> Object:
        """Server-side apply, where an unknown field is an error as it is with `kubectl apply`. Raises RefusedError."""
        body: Object = yaml.safe_load(manifest) if isinstance(manifest, str) else manifest
        metadata = body["metadata"]
        return self.request(
            "PATCH",
            self.path(body["kind"], metadata.get("namespace"), metadata["name"]),
            body,
            content_type="application/apply-patch+yaml",
            query={"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": "true"},
        )

    def patch(self, kind: str, namespace: str | None, name: str, change: Object, *, sub: str | None = None) -> Object:
        """A JSON merge patch. Raises RefusedError."""
        return self.request(
            "PATCH",
            self.path(kind, namespace, name, sub=sub),
            change,
            content_type="application/merge-patch+json",
            query={"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"},
        )

    def delete(self, kind: str, namespace: str | None, name: str, *, grace_seconds: int | None = None) -> None:
        """Delete in the background; nothing where it is not there."""
        options: Object = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            self.request("DELETE", self.path(kind, namespace, name), options)
        except RefusedError as refused:
            if refused.status != 404:
                raise

    # ---- wait

    def watch(self, kind: str, namespace: str, name: str, seconds: float) -> Iterator[Object | None]:
        """The object as it is now and after each change, None while it is not there; ends after `seconds`."""
        for event, content in self._changes(kind, namespace, f"metadata.name={name}", seconds):
            yield None if event in ("NOTHING", "DELETED") else content

    def _changes(self, kind: str, namespace: str, selector: str, seconds: float) -> Iterator[tuple[str, Object]]:
        """What is there, each as ADDED, or once NOTHING; then each change with its kind."""
        path, deadline = self.path(kind, namespace), time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            query = {"fieldSelector": selector}
            answer = self.request("GET", path, query=query)
            yield from [("ADDED", item) for item in answer["items"]] or [("NOTHING", {})]
            query |= {
                "watch": "true",
                "resourceVersion": answer["metadata"]["resourceVersion"],
                "timeoutSeconds": str(int(left) + 1),
            }
            with suppress(urllib3.exceptions.ReadTimeoutError, urllib3.exceptions.ProtocolError, _TooOldError):
                yield from self._stream(path, query, left)

    def _stream(self, path: str, query: Mapping[str, str], seconds: float) -> Iterator[tuple[str, Object]]:
        answer = self._pool.request(
            "GET",
            f"{self._host}{path}?{urlencode(query)}",
            preload_content=False,
            timeout=urllib3.Timeout(connect=5, read=max(0.1, seconds)),
        )
        try:
            rest = b""
            for chunk in answer.stream(decode_content=True, amt=None):
                *lines, rest = (rest + chunk).split(b"\n")
                for event in map(json.loads, lines):
                    if event["type"] == "ERROR":
                        raise _TooOldError(event["object"].get("message"))
                    yield event["type"], event["object"]
        finally:
            answer.close()

    def wait_for(
        self,
        kind: str,
        namespace: str,
        name: str,
        holds: Callable[[Object], bool],
        what: str,
        seconds: float = PATIENCE,
    ) -> Object:
        """The object, once `holds` does of it.

        Raises:
            AssertionError: it did not within `seconds`; the message says `what` and tells what was there.
        """
        last: Object | None = None
        for last in self.watch(kind, namespace, name, seconds):
            if last is not None and holds(last):
                return last
        raise AssertionError(
            f"{kind} {namespace}/{name}: {what} was not seen within {seconds:.0f} s.\n{self.describe(last, namespace)}"
        )

    def wait_gone(self, kind: str, namespace: str, name: str, seconds: float = PATIENCE) -> None:
        """Return once the object is not there. Raises AssertionError."""
        last: Object | None = None
        for last in self.watch(kind, namespace, name, seconds):
            if last is None:
                return
        raise AssertionError(
            f"{kind} {namespace}/{name} is still there after {seconds:.0f} s.\n{self.describe(last, namespace)}"
        )

    def wait_for_warning(self, namespace: str, name: str) -> Object:
        """The first Event that warns about a model. Raises AssertionError."""
        selector = f"involvedObject.kind={MODEL},involvedObject.name={name},type=Warning"
        for event, content in self._changes("Event", namespace, selector, PATIENCE):
            if event != "NOTHING":
                return content
        raise AssertionError(f"there is no warning about {namespace}/{name} after {PATIENCE:.0f} s")

    def describe(self, content: Object | None, namespace: str) -> str:
        """What somebody needs to see of an object, its Events and the namespace's pods when a test fails."""
        if content is None:
            return "It is not there."
        lines = ["status: " + yaml.safe_dump(content.get("status", {}), allow_unicode=True, width=150)]
        events = self.events(namespace, content["metadata"]["name"])
        lines += [f"event: {event['type']} {event['reason']}: {event.get('message')}" for event in events]
        for pod in self.objects("Pod", namespace):
            states = [status["state"] for status in _container_statuses(pod)]
            lines.append(f"pod {pod['metadata']['name']}: {pod['status'].get('phase')} {json.dumps(states)[:600]}")
        return "\n".join(lines)

    @contextmanager
    def recorded(self, kind: str, namespace: str, name: str, pick: Callable[[Object], Any]) -> Iterator[list[Any]]:
        """Collects what `pick` finds in an object while the context lasts, without repetitions, in order."""
        seen: list[Any] = []
        done = threading.Event()

        def collect() -> None:
            while not done.is_set():
                for content in self.watch(kind, namespace, name, seconds=1):
                    value = None if content is None else pick(content)
                    if value is not None and (not seen or seen[-1] != value):
                        seen.append(value)

        thread = threading.Thread(target=collect, name=f"watch {name}")
        thread.start()
        try:
            yield seen
        finally:
            done.set()
            thread.join()


class _TooOldError(Exception):
    """The API server has forgotten the version that a watch began at."""


def _root(api_version: str) -> str:
    return "/api/v1" if api_version == "v1" else f"/apis/{api_version}"


def _message_of(body: bytes) -> str:
    try:
        return str(json.loads(body).get("message", body.decode()))
    except ValueError:
        return body.decode(errors="replace")


def _container_statuses(pod: Object) -> list[Object]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
