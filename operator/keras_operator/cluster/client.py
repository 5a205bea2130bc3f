"""The verbs the operator needs of the API server, each a few lines over raw JSON.

One method a verb; the file is long by what each says of itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keras_operator.cluster.clock import ServerClock
from keras_operator.cluster.connection import Connection
from keras_operator.cluster.events import EventRecord, EventWriter, newest_first, record_of
from keras_operator.cluster.failure import AlreadyExists, Conflict, Invalid, NotFound
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.pod_http import PodHttp
from keras_operator.cluster.reference import CORE_EVENT, KUBERNETES_KINDS, LEASE, Kind, Kinds, Ref
from keras_operator.cluster.transport import DEFAULT_CONCURRENCY, SERVICE_CONCURRENCY, Transport

FIELD_MANAGER = "keras-operator"

_APPLY = "application/apply-patch+yaml"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_PAGE = "500"
# etcd counts from 1, which is before its first write.
_NO_OBJECT_HAS = "1"


@dataclass(frozen=True, slots=True)
class ObjectMetadata:
    """Identity and age of one object."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str]


class Client:
    """The API server, as one operator uses it.

    Every method raises an :class:`~keras_operator.cluster.failure.ApiFailure`; those that expect a class of it say so.

    Args:
        connection: the API server.
        kinds: kinds that manifests may name, beyond Kubernetes' own.
        metrics: what is counted.
        concurrency: requests at once, without those for Services.
        service_concurrency: requests for Services at once.
        timeout: seconds for one request.
        instance: name of this replica, as Events carry it.
        clock: learns the API server's time from its answers, and dates Events.
        may_write: seconds for which this replica surely still leads; by default it may write for ever.
    """

    def __init__(
        self,
        connection: Connection,
        kinds: Iterable[Kind],
        metrics: Metrics,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        service_concurrency: int = SERVICE_CONCURRENCY,
        timeout: float = 30.0,
        instance: str = FIELD_MANAGER,
        clock: ServerClock | None = None,
        may_write: Callable[[], float] = lambda: math.inf,
    ) -> None:
        clock = clock or ServerClock()
        self.kinds = Kinds((*KUBERNETES_KINDS, *kinds))
        self._transport = Transport(
            connection,
            metrics,
            concurrency=concurrency,
            service_concurrency=service_concurrency,
            timeout=timeout,
            heard=clock.heard,
            may_write=may_write,
        )
        self._pods = PodHttp()
        self._events = EventWriter(self._transport, controller=FIELD_MANAGER, instance=instance, now=clock.now)

    async def close(self) -> None:
        """End all connections."""
        await self._transport.close()
        await self._pods.close()

    async def apply(
        self, manifest: Mapping[str, Any], *, force: bool = True, manager: str = FIELD_MANAGER
    ) -> dict[str, Any]:
        """Server-side apply: create the object, or change the fields that this manager named now or before.

        Args:
            manifest: `apiVersion`, `kind`, `metadata.namespace`, `metadata.name` and the wanted fields.
            force: take over fields that another manager set.
            manager: in whose name.

        Returns:
            The object as it is after.
        """
        ref = self.kinds.ref(manifest)
        return await self._transport.json(
            "apply",
            ref.kind,
            ref.path,
            method="PATCH",
            query={"fieldManager": manager, "force": "true" if force else "false"},
            body=manifest,
            content_type=_APPLY,
        )

    async def apply_new(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Server-side apply that creates the object and leaves alone what is there, in one request and without a look.

        A POST would make the fields another manager's (`Update`, not `Apply`), from whom no later apply could take one
        away. So it is an apply that asks for a resourceVersion which no object ever has: the API server compares it
        where there is an object, and takes no notice of it where there is none.

        Returns:
            The object as it was created.

        Raises:
            AlreadyExists: there is one of that name, and it was not changed.
        """
        metadata = {**manifest["metadata"], "resourceVersion": _NO_OBJECT_HAS}
        try:
            return await self.apply({**manifest, "metadata": metadata})
        except Conflict as conflict:
            raise AlreadyExists(409, "AlreadyExists", f"{self.kinds.ref(manifest)} already exists") from conflict

    async def apply_status(
        self, ref: Ref, uid: str, status: Mapping[str, Any], resource_version: str | None = None
    ) -> dict[str, Any]:
        """Make an object's status this one; nothing is written where it is already.

        A JSON patch with a test, because server-side apply to the status of a custom resource takes no notice of
        `metadata.uid` (seen with Kubernetes 1.36): it would put a deleted object's status on its successor.

        Args:
            ref: which object.
            uid: it must still be this one.
            status: the whole status.
            resource_version: it must still be this state, where the decision needs it.

        Returns:
            The object as it is after.

        Raises:
            Conflict: it is another object or another state, which is `found`.
            NotFound: it is gone.
        """
        patch = [{"op": "test", "path": "/metadata/uid", "value": uid}]
        if resource_version:
            patch.append({"op": "test", "path": "/metadata/resourceVersion", "value": resource_version})
        try:
            return await self._transport.json(
                "apply_status",
                ref.kind,
                ref.kind.path(ref.namespace, ref.name, "status"),
                method="PATCH",
                query={"fieldManager": FIELD_MANAGER},
                body=[*patch, {"op": "add", "path": "/status", "value": status}],
                content_type="application/json-patch+json",
            )
        except Invalid as invalid:
            # A test that failed is answered like a status that the schema refuses: only a look tells which it was.
            body = await self.get(ref)
            found = (body or {}).get("metadata", {})
            if found.get("uid") == uid and resource_version in {None, found.get("resourceVersion")}:
                raise
            conflict = Conflict(409, "Conflict", f"{ref} is another one or has changed since it was read")
            conflict.found = body
            raise conflict from invalid

    async def create(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object.

        Raises:
            AlreadyExists: there is one of that name, and it was not changed.
        """
        ref = self.kinds.ref(manifest)
        return await self._transport.json(
            "create",
            ref.kind,
            ref.kind.path(ref.namespace),
            method="POST",
            query={"fieldManager": FIELD_MANAGER},
            body=manifest,
        )

    async def replace(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Put an object in the place of the one with the same name and `metadata.resourceVersion`.

        Raises:
            Conflict: somebody else changed it since.
            NotFound: it is gone.
        """
        ref = self.kinds.ref(manifest)
        return await self._transport.json(
            "replace", ref.kind, ref.path, method="PUT", query={"fieldManager": FIELD_MANAGER}, body=manifest
        )

    async def get(self, ref: Ref) -> dict[str, Any] | None:
        """The whole object, or None where there is none."""
        try:
            return await self._transport.json("get", ref.kind, ref.path, method="GET")
        except NotFound:
            return None

    async def delete(self, ref: Ref, uid: str, *, propagation: str = "Background") -> bool:
        """Delete one object, and no later one of the same name.

        Args:
            ref: which object.
            uid: it must be this one.
            propagation: `Background`, `Foreground` or `Orphan`.

        Returns:
            Whether it was there; an object of that name with another uid stays.
        """
        try:
            await self._transport.json(
                "delete",
                ref.kind,
                ref.path,
                method="DELETE",
                body={
                    "apiVersion": "v1",
                    "kind": "DeleteOptions",
                    "propagationPolicy": propagation,
                    "preconditions": {"uid": uid},
                },
            )
        except (NotFound, Conflict):
            return False
        return True

    async def list_objects(self, kind: Kind, *, namespace: str, selector: str) -> list[dict[str, Any]]:
        """Whole objects of a kind in one namespace; their `apiVersion` and `kind` are not set.

        Args:
            kind: of what.
            namespace: of where.
            selector: label selector.
        """
        return await self._pages("list", kind, namespace, {"labelSelector": selector}, "application/json")

    async def list_metadata(
        self, kind: Kind, selector: str = "", *, namespace: str | None = None
    ) -> Sequence[ObjectMetadata]:
        """Identity and age of every object of a kind, without its content.

        Args:
            kind: of what.
            selector: label selector.
            namespace: of where; None for everywhere.
        """
        items = await self._pages("list_metadata", kind, namespace, {"labelSelector": selector}, _METADATA_LIST)
        return [
            ObjectMetadata(
                metadata.get("namespace", ""),
                metadata["name"],
                metadata["uid"],
                metadata["resourceVersion"],
                metadata.get("labels") or {},
            )
            for metadata in (item["metadata"] for item in items)
        ]

    async def event(
        self,
        regarding: Ref,
        uid: str,
        *,
        reason: str,
        note: str,
        action: str,
        warning: bool = False,
        at: datetime | None = None,
    ) -> None:
        """Tell people about a transition, as an Event of `events.k8s.io/v1`; a repetition raises its count.

        Args:
            regarding: the object it is about.
            uid: of that object.
            reason: one CamelCase word, at most 128 characters.
            note: a sentence; cut at 1,024 bytes.
            action: what the operator did or tried, one CamelCase word.
            warning: whether a person should look.
            at: when it happened; by default now.
        """
        await self._events.write(regarding, uid, reason=reason, note=note, action=action, warning=warning, at=at)

    async def events_for(self, ref: Ref, uid: str) -> Sequence[EventRecord]:
        """Events that anybody wrote about one object, newest first."""
        items = await self._pages(
            "list", CORE_EVENT, ref.namespace, {"fieldSelector": f"involvedObject.uid={uid}"}, "application/json"
        )
        return newest_first(record_of(item) for item in items)

    async def http_json(self, url: str, timeout: float = 2.0, limit: int = 65536) -> dict[str, Any]:  # noqa: ASYNC109
        """GET a JSON object from a pod of ours, without credentials and without following redirects.

        Args:
            url: `http://<pod ip>:<port>/<path>`.
            timeout: seconds for everything.
            limit: bytes of the answer at most.

        Raises:
            ServerUnavailable: no connection, another status than 200, more than `limit`, or no JSON object.
            TimedOut: no whole answer in time.
        """
        return await self._pods.json(url, timeout, limit)

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server knows this kind in this version, e.g. whether its CRD is installed."""
        root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
        try:
            answer = await self._transport.json("discover", kind, root, method="GET")
        except NotFound:
            return False
        return any(resource["name"] == kind.plural for resource in answer["resources"])

    async def server_version(self) -> tuple[int, int]:
        """Major and minor version of the API server."""
        answer = await self._transport.json("discover", LEASE, "/version", method="GET")
        # Some providers write a minor version as "33+".
        return int(answer["major"]), int(answer["minor"].rstrip("+"))

    async def _pages(
        self, verb: str, kind: Kind, namespace: str | None, selection: Mapping[str, str], accept: str
    ) -> list[dict[str, Any]]:
        query = {"limit": _PAGE, **{name: value for name, value in selection.items() if value}}
        items: list[dict[str, Any]] = []
        while True:
            page = await self._transport.json(
                verb, kind, kind.path(namespace), method="GET", query=query, accept=accept
            )
            items += page.get("items") or []
            token = page["metadata"].get("continue")
            if not token:
                return items
            query["continue"] = token
