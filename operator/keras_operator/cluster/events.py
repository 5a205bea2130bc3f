"""Events: writing ours without a flood, reading others' about an object."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from keras_operator.cluster.failure import AlreadyExists, NotFound
from keras_operator.cluster.reference import EVENT, Ref
from keras_operator.cluster.transport import Transport

_NOTE_BYTES = 1024
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One Event as a reader needs it."""

    reason: str
    message: str
    last_seen: datetime | None
    type: str


class EventWriter:
    """Writes Events of `events.k8s.io/v1`: one object for equal news about one object, with a count.

    The API server keeps an Event for an hour by default, so counts live that long at the most.

    Args:
        transport: to the API server.
        controller: who reports.
        instance: which replica of it.
        now: the time.
    """

    def __init__(self, transport: Transport, *, controller: str, instance: str, now: Callable[[], datetime]) -> None:
        self._now = now
        self._transport = transport
        self._controller = controller
        self._instance = instance
        self._counts: OrderedDict[str, int] = OrderedDict()

    async def write(
        self, regarding: Ref, uid: str, *, reason: str, note: str, action: str, warning: bool, at: datetime | None
    ) -> None:
        """Create the Event, or raise the count of the equal one."""
        note = note.encode()[:_NOTE_BYTES].decode(errors="ignore")
        severity = "Warning" if warning else "Normal"
        digest = hashlib.sha256(repr((uid, severity, reason, action, note)).encode()).hexdigest()[:16]
        # A name of at most 253 characters, as Kubernetes' own recorders build it: the object's, a dot, a number.
        name = f"{regarding.name[:236]}.{digest}"
        time = timestamp(at or self._now())
        count = self._counts.get(name, 0) + 1
        if count > 1 and await self._repeat(regarding.namespace, name, count, time):
            return
        manifest = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"namespace": regarding.namespace, "name": name},
            "eventTime": time,
            "reportingController": self._controller,
            "reportingInstance": self._instance[:128],
            "reason": reason[:128],
            "action": action[:128],
            "note": note,
            "type": severity,
            "regarding": {
                "apiVersion": regarding.kind.api_version,
                "kind": regarding.kind.kind,
                "namespace": regarding.namespace,
                "name": regarding.name,
                "uid": uid,
            },
        }
        try:
            await self._transport.json("create", EVENT, EVENT.path(regarding.namespace), method="POST", body=manifest)
            self._remember(name, 1)
        except AlreadyExists:
            # Written before a restart of this operator: what it counted then is not worth a request to learn.
            await self._repeat(regarding.namespace, name, 2, time)

    async def _repeat(self, namespace: str, name: str, count: int, time: str) -> bool:
        try:
            await self._transport.json(
                "patch",
                EVENT,
                EVENT.path(namespace, name),
                method="PATCH",
                body={"series": {"count": count, "lastObservedTime": time}},
                content_type="application/merge-patch+json",
            )
        except NotFound:
            return False
        self._remember(name, count)
        return True

    def _remember(self, name: str, count: int) -> None:
        self._counts[name] = count
        self._counts.move_to_end(name)
        if len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)


def timestamp(moment: datetime) -> str:
    """Kubernetes' MicroTime: RFC 3339 in UTC with six digits of a second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def record_of(event: Mapping[str, Any]) -> EventRecord:
    """What a reader needs of a core/v1 Event, whichever of its three generations of time fields is filled."""
    seen = (event.get("series") or {}).get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return EventRecord(
        reason=event.get("reason") or "",
        message=event.get("message") or "",
        last_seen=datetime.fromisoformat(seen) if seen else None,
        type=event.get("type") or "Normal",
    )


def newest_first(records: Iterable[EventRecord]) -> Sequence[EventRecord]:
    """Sort Events, those without a time last."""
    return sorted(records, key=lambda record: record.last_seen or datetime.min.replace(tzinfo=UTC), reverse=True)
