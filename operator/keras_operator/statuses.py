"""Writing statuses, and telling of them: versions first, then the model, then its Events.

A status follows from the state that was looked at. It is written onto that state and onto no other, so that what was
said since is never undone by an older look.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from keras_operator.api import KerasModelStatus, KerasModelVersionStatus, VersionPhase
from keras_operator.cluster.cache import Cache
from keras_operator.cluster.client import Client
from keras_operator.cluster.failure import ApiFailure, Conflict, NotFound
from keras_operator.cluster.reference import Key, Ref
from keras_operator.kinds import MODEL, VERSION
from keras_operator.phases import PhaseCounter
from keras_operator.plan import Plan
from keras_operator.plan.causes import namespace_ends
from keras_operator.plan.desired import Notice
from keras_operator.plan.observed import Model, Observed
from keras_operator.projection import project

logger = logging.getLogger(__name__)


def remember(cache: Cache, ref: Ref, key: Key, body: Mapping[str, Any]) -> object:
    """Put an answer into the cache, so that the next look sees this write whatever the watches do.

    Returns:
        What planning needs of it.
    """
    value = project(ref.kind, body)
    metadata = body["metadata"]
    cache.put(ref, key, value, uid=metadata["uid"], resource_version=metadata["resourceVersion"])
    return value


class StatusWriter:
    """Says what becomes of models.

    Args:
        cache: takes in the answers.
        client: the API server.
        phases: where the models' phases are counted.
    """

    def __init__(self, cache: Cache, client: Client, phases: PhaseCounter) -> None:
        self._cache = cache
        self._client = client
        self._phases = phases

    async def publications(self, key: Key, observed: Observed, todo: Plan) -> Observed:
        """Say that a version is published before it starts to serve.

        Should that be lost, a gate that is raised in the same moment would reject a version that serves.
        """
        versions, states = [], dict(observed.states)
        for version in observed.versions:
            name = version.identity.name
            status = todo.version_statuses.get(name, version.status)
            if status.phase is VersionPhase.PUBLISHED and status != version.status:
                ref = Ref(VERSION, key[0], name)
                states[name] = await self._write(ref, version.identity.uid, status, key, states.get(name))
                logger.info("version %d %s", version.number, status.message, extra={"version": version.number})
                version = dataclasses.replace(version, status=status)  # noqa: PLW2901 - as it is said now
            versions.append(version)
        return dataclasses.replace(observed, versions=tuple(versions), states=states)

    async def write(self, model: Model, observed: Observed, todo: Plan) -> None:
        """First the versions': a model never claims what its version does not say yet. Then the model's, then news."""
        key = (model.identity.namespace, model.identity.name)
        before = {version.identity.name: version for version in observed.versions}
        for name, status in todo.version_statuses.items():
            version = before[name]
            if status != version.status:
                ref = Ref(VERSION, key[0], name)
                await self._write(ref, version.identity.uid, status, key, observed.states.get(name))
        if todo.status is None or todo.status == model.status:
            return
        ref = Ref(MODEL, *key)
        if await self._write(ref, model.identity.uid, todo.status, key, observed.states.get(MODEL.kind)):
            if todo.status.phase:
                # Nothing may wake this model again: the echo of its own write does not.
                self._phases.saw(key, todo.status.phase)
            for notice in todo.notices:
                level = logging.WARNING if notice.kind == "Warning" else logging.INFO
                more = {"version": todo.status.latest_version, "generation": todo.status.observed_generation}
                logger.log(level, "%s: %s", notice.reason, notice.message, extra=more)
            await asyncio.gather(*(self._tell(ref, model.identity.uid, notice) for notice in todo.notices))

    async def _write(
        self, ref: Ref, uid: str, status: KerasModelStatus | KerasModelVersionStatus, key: Key, seen: str | None
    ) -> str:
        """Write a status onto the state from which it follows, `seen`, and onto no other.

        What was said since the look, by this process or by one before it whose request was long on its way, is not
        undone: that is a Conflict, and another look, at the state that was found instead: its watch may be silent.

        Returns:
            The resourceVersion of the new state; empty where the object was deleted since it was seen.
        """
        try:
            body = await self._client.apply_status(ref, uid, msgspec.to_builtins(status), seen)
        except NotFound:
            return ""  # its DELETED event is on its way
        except Conflict as conflict:
            if conflict.found is not None:
                remember(self._cache, ref, key, conflict.found)
            raise
        remember(self._cache, ref, key, body)
        return str(body["metadata"]["resourceVersion"])

    async def _tell(self, ref: Ref, uid: str, notice: Notice) -> None:
        warning = notice.kind == "Warning"
        try:
            await self._client.event(
                ref, uid, reason=notice.reason, note=notice.message, action="Reconcile", warning=warning
            )
        except ApiFailure as failure:
            # An Event is news, not state: the status says the same, so a lost one is not worth a second reconcile. In a
            # namespace that is being deleted nothing new can be written, and nobody is to blame.
            level = logging.DEBUG if namespace_ends(failure.message) else logging.WARNING
            logger.log(level, "Event %s about %s was not written: %s", notice.reason, ref, failure)
