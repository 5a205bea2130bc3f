"""Which watch events wake which model: the only place where kopf calls this operator."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import kopf

from keras_operator.cluster.cache import Cache
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.queue import KeyedQueue
from keras_operator.cluster.reference import Key, Kind, Ref
from keras_operator.kinds import CANARY_LABEL, CHILDREN, MODEL, MODEL_LABEL, VERSION

logger = logging.getLogger(__name__)

Project = Callable[[Kind, Mapping[str, Any]], object]
"""Makes of an object's body what planning needs of it."""

_NOBODY: Key = ("", "")


class Handlers:
    """Bring watch events into the cache, and wake the models whose view changed.

    Args:
        cache: where projections go.
        queue: where keys of models go.
        project: makes a projection of a body.
        relisted: told the kind of each object that a watch lists anew, rather than reports as changed.
        metrics: what is counted.
    """

    def __init__(
        self,
        cache: Cache,
        queue: KeyedQueue[Key],
        project: Project,
        relisted: Callable[[Kind], object],
        metrics: Metrics,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._project = project
        self._relisted = relisted
        self._events = metrics.watch_events

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Subscribe to models, versions and every kind of child."""
        for kind in (MODEL, VERSION, *CHILDREN):
            kopf.on.event(
                group=kind.group, version=kind.version, plural=kind.plural, id=kind.plural, registry=registry
            )(self._handler(kind))

    def observe(self, kind: Kind, event_type: str | None, body: Mapping[str, Any]) -> None:
        """Take in one event; `event_type` is None for an object found by a list."""
        self._events.labels(kind.kind, event_type or "LISTED").inc()
        metadata = body["metadata"]
        ref = Ref(kind, metadata["namespace"], metadata["name"])
        if event_type == "DELETED":
            changed = self._cache.drop(ref, metadata["uid"], metadata["resourceVersion"])
        else:
            owner = owner_key(kind, body)
            # What belongs to no model is accounted for, not remembered: audits compare with all that the watch brings,
            # and what somebody took the model's label off must leave that model's view.
            changed = self._cache.put(
                ref,
                owner or _NOBODY,
                self._projection(ref, body) if owner else None,
                uid=metadata["uid"],
                resource_version=metadata["resourceVersion"],
            )
        for key in changed:
            if key != _NOBODY:
                self._queue.add(key)
        if event_type is None:
            self._relisted(kind)

    def _handler(self, kind: Kind) -> Callable[..., Any]:
        async def handle(event: kopf.RawEvent, **_: Any) -> None:
            self.observe(kind, event["type"], event["object"])

        return handle

    def _projection(self, ref: Ref, body: Mapping[str, Any]) -> object | None:
        try:
            return self._project(ref.kind, body)
        except Exception:
            # One object that nobody thought of must not blind the operator to all others, nor to this one's next state.
            known = self._cache.entry(ref)
            level = logging.ERROR if known is None or known.projection is not None else logging.DEBUG
            logger.log(level, "%s cannot be read and is ignored until it changes", ref, exc_info=True)
            return None


def owner_key(kind: Kind, body: Mapping[str, Any]) -> Key | None:
    """Key of the model that an object belongs to: a model's own name, anything else's label; None without one."""
    metadata = body["metadata"]
    if kind == MODEL:
        return (metadata["namespace"], metadata["name"])
    labels = metadata.get("labels") or {}
    name = labels.get(MODEL_LABEL) or labels.get(CANARY_LABEL)
    return (metadata["namespace"], name) if name else None
