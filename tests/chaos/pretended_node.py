"""A node without a kubelet: its pods end, and become ready, because this says so.

Jobs, Deployments, garbage collection and everything else are done by Kubernetes' own controllers. What a Job answers is
decided by its inputs, so that the same life gives the same answers however often the operator dies in it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import keras_operator
import msgspec
from keras_operator.api import RunResult, RunStage
from keras_operator.api.run import Images, RunSpec, Servable

from tests.chaos.background import Background
from tests.chaos.upstream import Upstream

NODE = "pretended"
MISSES_GATE_EPOCHS = 7
"""A training of so many epochs is a bad one: its accuracy is 0.5 instead of 0.9."""

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_LEASE_SECONDS = 40
_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"
_STRATEGIC = "application/strategic-merge-patch+json"
_ADDRESS = "203.0.113.1"


class PretendedNode:
    """Keeps the node alive and plays its pods.

    Args:
        background: the loop in which it runs.
        upstream: the API server.
    """

    def __init__(self, background: Background, upstream: Upstream) -> None:
        self._background = background
        self._upstream = upstream
        self._exits = AsyncExitStack()

    def __enter__(self) -> PretendedNode:
        self._background.run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._background.run(self._stop())

    async def _start(self) -> None:
        self._session = await self._exits.enter_async_context(self._upstream.session())
        # Nobody else's pods may come here: there is no kubelet to run them.
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "spec": {"unschedulable": True}}
        await self._apply(f"/api/v1/nodes/{NODE}", node)
        await self._beat()
        self._tasks = [asyncio.create_task(self._beat_on()), asyncio.create_task(self._play_on())]

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._request("DELETE", f"/api/v1/nodes/{NODE}")
        await self._exits.aclose()
        for one in ended:
            if isinstance(one, Exception):
                raise one

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(_LEASE_SECONDS / 4)
            await self._beat()

    async def _beat(self) -> None:
        """Say, as a kubelet does, that the node is well; else its pods would be marked as not ready."""
        now = datetime.now(UTC)
        lease = {"holderIdentity": NODE, "leaseDurationSeconds": _LEASE_SECONDS, "renewTime": _micro(now)}
        metadata = {"name": NODE, "namespace": "kube-node-lease"}
        manifest = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": lease}
        await self._apply(f"{_LEASES}/{NODE}", manifest)
        seconds = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "reason": "Pretended", "lastHeartbeatTime": seconds}
        status = {"status": {"conditions": [ready], "capacity": {"cpu": "1k", "memory": "1Ti", "pods": "10k"}}}
        await self._request("PATCH", f"/api/v1/nodes/{NODE}/status", status, _STRATEGIC)

    async def _play_on(self) -> None:
        query = {"fieldSelector": f"spec.nodeName={NODE}"}
        while True:
            listed = await self._request("GET", "/api/v1/pods", query=query)
            for pod in listed["items"]:
                await self._play(pod)
            following = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
            async with asyncio.TaskGroup() as plays:
                async for event in self._watch(query | following):
                    if event["type"] in {"ADDED", "MODIFIED"}:
                        plays.create_task(self._play(event["object"]))

    async def _watch(self, query: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        async with self._session.get("/api/v1/pods", params={**query, "timeoutSeconds": "600"}) as answer:
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for event in map(json.loads, lines):
                    if event["type"] == "ERROR":
                        return
                    yield event

    async def _play(self, pod: dict[str, Any]) -> None:
        metadata, status = pod["metadata"], pod.get("status", {})
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        component = metadata.get("labels", {}).get("app.kubernetes.io/component")
        if "deletionTimestamp" in metadata:
            await self._request("DELETE", path, {"gracePeriodSeconds": 0})
        elif component in {"train", "export"}:
            if status.get("phase") == "Pending":
                await self._request("PATCH", f"{path}/status", {"status": _ended(pod, RunStage(component))}, _MERGE)
        elif not any(one["type"] == "Ready" for one in status.get("conditions", ())):
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": _now()}
            there = {"podIP": _ADDRESS, "podIPs": [{"ip": _ADDRESS}], "startTime": _now()}
            body = {"status": {"phase": "Running", "conditions": [ready], **there}}
            await self._request("PATCH", f"{path}/status", body, _MERGE)

    async def _apply(self, path: str, manifest: object) -> None:
        await self._request("PATCH", path, manifest, _APPLY, {"fieldManager": "pretended-node", "force": "true"})

    async def _request(
        self,
        method: str,
        path: str,
        body: object = None,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type}
        async with self._session.request(method, path, data=data, headers=headers, params=query) as answer:
            content: dict[str, Any] = await answer.json()
            # What is played may be gone by then.
            if answer.status >= 400 and answer.status not in {404, 409}:
                raise aiohttp.ClientError(f"{method} {path} was answered with {answer.status}: {content}")
            return content


def node_templates(folder: Path, templates: Path | None = None) -> Path:
    """Templates for `--templates` that put every pod on the pretended node.

    Args:
        folder: where to write them.
        templates: those of the operator that will use them; by default of this tree.
    """
    own = (templates or Path(keras_operator.__file__).parent / "templates") / "_pod.j2"
    beginning = "{%- macro pod_security() -%}\n"
    text = own.read_text()
    assert text.count(beginning) == 1, f"{own} has another beginning of pod_security now"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / own.name).write_text(text.replace(beginning, f"{beginning}nodeName: {NODE}\n      "))
    return folder


def _ended(pod: dict[str, Any], stage: RunStage) -> dict[str, Any]:
    [container] = pod["spec"]["containers"]
    environment = {one["name"]: one.get("value", "") for one in container["env"]}
    result = msgspec.json.encode(_result(stage, msgspec.json.decode(environment["KERAS_RUN"], type=RunSpec)))
    terminated = {"exitCode": 0, "startedAt": _now(), "finishedAt": _now(), "message": result.decode()}
    said = {"name": container["name"], "image": container["image"], "imageID": "", "ready": False, "restartCount": 0}
    return {"phase": "Succeeded", "containerStatuses": [{**said, "state": {"terminated": terminated}}]}


def _result(stage: RunStage, run: RunSpec) -> RunResult:
    if stage is RunStage.TRAIN:
        bad = run.training is not None and run.training.epochs == MISSES_GATE_EPOCHS
        metrics = {"accuracy": 0.5 if bad else 0.9}
        return RunResult(stage=stage, ok=True, metrics=metrics, classes=2, images=Images(train=8, validation=2, test=2))
    servable = Servable(uri=f"{run.store.uri}/{run.number}", digest=f"sha256:{run.number:064x}", bytes=1)
    return RunResult(stage=stage, ok=True, servable=servable, parity=0.0)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
