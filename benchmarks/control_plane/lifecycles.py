"""Whole life cycles: models that are trained, judged, exported and served, with Jobs that kwok ends at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from keras_operator.cluster import reference

from benchmarks.control_plane import operator
from benchmarks.control_plane.api import opened, until
from benchmarks.control_plane.cluster import USER, Cluster
from benchmarks.control_plane.errors import BenchmarkError
from benchmarks.control_plane.population import Population, apply_models, check_ready, delete_all
from benchmarks.control_plane.requests import AuditLog, counted

JOBS_A_MODEL = 2


@dataclass
class Lived:
    """What a run of whole life cycles found. `seconds` from the first apply to the last model's Ready."""

    count: int
    seconds: float
    requests: Counter[str]
    reads: int
    jobs: int
    cpu: float


async def measure(cluster: Cluster, folder: Path, count: int) -> Lived:
    """Apply models to a running operator and wait until each serves what its own Jobs have made.

    Raises:
        BenchmarkError: something did not come to pass.
    """
    patience = 240.0 + 0.5 * count
    async with opened(cluster.kubeconfig) as api, operator.running(cluster, folder) as process:

        async def leads() -> bool:
            counts = await process.counts()
            return counts is not None and counts.leader

        await until(leads, "the operator leads", patience, pause=0.1)
        log = AuditLog(cluster.audit_log, USER)
        begun = datetime.now(UTC)
        made, places, _ = await apply_models(api, "life", count)

        async def all_serve() -> bool:
            counts = await process.counts()
            return counts is not None and counts.serving >= count and not counts.depth

        await until(all_serve, f"{count} models have lived to serve", patience)
        requests = [request for request in log.new() if not request.upkeep]
        await check_ready(api, count)
        last = max(r.answered for r in requests if r.resource == "kerasmodels/status")
        jobs = sum(r.verb == "create" and r.resource == reference.JOB.plural and r.code == 201 for r in requests)
        if jobs != JOBS_A_MODEL * count:
            raise BenchmarkError(f"{jobs} Jobs were created for {count} models, not {JOBS_A_MODEL} for each")
        lived = Lived(
            count,
            (last - begun).total_seconds(),
            counted(requests),
            sum(not request.write for request in requests),
            jobs,
            process.cpu_seconds(),
        )
        await delete_all(api, Population(made, [], places, 0.0), patience)
        return lived
