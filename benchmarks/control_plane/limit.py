"""The physical limit: the same writes by a bare loop, with no controller, no watch of models and no decision."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import msgspec
from keras_operator.cluster import reference
from keras_operator.cluster.reference import EVENT
from keras_operator.cluster.transport import DEFAULT_CONCURRENCY, SERVICE_CONCURRENCY
from keras_operator.kinds import MANAGED_SELECTOR, MODEL

from benchmarks.control_plane.api import APPLY, JSON_PATCH, Api
from benchmarks.control_plane.errors import BenchmarkError
from benchmarks.control_plane.models import Author
from benchmarks.control_plane.population import Population

Body = dict[str, Any]
_APPLY_QUERY = {"fieldManager": "keras-operator", "force": "true"}


@dataclass(frozen=True)
class Limit:
    """Seconds from the first write: until the last Deployment exists, all is written, and all pods are ready."""

    deployments: float
    written: float
    ready: float


@dataclass(frozen=True)
class _Write:
    method: str
    path: str
    body: bytes
    content_type: str
    query: dict[str, str]
    slots: asyncio.Semaphore
    deployment: bool = False


class _Available(msgspec.Struct, rename="camel"):
    available_replicas: int = 0


class _Name(msgspec.Struct):
    namespace: str = ""
    name: str = ""


class _Deployment(msgspec.Struct):
    metadata: _Name = msgspec.field(default_factory=_Name)
    status: _Available = msgspec.field(default_factory=_Available)


class _WatchEvent(msgspec.Struct):
    object: _Deployment


async def measure(api: Api, population: Population, *, statuses: int, events: int, seconds: float) -> Limit:
    """Write everything for these models, all of one model at once, and wait for their pods.

    Args:
        api: the API server.
        population: models without children.
        statuses: of the model, to write for each.
        events: to write for each.
        seconds: at most.

    Raises:
        BenchmarkError: not in that time.
    """
    prepared = _prepared(population, statuses, events)
    available = asyncio.create_task(_watch(api, len(prepared)))
    last = {"deployment": 0.0}
    try:
        async with asyncio.timeout(seconds):
            begun = time.monotonic()

            async def send(write: _Write) -> None:
                async with write.slots:
                    await api.send(
                        write.method, write.path, write.body, content_type=write.content_type, query=write.query
                    )
                if write.deployment:
                    last["deployment"] = time.monotonic() - begun

            async def one(children: list[_Write], later: list[_Write]) -> None:
                await asyncio.gather(*(send(write) for write in children))
                for write in later:
                    await send(write)

            async with asyncio.TaskGroup() as group:
                for children, later in prepared:
                    group.create_task(one(children, later))
            written = time.monotonic() - begun
            await available
            return Limit(last["deployment"], written, time.monotonic() - begun)
    except TimeoutError as error:
        raise BenchmarkError(f"the bare loop did not end within {seconds:.0f} s") from error
    finally:
        available.cancel()


def _prepared(population: Population, statuses: int, events: int) -> list[tuple[list[_Write], list[_Write]]]:
    """Everything in bytes before the clock starts: first the children of a model, then its statuses and Events."""
    author = Author()
    slots = asyncio.Semaphore(DEFAULT_CONCURRENCY)
    of_services = asyncio.Semaphore(SERVICE_CONCURRENCY)
    prepared = []
    for model, version in zip(population.models, population.versions, strict=True):
        writes = author.writes(model, version)
        children = []
        for manifest in writes.children:
            ref = author.kinds.ref(manifest)
            children.append(
                _Write(
                    "PATCH",
                    ref.path,
                    msgspec.json.encode(manifest),
                    APPLY,
                    _APPLY_QUERY,
                    of_services if ref.kind == reference.SERVICE else slots,
                    deployment=ref.kind == reference.DEPLOYMENT,
                )
            )
        metadata = model["metadata"]
        status_path = MODEL.path(metadata["namespace"], metadata["name"], "status")
        later = []
        for number in range(statuses):
            status = writes.statuses[min(number, len(writes.statuses) - 1)]
            # Each is another one, as the operator's are: what changes nothing is not written by the API server.
            patch = [{"op": "add", "path": "/status", "value": {**status, "message": f"{status['message']} {number}"}}]
            later.append(_Write("PATCH", status_path, msgspec.json.encode(patch), JSON_PATCH, {}, slots))
        for number in range(events):
            body = msgspec.json.encode(_event(metadata, number))
            later.append(_Write("POST", EVENT.path(metadata["namespace"]), body, "application/json", {}, slots))
        prepared.append((children, later))
    return prepared


def _event(metadata: Body, number: int) -> Body:
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"namespace": metadata["namespace"], "name": f"{metadata['name']}.{number}"},
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime()),
        "reportingController": "keras-operator",
        "reportingInstance": "benchmark",
        "action": "Reconcile",
        "reason": "Serving",
        "note": "version 1 serves on 1/1 pods",
        "type": "Normal",
        "regarding": {
            "apiVersion": MODEL.api_version,
            "kind": MODEL.kind,
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }


async def _watch(api: Api, count: int) -> None:
    """Return once so many Deployments have a pod that is available. A watch, as lists would be the load."""
    query = {"watch": "true", "labelSelector": MANAGED_SELECTOR, "timeoutSeconds": "3000"}
    decoder = msgspec.json.Decoder(_WatchEvent)
    available: set[tuple[str, str]] = set()
    async for line in api.lines(reference.DEPLOYMENT.path(), query):
        deployment = decoder.decode(line).object
        if deployment.status.available_replicas:
            available.add((deployment.metadata.namespace, deployment.metadata.name))
            if len(available) == count:
                return
    raise BenchmarkError("the watch of Deployments ended early")
