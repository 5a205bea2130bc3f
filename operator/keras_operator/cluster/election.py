"""Leader election by a Lease: one replica works, the others watch and wait with warm caches."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from keras_operator.cluster.clock import Clock, SystemClock, sleep
from keras_operator.cluster.events import timestamp
from keras_operator.cluster.failure import ApiFailure, Conflict, NotFound
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.reference import LEASE, Ref

logger = logging.getLogger(__name__)


class LeaseApi(Protocol):
    """What an election asks of the API server; :class:`~keras_operator.cluster.client.Client` has it."""

    async def get(self, ref: Ref) -> dict[str, Any] | None:
        """The Lease, or None."""

    async def create(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create it, or fail with AlreadyExists."""

    async def replace(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Replace the state named by its resourceVersion, or fail with Conflict."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of an election, those of Kubernetes' own controllers by default.

    A leader that could not renew for `renew_deadline` stops; another takes over `lease_duration` after it last saw
    the Lease change. The gap between the two is the time in which nobody may work.
    """

    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        if not self.lease_duration > self.renew_deadline > self.retry_period > 0:
            raise ValueError(
                f"lease duration {self.lease_duration} s must be longer than renew deadline {self.renew_deadline} s, "
                f"and that longer than retry period {self.retry_period} s"
            )


class LeadershipLostError(Exception):
    """This replica was the leader and is not any more: it must stop at once."""


class Election:
    """Takes part in the election of one Lease.

    Other replicas' clocks are never trusted: a Lease counts as expired when this replica has seen no change of it for
    its duration, on its own monotonic clock.

    Args:
        api: the API server.
        ref: the Lease.
        identity: name of this replica, unique among all.
        metrics: what is counted.
        timing: durations.
        clock: where they are counted.

    Attributes:
        leading: set while this replica is the leader.
    """

    def __init__(
        self,
        api: LeaseApi,
        ref: Ref,
        identity: str,
        *,
        metrics: Metrics,
        timing: Timing | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._api = api
        self._ref = ref
        self._identity = identity
        self._metrics = metrics
        self._timing = timing or Timing()
        self._clock: Clock = clock or SystemClock()
        self._observed: tuple[str, float] | None = None
        self._ends: float | None = None
        self._held = False
        self._until = -math.inf
        self.leading = asyncio.Event()

    async def run(self) -> None:
        """Wait for leadership, then hold it; never returns.

        Raises:
            LeadershipLostError: it could not be renewed in time, or another replica took it.
        """
        lease = await self._acquire()
        logger.info("%s leads: it holds %s", self._identity, self._ref)
        self.leading.set()
        self._metrics.leader.set(1)
        try:
            await self._hold(lease)
        finally:
            self.leading.clear()
            self._metrics.leader.set(0)
            self._until = -math.inf

    def remaining(self) -> float:
        """Seconds for which no other replica can lead, by this one's own clock; not above 0 where it does not lead.

        A process that was frozen knows by it at once that its time is over, before it has asked anybody.
        """
        return self._until - self._clock.monotonic()

    async def release(self) -> None:
        """Give the Lease up, so that another replica need not wait for its end; call it after all work has ended."""
        if not self._held:
            return
        self._held = False
        try:
            async with asyncio.timeout(self._timing.retry_period):
                # Read again: a renewal that was cancelled on its way may have been carried out.
                lease = await self._api.get(self._ref)
                if lease is None or (lease.get("spec") or {}).get("holderIdentity") != self._identity:
                    return
                # No holder, and a duration so short that nobody waits for it: what client-go writes when it gives up.
                await self._api.replace(
                    {**lease, "spec": {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}}
                )
            logger.info("%s released %s", self._identity, self._ref)
        except (ApiFailure, TimeoutError) as error:
            logger.warning("%s could not release %s, it ends by itself: %s", self._identity, self._ref, error)

    async def _acquire(self) -> dict[str, Any]:
        reported = ""
        while True:
            try:
                async with asyncio.timeout(self._timing.renew_deadline):
                    lease = await self._try_acquire()
                if lease is not None:
                    return lease
                reported = ""
            except Conflict:
                logger.debug("another replica was quicker with %s", self._ref)
            except (ApiFailure, TimeoutError) as error:
                if str(error) != reported:
                    logger.warning("%s cannot be asked for, trying again: %s", self._ref, str(error) or "no answer")
                reported = str(error)
            await sleep(self._clock, self._until_next_look())

    def _until_next_look(self) -> float:
        """Seconds: the retry period, or less where the Lease ends before, if nobody renews it."""
        if self._ends is None:
            return self._timing.retry_period
        return min(self._timing.retry_period, max(self._ends - self._clock.monotonic(), self._timing.retry_period / 8))

    async def _try_acquire(self) -> dict[str, Any] | None:
        """The Lease as ours, or None while another replica holds it."""
        lease = await self._api.get(self._ref)
        now = timestamp(self._clock.now())
        if lease is None:
            manifest = self._manifest({"acquireTime": now, "renewTime": now, "leaseTransitions": 0})
            return await self._take(self._api.create(manifest))
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder and holder != self._identity and not self._expired(lease["metadata"]["resourceVersion"], spec):
            return None
        transitions = int(spec.get("leaseTransitions") or 0) + (holder != self._identity)
        manifest = self._manifest({"acquireTime": now, "renewTime": now, "leaseTransitions": transitions})
        return await self._take(self._api.replace({**manifest, "metadata": lease["metadata"]}))

    async def _take(self, write: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        """Write the Lease; it holds from the moment before that, for the answer may take long."""
        before = self._clock.monotonic()
        # It may be ours before that is known: whoever is stopped meanwhile has something to give up.
        self._held = True
        lease = await write
        self._until = before + self._timing.renew_deadline
        return lease

    def _expired(self, resource_version: str, spec: Mapping[str, Any]) -> bool:
        now = self._clock.monotonic()
        if self._observed is None or self._observed[0] != resource_version:
            self._observed = (resource_version, now)
        self._ends = self._observed[1] + float(spec.get("leaseDurationSeconds") or self._timing.lease_duration)
        return now >= self._ends

    async def _hold(self, lease: dict[str, Any]) -> None:
        told = False
        while True:
            # Near the deadline more often: a server that comes back in the last two seconds is still asked in time.
            left = self.remaining()
            await sleep(self._clock, min(self._timing.retry_period, max(left / 2, self._timing.retry_period / 8)))
            left = self.remaining()
            if left <= 0:
                raise LeadershipLostError(f"{self._ref} could not be renewed within {self._timing.renew_deadline:g} s")
            try:
                async with asyncio.timeout(left):
                    lease = await self._renew(lease)
                told = False
            except (ApiFailure, TimeoutError) as error:
                level, told = logging.DEBUG if told else logging.WARNING, True
                logger.log(level, "%s was not renewed, %.1f s are left: %s", self._ref, left, str(error) or "no answer")

    async def _renew(self, lease: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._take(self._api.replace(self._renewed(lease)))
        except (Conflict, NotFound):
            # Either it is lost, or somebody annotated it, or it is our own write whose answer was lost: look.
            current = await self._api.get(self._ref)
            holder = "" if current is None else (current.get("spec") or {}).get("holderIdentity") or ""
            if current is None or holder != self._identity:
                raise LeadershipLostError(f"{self._ref} is held by {holder or 'nobody'} now") from None
            return await self._take(self._api.replace(self._renewed(current)))

    def _renewed(self, lease: Mapping[str, Any]) -> dict[str, Any]:
        return {**lease, "spec": {**lease["spec"], "renewTime": timestamp(self._clock.now())}}

    def _manifest(self, times: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"namespace": self._ref.namespace, "name": self._ref.name},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": int(self._timing.lease_duration),
                **times,
            },
        }
