"""Bring models into the cluster, see when they are served, and take them away again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from keras_operator.cluster import reference
from keras_operator.cluster.reference import Kind
from keras_operator.kinds import MANAGED_SELECTOR, MODEL, VERSION

from benchmarks.control_plane import models
from benchmarks.control_plane.api import Api, at_once, until
from benchmarks.control_plane.errors import BenchmarkError

CONCURRENCY = 20
# What a user waits for when models are deleted, and what besides must be gone before the next measurement.
SEEN_TO_GO = (MODEL, reference.DEPLOYMENT, reference.SERVICE)
GOES_TOO = (
    VERSION,
    reference.SERVICE_ACCOUNT,
    reference.NETWORK_POLICY,
    reference.HORIZONTAL_POD_AUTOSCALER,
    reference.JOB,
    reference.POD,
)
NAMESPACES = "/api/v1/namespaces"

Body = dict[str, Any]


@dataclass(frozen=True)
class Population:
    """Models that are in the cluster, each with its published version; `applied_seconds` the models alone took."""

    models: list[Body]
    versions: list[Body]
    namespaces: list[str]
    applied_seconds: float


async def apply_models(api: Api, prefix: str, count: int) -> tuple[list[Body], list[str], float]:
    """Create models; they, their namespaces, and the seconds that it took."""
    places = models.namespaces(prefix, count)
    distinct = list(dict.fromkeys(places))
    for name in distinct:
        await api.json("POST", NAMESPACES, {"metadata": {"name": name}})
    wanted = [models.manifest(place, f"{prefix}-{number}") for number, place in enumerate(places)]
    begun = time.monotonic()
    made = await at_once(
        [partial(api.json, "POST", MODEL.path(body["metadata"]["namespace"]), body) for body in wanted], CONCURRENCY
    )
    return made, distinct, time.monotonic() - begun


async def publish(api: Api, made: list[Body]) -> list[Body]:
    """Give each model its first version, published."""

    async def one(model: Body) -> Body:
        wanted = models.published_version(model)
        namespace, name = wanted["metadata"]["namespace"], wanted["metadata"]["name"]
        created = await api.json("POST", VERSION.path(namespace), wanted)
        body = {**created, "status": wanted["status"]}
        return await api.json("PUT", VERSION.path(namespace, name, "status"), body)

    return await at_once([partial(one, model) for model in made], CONCURRENCY)


async def populate(api: Api, prefix: str, count: int) -> Population:
    """Models with their published versions."""
    made, places, seconds = await apply_models(api, prefix, count)
    return Population(made, await publish(api, made), places, seconds)


async def check_ready(api: Api, count: int) -> None:
    """Raises BenchmarkError unless so many models say that they are Ready and so many Deployments are available."""
    unready = [body["metadata"]["name"] for body in await api.items(MODEL) if not _is_ready(body)]
    if unready:
        raise BenchmarkError(f"{len(unready)} models are not Ready, among them {unready[0]}")
    deployments = await api.items(reference.DEPLOYMENT, MANAGED_SELECTOR)
    available = sum(body["status"].get("availableReplicas", 0) >= 1 for body in deployments)
    if available != count:
        raise BenchmarkError(f"{available} Deployments are available, not {count}")


def _is_ready(body: Body) -> bool:
    conditions = {one["type"]: one["status"] for one in body.get("status", {}).get("conditions", ())}
    return conditions.get("Ready") == "True"


async def delete_all(api: Api, population: Population, seconds: float) -> float:
    """Delete the models and wait for their Deployments and Services; the seconds until the last was gone.

    Returns when nothing else of them is left either.
    """
    begun = time.monotonic()
    query = {"propagationPolicy": "Background"}
    for namespace in population.namespaces:
        await api.json("DELETE", MODEL.path(namespace), query=query)
    for kind in SEEN_TO_GO:
        await until(partial(_gone, api, kind), f"every {kind} is gone", seconds)
    taken = time.monotonic() - begun
    for kind in GOES_TOO:
        await until(partial(_gone, api, kind), f"every {kind} is gone", seconds)
    return taken


async def _gone(api: Api, kind: Kind) -> bool:
    return not await api.any_left(kind, "" if kind == MODEL else MANAGED_SELECTOR)
