"""What the operator remembers of the cluster: one projection for each watched object, never its body."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from keras_operator.cluster.reference import Key, Kind, Ref

# A deletion is remembered until this many later ones, so that an answer which arrives after it revives nothing.
# 10,000 entries are about 3 MB, and many minutes of deletions at the rate an API server reaches.
_TOMBSTONES = 10_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One cached object: whose it is, which one of that name, how new, and what planning needs of it."""

    owner_key: Key
    uid: str
    resource_version: str
    projection: object


class Cache:
    """Projections by object and by owner.

    A projection of None stands for an object that cannot be read: it is accounted for, and not visible.

    Both watch events and answers to this operator's own writes may be put, in any order: of two states under one name
    the one with the higher resourceVersion stays. So a decision after a write never sees the world from before it, and
    a late event about a deleted object never hides its successor.

    A projection may have an attribute `mark`, which is hashable: objects of one kind are found by it.
    """

    def __init__(self) -> None:
        self._marked: dict[tuple[Kind, Hashable], set[Key]] = {}
        self._entries: dict[Kind, dict[tuple[str, str], Entry]] = {}
        self._owned: dict[tuple[Key, Kind], set[Key]] = {}
        self._deleted: OrderedDict[tuple[Ref, str], int | None] = OrderedDict()
        self._synced: set[Kind] = set()

    def put(
        self, ref: Ref, owner_key: Key, projection: object, *, uid: str = "", resource_version: str = ""
    ) -> tuple[Key, ...]:
        """Remember an object.

        Args:
            ref: which object.
            owner_key: whose view of the world it belongs to.
            projection: what planning needs of it, with equality.
            uid: the object's uid; a state from before the object was dropped is ignored.
            resource_version: how new this state is; older than the cached one: ignored.

        Returns:
            The owners whose view changed by this: none where the projection is equal, two where the owner changed.
        """
        if self.was_deleted(ref, uid, resource_version):
            return ()
        entries = self._entries.setdefault(ref.kind, {})
        name = (ref.namespace, ref.name)
        known = entries.get(name)
        if known is not None and _older(resource_version, known.resource_version):
            return ()
        entries[name] = Entry(owner_key, uid, resource_version, projection)
        self._mark(ref, None if known is None else known.projection, projection)
        if known is None or known.owner_key != owner_key:
            self._owned.setdefault((owner_key, ref.kind), set()).add(name)
            if known is None:
                return (owner_key,)
            self._disown(known.owner_key, ref)
            return (known.owner_key, owner_key)
        if known.uid == uid and known.projection == projection:
            return ()
        return (owner_key,)

    def drop(self, ref: Ref, uid: str | None = None, resource_version: str = "") -> tuple[Key, ...]:
        """Forget an object; with a uid only if it is that one.

        A watch with a label selector reports an object as deleted when somebody takes its label off, too. It lives on,
        and may come back with a state of that moment or a later one; what is from before stays forgotten.

        Args:
            ref: which object.
            uid: it must be this one.
            resource_version: when it went; left out: just after the state that is cached.

        Returns:
            The owners whose view changed by this: none or one.
        """
        entries = self._entries.get(ref.kind, {})
        known = entries.get((ref.namespace, ref.name))
        this = known is not None and (not uid or not known.uid or known.uid == uid)
        if uid:
            last_seen = known.resource_version if known is not None and this else ""
            self._bury(ref, uid, resource_version or _next(last_seen))
        if known is None or not this or _older(resource_version, known.resource_version):
            return ()
        del entries[(ref.namespace, ref.name)]
        self._mark(ref, known.projection, None)
        self._disown(known.owner_key, ref)
        return (known.owner_key,)

    def get(self, ref: Ref) -> object | None:
        """Projection of an object, or None."""
        entry = self.entry(ref)
        return None if entry is None else entry.projection

    def entry(self, ref: Ref) -> Entry | None:
        """All that is remembered of an object, or None."""
        return self._entries.get(ref.kind, {}).get((ref.namespace, ref.name))

    def was_deleted(self, ref: Ref, uid: str, resource_version: str = "") -> bool:
        """Whether this state of this very object is known to be gone; without a state, any that is known."""
        if (ref, uid) not in self._deleted:
            return False
        gone = self._deleted[ref, uid]
        return gone is None or not resource_version.isdecimal() or int(resource_version) < gone

    def owned(self, owner_key: Key, kind: Kind) -> tuple[object, ...]:
        """Projections of an owner's objects of one kind, sorted by name."""
        entries = self._entries.get(kind, {})
        projections = (entries[name].projection for name in sorted(self._owned.get((owner_key, kind), ())))
        return tuple(projection for projection in projections if projection is not None)

    def marked(self, kind: Kind, mark: Hashable) -> tuple[object, ...]:
        """Projections of the objects of one kind that have this mark, sorted by namespace and name."""
        entries = self._entries.get(kind, {})
        return tuple(entries[name].projection for name in sorted(self._marked.get((kind, mark), ())))

    def refs(self, kind: Kind) -> tuple[Ref, ...]:
        """References to all cached objects of one kind."""
        return tuple(Ref(kind, namespace, name) for namespace, name in self._entries.get(kind, {}))

    def count(self, kind: Kind) -> int:
        """Number of cached objects of one kind."""
        return len(self._entries.get(kind, {}))

    def synced(self, kind: Kind) -> bool:
        """Whether the cache has held everything that the cluster had of this kind when the process started."""
        return kind in self._synced

    def mark_synced(self, kind: Kind) -> None:
        """Say that the cache holds everything of this kind."""
        self._synced.add(kind)

    def _bury(self, ref: Ref, uid: str, resource_version: str) -> None:
        self._deleted[ref, uid] = int(resource_version) if resource_version.isdecimal() else None
        if len(self._deleted) > _TOMBSTONES:
            self._deleted.popitem(last=False)

    def _mark(self, ref: Ref, before: object, after: object) -> None:
        old, new = getattr(before, "mark", None), getattr(after, "mark", None)
        if old == new:
            return
        name = (ref.namespace, ref.name)
        if new is not None:
            self._marked.setdefault((ref.kind, new), set()).add(name)
        if old is not None:
            others = self._marked[(ref.kind, old)]
            others.discard(name)
            if not others:
                del self._marked[(ref.kind, old)]

    def _disown(self, owner_key: Key, ref: Ref) -> None:
        names = self._owned[(owner_key, ref.kind)]
        names.discard((ref.namespace, ref.name))
        if not names:
            del self._owned[(owner_key, ref.kind)]


def _older(one: str, other: str) -> bool:
    """Whether one resourceVersion is lower; Kubernetes orders those of one kind as decimal numbers (KEP-5504)."""
    return one.isdecimal() and other.isdecimal() and int(one) < int(other)


def _next(resource_version: str) -> str:
    return str(int(resource_version) + 1) if resource_version.isdecimal() else ""
