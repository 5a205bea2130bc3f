"""An API server in memory: server-side apply by manager, uids, resource versions, conflicts, watch events, refusals.

One request after the other, for tests of a single look; `tests/simulation` has the one with time, watches and weather.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from keras_operator.cluster.clock import ManualClock
from keras_operator.cluster.events import EventRecord
from keras_operator.cluster.failure import AlreadyExists, Conflict, Invalid, NotFound, ServerUnavailable
from keras_operator.cluster.reference import DEPLOYMENT, KUBERNETES_KINDS, Kind, Kinds, Ref
from keras_operator.kinds import MODEL, VERSION

from tests.simulation.server_side_apply import Body, managed_fields, merged

FIELD_MANAGER = "keras-operator"
_KIND_LIST = (*KUBERNETES_KINDS, MODEL, VERSION)


class MemoryApiServer:
    """Takes the place of `keras_operator.cluster.client.Client`, and of everything behind it.

    Attributes:
        writes: every write that was carried out, as `verb Kind name`.
        reads: every read, likewise.
        told: Events, as (reason, note, whether it is a warning).
        before: called with `verb Kind name` before each request; what it raises is the answer.
        after: called after each write that was carried out; what it raises is the answer.
        admit: called with each manifest on its way in; may change it.
        pods_say: answers of pods by URL.
        warnings: messages of warning Events by the name of what they are about.
    """

    def __init__(self, clock: ManualClock) -> None:
        self.kinds = Kinds((*KUBERNETES_KINDS, MODEL, VERSION))
        self.objects: dict[Ref, Body] = {}
        self.writes: list[str] = []
        self.reads: list[str] = []
        self.told: list[tuple[str, str, bool]] = []
        self.before: Callable[[str], object] = lambda _: None
        self.after: Callable[[str], object] = lambda _: None
        self.admit: Callable[[Body], object] = lambda _: None
        self.watch: Callable[[Kind, str, Body], object] = lambda _kind, _type, _body: None
        self.pods_say: dict[str, dict[str, object]] = {}
        self.warnings: dict[str, str] = {}
        self._clock = clock
        self._applied: dict[Ref, dict[tuple[str, str], Body]] = {}
        self._counter = 0

    # What the operator asks.

    async def apply(self, manifest: Mapping[str, Any], *, force: bool = True, manager: str = FIELD_MANAGER) -> Body:
        assert force
        ref = self.kinds.ref(manifest)
        request = f"apply {ref.kind.kind} {ref.name}"
        self.before(request)
        self._check_uid(ref, manifest["metadata"].get("uid"))
        wanted = copy.deepcopy(dict(manifest))
        self.admit(wanted)
        if ref.kind == DEPLOYMENT and ref not in self.objects and "selector" not in wanted["spec"]:
            raise Invalid(422, "Invalid", "spec.selector: Required value")
        return self._done(request, self._merge(ref, manager, "", wanted))

    async def apply_new(self, manifest: Mapping[str, Any]) -> Body:
        ref = self.kinds.ref(manifest)
        if ref in self.objects:
            self.before(f"apply {ref.kind.kind} {ref.name}")
            raise AlreadyExists(409, "AlreadyExists", f"{ref} already exists")
        return await self.apply(manifest)

    async def apply_status(
        self, ref: Ref, uid: str, status: Mapping[str, Any], resource_version: str | None = None
    ) -> Body:
        request = f"status {ref.kind.kind} {ref.name}"
        self.before(request)
        if ref not in self.objects:
            raise NotFound(404, "NotFound", f"{ref} not found")
        self._check_uid(ref, uid)
        if resource_version not in {None, self.objects[ref]["metadata"]["resourceVersion"]}:
            conflict = Conflict(409, "Conflict", f"{ref} has changed since it was read")
            conflict.found = copy.deepcopy(self.objects[ref])
            raise conflict
        wanted: Body = {"status": msgspec.json.decode(msgspec.json.encode(status))}
        return self._done(request, self._merge(ref, FIELD_MANAGER, "status", wanted))

    async def create(self, manifest: Mapping[str, Any]) -> Body:
        ref = self.kinds.ref(manifest)
        request = f"create {ref.kind.kind} {ref.name}"
        self.before(request)
        if ref in self.objects:
            raise AlreadyExists(409, "AlreadyExists", f"{ref} already exists")
        body = copy.deepcopy(dict(manifest))
        self.admit(body)
        return self._done(request, self.put(ref, body))

    async def get(self, ref: Ref) -> Body | None:
        request = f"get {ref.kind.kind} {ref.name}"
        self.before(request)
        self.reads.append(request)
        return copy.deepcopy(self.objects.get(ref))

    async def list_objects(self, kind: Kind, *, namespace: str, selector: str) -> Sequence[Body]:
        label, _, uid = selector.partition("=")
        assert label == "batch.kubernetes.io/controller-uid"
        request = f"list {kind.kind} of {uid}"
        self.before(request)
        self.reads.append(request)
        return [
            copy.deepcopy(body)
            for ref, body in self.objects.items()
            if (ref.kind, ref.namespace) == (kind, namespace)
            and any(owner["uid"] == uid for owner in body["metadata"].get("ownerReferences", ()))
        ]

    async def delete(self, ref: Ref, uid: str) -> bool:
        request = f"delete {ref.kind.kind} {ref.name}"
        self.before(request)
        if ref not in self.objects or self.objects[ref]["metadata"]["uid"] != uid:
            return False
        self.drop(ref)
        self._done(request, {})
        return True

    async def event(self, regarding: Ref, uid: str, *, reason: str, note: str, action: str, warning: bool) -> None:
        assert (regarding.kind, action) == (MODEL, "Reconcile")
        assert self.objects[regarding]["metadata"]["uid"] == uid
        self.before(f"event {reason}")
        self.told.append((reason, note, warning))

    async def events_for(self, ref: Ref, uid: str) -> Sequence[EventRecord]:
        assert self.objects[ref]["metadata"]["uid"] == uid
        self.reads.append(f"events {ref.name}")
        words = self.warnings.get(ref.name)
        normal = EventRecord("Normal", "nothing", None, "Normal")
        return [normal, EventRecord("FailedCreate", words, None, "Warning")] if words else [normal]

    async def http_json(self, url: str) -> dict[str, object]:
        self.reads.append(f"ask {url}")
        if url not in self.pods_say:
            raise ServerUnavailable(0, "Unreachable", f"{url}: refused")
        return self.pods_say[url]

    # What others do.

    def put(self, ref: Ref, body: Body) -> Body:
        """Write an object as somebody else: create it, or put it in the place of what is there."""
        known = self.objects.get(ref)
        body = copy.deepcopy(body)
        metadata = body.setdefault("metadata", {})
        metadata |= {"namespace": ref.namespace, "name": ref.name}
        body |= {"apiVersion": ref.kind.api_version, "kind": ref.kind.kind}
        _default(ref, body)
        if known is None:
            metadata |= {"uid": f"uid-{self._next()}", "creationTimestamp": self._now(), "generation": 1}
        else:
            same = {name: known["metadata"][name] for name in ("uid", "creationTimestamp", "generation")}
            metadata |= same
            if known.get("spec") != body.get("spec"):
                metadata["generation"] += 1
            metadata["resourceVersion"] = known["metadata"]["resourceVersion"]
            if _without_managers(known) == _without_managers(body):
                self.objects[ref] = body
                return copy.deepcopy(body)
        metadata["resourceVersion"] = str(self._next())
        self.objects[ref] = body
        self.watch(ref.kind, "ADDED" if known is None else "MODIFIED", copy.deepcopy(body))
        return copy.deepcopy(body)

    def change(self, ref: Ref, **parts: Any) -> Body:
        """Replace `spec`, `status` or the like of an object as somebody else."""
        return self.put(ref, self.objects[ref] | parts)

    def drop(self, ref: Ref) -> None:
        """Remove an object at once."""
        body = self.objects.pop(ref)
        self._applied.pop(ref, None)
        self.watch(ref.kind, "DELETED", copy.deepcopy(body))

    def scale(self, ref: Ref, replicas: int) -> None:
        """Set a Deployment's count as its autoscaler does: from now on the count is nobody else's."""
        for manifest in self._applied.get(ref, {}).values():
            manifest.get("spec", {}).pop("replicas", None)
        body = self.objects[ref]
        self.put(ref, body | {"spec": body["spec"] | {"replicas": replicas}})
        self._say_who_manages(ref)

    def collect_garbage(self) -> None:
        """Remove whatever is owned by what is gone."""
        while orphans := [ref for ref, body in self.objects.items() if self._orphaned(body)]:
            for ref in orphans:
                self.drop(ref)

    def _orphaned(self, body: Body) -> bool:
        owners = body["metadata"].get("ownerReferences") or []
        uids = {one["metadata"]["uid"] for one in self.objects.values()}
        return bool(owners) and not any(owner["uid"] in uids for owner in owners)

    def ref(self, kind: str, name: str) -> Ref:
        """The object of a kind by its name, in the one namespace."""
        return Ref(next(one for one in _KIND_LIST if one.kind == kind), "vision", name)

    def body(self, kind: str, name: str = "dogs") -> Body:
        """A copy of an object, to be read, or changed and put."""
        return copy.deepcopy(self.objects[self.ref(kind, name)])

    def names(self, kind: str) -> list[str]:
        return sorted(ref.name for ref in self.objects if ref.kind.kind == kind)

    def _merge(self, ref: Ref, manager: str, part: str, wanted: Body) -> Body:
        applied = self._applied.setdefault(ref, {})
        before = applied.get((manager, part), {})
        others = [manifest for who, manifest in applied.items() if who != (manager, part)]
        live = merged(self.objects.get(ref), before, wanted, others)
        applied[manager, part] = copy.deepcopy(wanted)
        self.put(ref, live)
        self._say_who_manages(ref)
        return copy.deepcopy(self.objects[ref])

    def _say_who_manages(self, ref: Ref) -> None:
        applied = {manager: manifest for (manager, part), manifest in self._applied.get(ref, {}).items() if not part}
        self.objects[ref]["metadata"]["managedFields"] = managed_fields(applied)
        self.watch(ref.kind, "MODIFIED", copy.deepcopy(self.objects[ref]))

    def _check_uid(self, ref: Ref, uid: str | None) -> None:
        known = self.objects.get(ref, {}).get("metadata", {}).get("uid")
        if uid is not None and uid != known:
            raise Conflict(409, "Conflict", f"{ref}: uid mismatch: {uid} was asked for, {known} is there")

    def _done(self, request: str, body: Body) -> Body:
        self.writes.append(request)
        self.after(request)
        return copy.deepcopy(body)

    def _now(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def _next(self) -> int:
        self._counter += 1
        return self._counter


def _without_managers(body: Body) -> Body:
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return body | {"metadata": metadata}


def _default(ref: Ref, body: Body) -> None:
    """A few of the defaults that the API server fills in."""
    if ref.kind == DEPLOYMENT:
        body["spec"].setdefault("replicas", 1)
        for container in body["spec"].get("template", {}).get("spec", {}).get("containers", ()):
            container.setdefault("terminationMessagePath", "/dev/termination-log")
            container.setdefault("imagePullPolicy", "IfNotPresent")
    if ref.kind.kind == "Service":
        body["spec"].setdefault("sessionAffinity", "None")
