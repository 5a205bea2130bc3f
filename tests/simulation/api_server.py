"""The API server: verbs, preconditions, server-side apply, refusals. What happens on the way is the network's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from keras_operator.cluster.reference import CORE_EVENT, DEPLOYMENT, EVENT, KUBERNETES_KINDS, SERVICE, Kind, Ref
from keras_operator.kinds import MODEL, VERSION

from tests.simulation.object_table import Body, ObjectTable
from tests.simulation.server_side_apply import managed_fields, merged

Refusal = tuple[int, str, str]
"""HTTP status, reason, sentence."""

_KINDS = {
    (f"/{'apis' if kind.group else 'api'}/{kind.api_version}", kind.plural): kind
    for kind in (*KUBERNETES_KINDS, MODEL, VERSION, EVENT, CORE_EVENT)
}


class RefusedError(Exception):
    """A request that is answered with a failure."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class ApiServer:
    """Answers requests about the objects of a table.

    Attributes:
        admit: asked before each write with its verb and object; what it gives is the answer.
        warnings: what Events warn of, by the uid of what they are about.
    """

    def __init__(self, table: ObjectTable) -> None:
        self.admit: Callable[[str, Ref], Refusal | None] = lambda _verb, _ref: None
        self.warnings: dict[str, str] = {}
        self._table = table
        self._applied: dict[str, dict[str, Body]] = {}
        self._told: set[str] = set()

    def answer(
        self, actor: str, method: str, path: str, query: Mapping[str, str], body: Any, content_type: str
    ) -> tuple[int, Body]:
        """Carry a request out: HTTP status and JSON body of the answer."""
        kind, namespace, name, part = _parsed(path)
        try:
            if kind in {EVENT, CORE_EVENT}:
                return self._event(method, kind, name, body, query)
            if method == "GET":
                found = self._list(kind, namespace, query) if name is None else self._get(Ref(kind, namespace, name))
                return 200, found
            ref = Ref(kind, namespace, name or body["metadata"]["name"])
            if refusal := self.admit(method, ref):
                raise RefusedError(*refusal)
            return self._write(actor, method, ref, part, query, body, content_type)
        except RefusedError as refused:
            return refused.status, {"kind": "Status", "reason": refused.reason, "message": str(refused)}

    def update(self, ref: Ref, actor: str, **parts: Any) -> Body:
        """A plain update by somebody who is no apply manager: what changes is not the appliers' any more."""
        known = self._get(ref)
        before, after = known.get("spec") or {}, parts.get("spec") or {}
        if before.get("replicas") != after.get("replicas"):
            for manifest in self._applied.get(known["metadata"]["uid"], {}).values():
                manifest.get("spec", {}).pop("replicas", None)
        self._table.change(ref, actor, **parts)
        return self._with_managers(ref, actor)

    def _write(
        self, actor: str, method: str, ref: Ref, part: str | None, query: Mapping[str, str], body: Any, content: str
    ) -> tuple[int, Body]:
        match method:
            case "POST":
                if self._table.get(ref) is not None:
                    raise RefusedError(409, "AlreadyExists", f"{ref} already exists")
                return 201, self._table.put(ref, body, actor)
            case "PUT":
                known = self._get(ref)
                if body["metadata"].get("resourceVersion") != known["metadata"]["resourceVersion"]:
                    raise RefusedError(409, "Conflict", f"{ref} has been modified")
                return 200, self._table.put(ref, {**body, "metadata": known["metadata"]}, actor)
            case "DELETE":
                return self._delete(ref, body["preconditions"]["uid"], actor)
            case _ if content.startswith("application/apply-patch"):
                return 200, self._apply(ref, query["fieldManager"], body, actor)
        assert part == "status"
        return 200, self._patch_status(ref, body, actor)

    def _get(self, ref: Ref) -> Body:
        body = self._table.get(ref)
        if body is None:
            raise RefusedError(404, "NotFound", f"{ref} not found")
        return body

    def _list(self, kind: Kind, namespace: str, query: Mapping[str, str]) -> Body:
        label, _, value = query.get("labelSelector", "").partition("=")
        items = [
            body
            for ref, body in self._table.of_kind(kind)
            if namespace in {"", ref.namespace}
            and (not label or (body["metadata"].get("labels") or {}).get(label) == value)
        ]
        return {"metadata": {"resourceVersion": str(self._table.revision)}, "items": items}

    def _delete(self, ref: Ref, uid: str, actor: str) -> tuple[int, Body]:
        found = self._get(ref)["metadata"]["uid"]
        if found != uid:
            raise RefusedError(409, "Conflict", f"{ref}: uid {uid} was asked for, {found} is there")
        self._table.remove(ref, actor)
        return 200, {"kind": "Status", "status": "Success"}

    def _apply(self, ref: Ref, manager: str, wanted: Body, actor: str) -> Body:
        known = self._table.get(ref)
        uid = wanted["metadata"].get("uid")
        if uid is not None and (known is None or known["metadata"]["uid"] != uid):
            raise RefusedError(409, "Conflict", f"{ref}: uid mismatch")
        version = wanted["metadata"].pop("resourceVersion", None)
        if known is not None and version not in {None, known["metadata"]["resourceVersion"]}:
            raise RefusedError(409, "Conflict", f"{ref} has been modified")
        if known is None and ref.kind == DEPLOYMENT and "selector" not in wanted["spec"]:
            raise RefusedError(422, "Invalid", "spec.selector: Required value")
        applied = {} if known is None else self._applied.get(known["metadata"]["uid"], {})
        before = applied.get(manager, {})
        others = [manifest for who, manifest in applied.items() if who != manager]
        body = _defaulted(ref, merged(known, before, wanted, others))
        if ref.kind == DEPLOYMENT:
            body["metadata"]["managedFields"] = managed_fields({**applied, manager: wanted})
        written = self._table.put(ref, body, actor)
        # A copy: a later update by somebody else takes fields out of it.
        self._applied.setdefault(written["metadata"]["uid"], {})[manager] = {
            **wanted,
            **({"spec": dict(wanted["spec"])} if "spec" in wanted else {}),
        }
        return written

    def _with_managers(self, ref: Ref, actor: str) -> Body:
        body = self._get(ref)
        if ref.kind != DEPLOYMENT:
            return body
        return self._table.relabel(
            ref, actor, managedFields=managed_fields(self._applied.get(body["metadata"]["uid"], {}))
        )

    def _patch_status(self, ref: Ref, patch: list[Body], actor: str) -> Body:
        known = self._get(ref)
        for operation in patch:
            if operation["op"] == "test":
                field = operation["path"].removeprefix("/metadata/")
                if known["metadata"].get(field) != operation["value"]:
                    raise RefusedError(422, "Invalid", f"testing value {operation['path']} failed")
        return self._table.change(ref, actor, status=patch[-1]["value"])

    def _event(
        self, method: str, kind: Kind, name: str | None, body: Any, query: Mapping[str, str]
    ) -> tuple[int, Body]:
        if method == "GET":
            uid = query["fieldSelector"].partition("=")[2]
            words = self.warnings.get(uid)
            items = [{"type": "Warning", "reason": "FailedCreate", "message": words}] if words else []
            return 200, {"metadata": {}, "items": items}
        if method == "POST":
            if body["metadata"]["name"] in self._told:
                raise RefusedError(409, "AlreadyExists", f"{kind} {body['metadata']['name']} already exists")
            self._told.add(body["metadata"]["name"])
        elif name not in self._told:
            raise RefusedError(404, "NotFound", f"{kind} {name} not found")
        return 200, {}


def _parsed(path: str) -> tuple[Kind, str, str | None, str | None]:
    """Kind, namespace (empty for all), name and subresource of a URL path."""
    steps = path.strip("/").split("/")
    depth = 3 if steps[0] == "apis" else 2
    root, rest = "/" + "/".join(steps[:depth]), steps[depth:]
    namespace = ""
    if rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    rest += [""] * (3 - len(rest))
    return _KINDS[root, rest[0]], namespace, rest[1] or None, rest[2] or None


def _defaulted(ref: Ref, body: Body) -> Body:
    """A few of the defaults that the API server fills in."""
    if ref.kind == DEPLOYMENT:
        body["spec"].setdefault("replicas", 1)
        for container in body["spec"]["template"]["spec"]["containers"]:
            container.setdefault("imagePullPolicy", "IfNotPresent")
    elif ref.kind == SERVICE:
        body["spec"].setdefault("sessionAffinity", "None")
    return body


def decoded(data: bytes | None) -> Any:
    """A request's body."""
    return None if data is None else msgspec.json.decode(data)
