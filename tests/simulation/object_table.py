"""What etcd holds: objects, one revision for each change, and whoever listens to changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from keras_operator.cluster.reference import POD, SERVICE, SERVICE_ACCOUNT, Kind, Ref

Body = dict[str, Any]

_WITHOUT_GENERATION = {POD, SERVICE, SERVICE_ACCOUNT}


@dataclass(frozen=True, slots=True)
class Change:
    """One revision: an object before and after it; None where there was or is none. `actor` made it."""

    revision: int
    time: float
    ref: Ref
    before: Body | None = field(repr=False)
    after: Body | None = field(repr=False)
    actor: str

    @property
    def body(self) -> Body:
        """The object after the change, or what it was before it went."""
        body = self.before if self.after is None else self.after
        assert body is not None
        return body

    @property
    def uid(self) -> str:
        """The object's uid."""
        return str(self.body["metadata"]["uid"])


class ObjectTable:
    """All objects. Bodies are never changed in place, so they may be shared.

    Args:
        elapsed: seconds since the beginning.
        timestamp: the wall clock, as Kubernetes writes it.
    """

    def __init__(self, elapsed: Callable[[], float], timestamp: Callable[[], str]) -> None:
        # etcd counts from 1, which is before its first write.
        self.revision = 1
        self.listeners: list[Callable[[Change], object]] = []
        self._elapsed = elapsed
        self._timestamp = timestamp
        self._kinds: dict[Kind, dict[tuple[str, str], Body]] = {}
        self._by_uid: dict[str, Ref] = {}
        self._owned: dict[str, dict[Ref, None]] = {}
        self._uids = 0

    @property
    def time(self) -> float:
        """Seconds since the beginning."""
        return self._elapsed()

    def get(self, ref: Ref) -> Body | None:
        """An object, or None."""
        return self._kinds.get(ref.kind, {}).get((ref.namespace, ref.name))

    def named(self, uid: str) -> Body | None:
        """The object with a uid, or None."""
        ref = self._by_uid.get(uid)
        return None if ref is None else self.get(ref)

    def of_kind(self, kind: Kind) -> Iterator[tuple[Ref, Body]]:
        """All objects of a kind, in the order in which they were made."""
        for (namespace, name), body in list(self._kinds.get(kind, {}).items()):
            yield Ref(kind, namespace, name), body

    def owned(self, uid: str, kind: Kind | None = None) -> list[tuple[Ref, Body]]:
        """Whatever bears an owner reference to a uid."""
        found = ((ref, self.get(ref)) for ref in self._owned.get(uid, {}) if kind in {None, ref.kind})
        return [(ref, body) for ref, body in found if body is not None]

    def put(self, ref: Ref, body: Mapping[str, Any], actor: str) -> Body:
        """Make an object, or replace it; nothing happens where it is so already. Returns it as it is then."""
        known = self.get(ref)
        metadata = dict(body.get("metadata") or {}) | {"namespace": ref.namespace, "name": ref.name}
        made: Body = {**body, "apiVersion": ref.kind.api_version, "kind": ref.kind.kind, "metadata": metadata}
        if known is None:
            self._uids += 1
            metadata |= {"uid": f"uid-{self._uids}", "creationTimestamp": self._timestamp(), "generation": 1}
        else:
            for name in ("uid", "creationTimestamp", "generation", "resourceVersion"):
                metadata[name] = known["metadata"][name]
            if made == known:
                return known
            if made.get("spec") != known.get("spec") and ref.kind not in _WITHOUT_GENERATION:
                metadata["generation"] += 1
            self._disown(ref, known)
        self.revision += 1
        metadata["resourceVersion"] = str(self.revision)
        self._kinds.setdefault(ref.kind, {})[ref.namespace, ref.name] = made
        self._by_uid[metadata["uid"]] = ref
        for owner in metadata.get("ownerReferences") or ():
            self._owned.setdefault(owner["uid"], {})[ref] = None
        self._tell(Change(self.revision, self._elapsed(), ref, known, made, actor))
        return made

    def change(self, ref: Ref, actor: str, **parts: Any) -> Body:
        """Replace `spec`, `status` or the like of an object that is there."""
        known = self.get(ref)
        assert known is not None
        return self.put(ref, {**known, **parts}, actor)

    def relabel(self, ref: Ref, actor: str, **changes: Any) -> Body:
        """Change parts of an object's metadata."""
        known = self.get(ref)
        assert known is not None
        return self.change(ref, actor, metadata=known["metadata"] | changes)

    def remove(self, ref: Ref, actor: str) -> None:
        """Take an object out."""
        body = self._kinds[ref.kind].pop((ref.namespace, ref.name))
        del self._by_uid[body["metadata"]["uid"]]
        self._disown(ref, body)
        self.revision += 1
        self._tell(Change(self.revision, self._elapsed(), ref, body, None, actor))

    def mark_deleted(self, ref: Ref, actor: str) -> None:
        """Say that an object is on its way out; whoever holds it removes it later."""
        self.relabel(ref, actor, deletionTimestamp=self._timestamp())

    def _disown(self, ref: Ref, body: Body) -> None:
        for owner in body["metadata"].get("ownerReferences") or ():
            self._owned.get(owner["uid"], {}).pop(ref, None)

    def _tell(self, change: Change) -> None:
        for listener in self.listeners:
            listener(change)


def controller_uid(body: Body) -> str | None:
    """The uid of an object's controller."""
    return next((one["uid"] for one in body["metadata"].get("ownerReferences") or () if one.get("controller")), None)


def labels(body: Body) -> dict[str, str]:
    """An object's labels."""
    return body["metadata"].get("labels") or {}
