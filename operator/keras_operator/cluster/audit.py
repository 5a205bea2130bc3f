"""Audits of the cache against metadata-only lists: start barrier, cure of lost deletions, alarm for dead watches."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from keras_operator.cluster.cache import Cache
from keras_operator.cluster.client import ObjectMetadata
from keras_operator.cluster.clock import Clock, SystemClock, sleep
from keras_operator.cluster.failure import ApiFailure
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.reference import Key, Kind, Ref

logger = logging.getLogger(__name__)


class MetadataApi(Protocol):
    """What an audit asks of the API server; :class:`~keras_operator.cluster.client.Client` has it."""

    async def list_metadata(
        self, kind: Kind, selector: str = "", *, namespace: str | None = None
    ) -> Sequence[ObjectMetadata]:
        """Identity and age of every object of a kind."""


@dataclass(frozen=True, slots=True)
class _Unseen:
    """A state that a list had and the watch has not brought, and since when."""

    uid: str
    resource_version: int
    since: float


class Audit:
    """Compares one kind in the cache with the cluster.

    * Synced: the cache has held every object of the first list, or has seen it go.
    * Lost deletion: an object that is cached, and missing in two lists one after the other, is dropped and its owner
      woken. One list is not enough: it may be older than the object.
    * Stale: a listed state that is newer than the cached one for longer than `patience`: the watch is dead.

    Args:
        kind: which kind.
        cache: what the watch filled.
        selector: label selector of its watch.
        namespaces: where the watch looks; `(None,)` for everywhere.
        wake: called with the owner of each change that an audit heals.
        api: the API server.
        metrics: what is counted.
        clock: for patience.
        patience: seconds.
    """

    def __init__(
        self,
        kind: Kind,
        cache: Cache,
        *,
        selector: str,
        namespaces: Sequence[str | None],
        wake: Callable[[Key], object],
        api: MetadataApi,
        metrics: Metrics,
        clock: Clock | None = None,
        patience: float = 60.0,
    ) -> None:
        self.kind = kind
        self._selector = selector
        self._namespaces = namespaces
        self._cache = cache
        self._wake = wake
        self._api = api
        self._metrics = metrics
        self._clock: Clock = clock or SystemClock()
        self._patience = patience
        self._listed = False
        self._missing: dict[Ref, str] = {}
        self._behind: dict[Ref, _Unseen] = {}

    async def once(self) -> None:
        """List and compare.

        Raises:
            ApiFailure: the list failed; nothing was changed.
        """
        before = self._cache.refs(self.kind)
        started = time.perf_counter()
        listed: dict[Ref, ObjectMetadata] = {}
        for namespace in self._namespaces:
            for item in await self._api.list_metadata(self.kind, self._selector, namespace=namespace):
                listed[Ref(self.kind, item.namespace, item.name)] = item
        self._metrics.audit_seconds.labels(self.kind.kind).observe(time.perf_counter() - started)
        self._listed = True
        self._heal(before, listed)
        self._compare(listed)
        self._metrics.cached_objects.labels(self.kind.kind).set(self._cache.count(self.kind))

    @property
    def synced(self) -> bool:
        """Whether the cache has held everything that the first list had."""
        return self._cache.synced(self.kind)

    @property
    def suspicious(self) -> bool:
        """Whether another list should come soon, to confirm what this one hints at."""
        return bool(self._missing or self._behind)

    def recheck(self) -> None:
        """See, without a request, whether the watch has brought meanwhile what the last list had."""
        self._behind = {ref: unseen for ref, unseen in self._behind.items() if not self._covers(ref, unseen)}
        if self._listed and not self._behind:
            self._cache.mark_synced(self.kind)
        self._metrics.stream_stale.labels(self.kind.kind).set(self.stale_seconds)

    @property
    def stale_seconds(self) -> float:
        """Seconds since the watch should have brought the oldest change that is still missing."""
        since = min((unseen.since for unseen in self._behind.values()), default=None)
        return 0.0 if since is None else self._clock.monotonic() - since

    @property
    def dead(self) -> bool:
        """Whether the watch has missed something for longer than patience allows."""
        return self.stale_seconds > self._patience

    def _heal(self, before: Iterable[Ref], listed: dict[Ref, ObjectMetadata]) -> None:
        missing: dict[Ref, str] = {}
        for ref in before:
            entry = self._cache.entry(ref)
            if entry is None or (ref in listed and listed[ref].uid == entry.uid):
                continue
            if self._missing.get(ref) == entry.uid:
                logger.warning("the watch of %s lost the deletion of %s/%s", self.kind, ref.namespace, ref.name)
                self._metrics.audit_healed.labels(self.kind.kind).inc()
                for key in self._cache.drop(ref, entry.uid):
                    self._wake(key)
            else:
                missing[ref] = entry.uid
        self._missing = missing

    def _compare(self, listed: dict[Ref, ObjectMetadata]) -> None:
        now = self._clock.monotonic()
        behind: dict[Ref, _Unseen] = {}
        for ref, item in listed.items():
            unseen = _Unseen(item.uid, int(item.resource_version), now)
            if not self._covers(ref, unseen):
                known = self._behind.get(ref)
                # The first state that was missed stays the measure: a busy object must not renew the patience.
                behind[ref] = known if known is not None and known.uid == item.uid else unseen
        self._behind = behind
        self.recheck()

    def _covers(self, ref: Ref, unseen: _Unseen) -> bool:
        """Whether the cache has this state of the object, a later one, or has seen the object go."""
        if self._cache.was_deleted(ref, unseen.uid, str(unseen.resource_version)):
            return True
        entry = self._cache.entry(ref)
        return entry is not None and int(entry.resource_version or 0) >= unseen.resource_version


class Auditor:
    """Runs the audits of all watched kinds: at start, every few minutes, and soon after a watch started anew.

    Args:
        audits: one for each kind.
        interval: seconds between two lists of a kind, spread by a quarter so that kinds and replicas do not meet.
        confirmation: seconds until the next list where one hints at something; the first ones, until the cache is
            synced, come five times as quickly.
        clock: where they are counted.

    Attributes:
        synced: set as soon as the cache holds everything of every kind.
    """

    def __init__(
        self,
        audits: Iterable[Audit],
        *,
        interval: float = 300.0,
        confirmation: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        self._audits = {audit.kind: audit for audit in audits}
        self._interval = interval
        self._confirmation = min(confirmation, interval)
        self._clock: Clock = clock or SystemClock()
        self._due = dict.fromkeys(self._audits, self._clock.monotonic())
        self.synced = asyncio.Event()

    @property
    def unsynced(self) -> tuple[Kind, ...]:
        """Kinds that the cache does not hold yet."""
        return tuple(kind for kind, audit in self._audits.items() if not audit.synced)

    @property
    def dead(self) -> tuple[Kind, ...]:
        """Kinds whose watch is dead: the process should be started anew."""
        return tuple(kind for kind, audit in self._audits.items() if audit.dead)

    def relisted(self, kind: Kind) -> None:
        """Say that a watch started anew: what was deleted in its gap is found by lists that come soon."""
        if kind in self._due and self._audits[kind].synced:
            self._due[kind] = min(self._due[kind], self._clock.monotonic() + self._confirmation)

    async def run(self, tick: float = 0.5) -> None:
        """Audit until cancelled, looking every `tick` seconds at what is due; a list that fails comes again soon."""
        while True:
            now = self._clock.monotonic()
            due = [audit for kind, audit in self._audits.items() if self._due[kind] <= now]
            await asyncio.gather(*(self._audit(audit) for audit in due))
            for audit in self._audits.values():
                audit.recheck()
            if not self.unsynced and not self.synced.is_set():
                self.synced.set()
                logger.info("the cache is complete: %d kinds", len(self._audits))
            await sleep(self._clock, tick)

    async def _audit(self, audit: Audit) -> None:
        pause = self._interval * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, keeps no secret
        try:
            await audit.once()
        except ApiFailure as failure:
            pause = self._confirmation
            level = logging.DEBUG if failure.unanswered else logging.WARNING
            logger.log(level, "%s could not be listed for the audit, again in %.0f s: %s", audit.kind, pause, failure)
        else:
            if audit.suspicious:
                pause = self._confirmation if audit.synced else self._confirmation / 5
        self._due[audit.kind] = self._clock.monotonic() + pause
