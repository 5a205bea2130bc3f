"""N models that serve at once: how long, how many requests, how much memory, from apply to deletion."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from keras_operator.cluster.reference import LEASE
from keras_operator.kinds import MODEL

from benchmarks.control_plane import limit, operator
from benchmarks.control_plane.api import MERGE_PATCH, Api, opened, until
from benchmarks.control_plane.cluster import NAMESPACE, USER, Cluster, cpu_seconds
from benchmarks.control_plane.errors import BenchmarkError
from benchmarks.control_plane.operator import Operator
from benchmarks.control_plane.population import Population, check_ready, delete_all, populate
from benchmarks.control_plane.requests import AuditLog, Request, counted

ADMIN = "kubernetes-admin"
LEASE_PATH = LEASE.path(NAMESPACE)
LEASE_NAME = "keras-operator"
QUIET_SECONDS = 3.0
REST_SECONDS = 20.0
CHANGE_EVERY_SECONDS = 0.3


@dataclass
class Found:
    """What one run with N models found; seconds, MiB and requests for each model."""

    count: int
    applied: float = 0.0
    deployments: float = 0.0
    ready: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)
    reads: int = 0
    cpu: float = 0.0
    cpu_of_others: dict[str, float] = field(default_factory=dict)
    resident: float = 0.0
    peak: float = 0.0
    at_rest: Counter[str] = field(default_factory=Counter)
    changes: list[float] = field(default_factory=list)
    restart: float = 0.0
    restart_writes: Counter[str] = field(default_factory=Counter)
    deleted: float = 0.0
    limit: limit.Limit | None = None
    limit_deleted: float = 0.0

    @property
    def requests_a_model(self) -> float:
        """From apply to Ready."""
        return sum(self.requests.values()) / self.count

    def change(self, share: float) -> float | None:
        """Milliseconds in which this share of the changes had reached their child."""
        if not self.changes:
            return None
        ordered = sorted(self.changes)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def change_median(self) -> float | None:
        """Milliseconds."""
        return 1000 * statistics.median(self.changes) if self.changes else None


async def measure(cluster: Cluster, folder: Path, count: int, samples: int) -> Found:
    """One run with so many models.

    Args:
        cluster: an empty one.
        folder: for logs.
        count: of models.
        samples: changes to single models while all are at rest.

    Raises:
        BenchmarkError: something did not come to pass.
    """
    found = Found(count)
    patience = 180.0 + 0.25 * count
    async with opened(cluster.kubeconfig) as api:
        population = await populate(api, "bench", count)
        found.applied = population.applied_seconds
        log = AuditLog(cluster.audit_log, USER)
        async with _serving(cluster, folder, api, found, log, patience) as process:
            await check_ready(api, count)
            found.resident, found.peak = process.resident_mib(), process.peak_mib()
            found.at_rest = await _rest(log)
            found.changes = await _change(api, cluster, log, population, min(samples, count))
            await _quiet(log, process, patience)
        async with operator.running(cluster, folder) as process:
            found.restart, found.restart_writes = await _restart(process, log, count, patience)
            found.resident = max(found.resident, process.resident_mib())
            found.deleted = await delete_all(api, population, patience)
        found.limit, found.limit_deleted = await _bare_loop(api, found, patience)
    return found


async def _bare_loop(api: Api, found: Found, patience: float) -> tuple[limit.Limit, float]:
    """The same writes, for as many other models, while no operator runs."""
    statuses, events = (
        round(sum(number for name, number in found.requests.items() if name.endswith(what)) / found.count)
        for what in (" kerasmodels/status", " events")
    )
    population = await populate(api, "limit", found.count)
    measured = await limit.measure(api, population, statuses=statuses, events=events, seconds=patience)
    return measured, await delete_all(api, population, patience)


@asynccontextmanager
async def _serving(
    cluster: Cluster, folder: Path, api: Api, found: Found, log: AuditLog, patience: float
) -> AsyncIterator[Operator]:
    """An operator that has brought all models to Ready, timed from the moment at which it may.

    It starts as a standby: it has watched the models and their published versions being created, and may not act, as
    somebody else holds the Lease. So no version is missing when it looks, and no Job runs.
    """
    await api.json("POST", LEASE_PATH, _lease("benchmark", 3600))
    async with operator.running(cluster, folder) as process:
        await process.wait_ready(patience)
        log.new()
        cpu, others = process.cpu_seconds(), cpu_seconds()
        held = await api.json("GET", f"{LEASE_PATH}/{LEASE_NAME}")
        await api.json("PUT", f"{LEASE_PATH}/{LEASE_NAME}", {**held, "spec": _lease("", 1)["spec"]})

        async def all_serve() -> bool:
            counts = await process.counts()
            return counts is not None and counts.serving >= found.count and not counts.depth

        await until(all_serve, f"{found.count} models serve", patience)
        requests = await _quiet(log, process, patience)
        found.cpu = process.cpu_seconds() - cpu
        found.cpu_of_others = {name: seconds - others.get(name, 0.0) for name, seconds in cpu_seconds().items()}
        begun = _took_the_lease(requests)
        found.deployments = (_last(requests, "deployments") - begun).total_seconds()
        found.ready = (_last(requests, "kerasmodels/status") - begun).total_seconds()
        asked = [request for request in requests if not request.upkeep]
        found.requests = counted(asked)
        found.reads = sum(not request.write for request in asked)
        yield process


def _lease(holder: str, seconds: int) -> dict[str, Any]:
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "metadata": {"namespace": NAMESPACE, "name": LEASE_NAME},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds},
    }


def _took_the_lease(requests: list[Request]) -> datetime:
    return next(
        request.answered
        for request in requests
        if request.resource == "leases" and request.verb == "update" and request.code < 300
    )


def _last(requests: list[Request], resource: str) -> datetime:
    return max(request.answered for request in requests if request.resource == resource and request.write)


async def _quiet(log: AuditLog, process: Operator, patience: float) -> list[Request]:
    """Requests until the operator has sent none but its upkeep for some seconds."""
    requests: list[Request] = []

    async def quiet() -> bool:
        more = log.new()
        requests.extend(more)
        await process.counts()
        return not any(not request.upkeep for request in more)

    await until(quiet, "the operator is at rest", patience, pause=QUIET_SECONDS)
    await asyncio.sleep(QUIET_SECONDS)
    if not await quiet():
        requests += await _quiet(log, process, patience)
    return requests


async def _rest(log: AuditLog) -> Counter[str]:
    """What it asks for while nothing changes, upkeep left out."""
    log.new()
    await asyncio.sleep(REST_SECONDS)
    return counted(request for request in log.new() if not request.upkeep)


async def _change(api: Api, cluster: Cluster, log: AuditLog, population: Population, samples: int) -> list[float]:
    """Change one model after the other; seconds from each change's acceptance to its child's write.

    By turns the autoscaler's target, which is the HorizontalPodAutoscaler's, and the memory request, which is the
    Deployment's and rolls it out anew.
    """
    log.new()
    own = AuditLog(cluster.audit_log, ADMIN)
    chosen = random.Random(0).sample(population.models, samples)  # noqa: S311 - a fixed choice, no secret
    children = {}
    for number, model in enumerate(chosen):
        metadata = model["metadata"]
        if number % 2:
            serving: dict[str, Any] = {"autoscaling": {"targetCPUUtilization": 60}}
        else:
            serving = {"resources": {"requests": {"memory": "256Mi"}}}
        children[metadata["namespace"], metadata["name"]] = "horizontalpodautoscalers" if number % 2 else "deployments"
        path = MODEL.path(metadata["namespace"], metadata["name"])
        await api.json("PATCH", path, {"spec": {"serving": serving}}, content_type=MERGE_PATCH)
        await asyncio.sleep(CHANGE_EVERY_SECONDS)
    await asyncio.sleep(QUIET_SECONDS)
    patches = {(r.namespace, r.name): r for r in own.new() if (r.verb, r.resource) == ("patch", "kerasmodels")}
    written: dict[tuple[str, str], datetime] = {}
    for request in log.new():
        key = (request.namespace, request.name)
        # Not from the answer on: watches can bring a change before the one who made it has its answer.
        if request.write and request.resource == children.get(key) and request.answered > patches[key].received:
            written.setdefault(key, request.answered)
    if missing := children.keys() - written.keys():
        raise BenchmarkError(f"{len(missing)} changes reached no child, among them that of {missing.pop()}")
    return [max(0.0, (written[key] - patches[key].answered).total_seconds()) for key in children]


async def _restart(process: Operator, log: AuditLog, count: int, patience: float) -> tuple[float, Counter[str]]:
    """Seconds from its start until it has looked at every model; and what it wrote besides its Lease."""
    log.new()
    await process.wait_idle(count, patience)
    loop = asyncio.get_running_loop()
    seconds = loop.time() - process.started
    requests = await _quiet(log, process, patience)
    return seconds, counted(request for request in requests if request.write and not request.upkeep)
