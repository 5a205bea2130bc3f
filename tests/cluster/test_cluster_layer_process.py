"""The operator's process on a real API server: what wakes a model, what is never written, who leads, how it ends."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from keras_operator.cluster.client import Client
from keras_operator.cluster.connection import connect
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.reference import JOB, LEASE, Key, Kind, Ref
from keras_operator.kinds import MODEL, VERSION
from keras_operator.lifecycle import Lifecycle
from keras_operator.settings import Settings

LABELS = {"app.kubernetes.io/managed-by": "keras-operator", "keras-operator.dev/model": "dogs"}


async def until(what: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something is so; fail where it never becomes so."""
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110 - another process or the API server makes it so
            await asyncio.sleep(0.02)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def model_of(namespace: str, name: str = "dogs", **metadata: Any) -> dict[str, Any]:
    spec = {"source": {"uri": "s3://models/uploads/dogs"}, "store": {"uri": "s3://models/dogs"}}
    metadata = {"namespace": namespace, "name": name, **metadata}
    return {"apiVersion": MODEL.api_version, "kind": MODEL.kind, "metadata": metadata, "spec": spec}


def job_of(namespace: str, name: str, labels: dict[str, str]) -> dict[str, Any]:
    """A Job that runs nothing."""
    pod = {"containers": [{"name": "main", "image": "none.invalid/none:1"}], "restartPolicy": "Never"}
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"suspend": True, "template": {"spec": pod}},
    }


@dataclass
class Process:
    """An operator in this process, whose reconcile only remembers its calls."""

    lifecycle: Lifecycle
    task: asyncio.Task[None]
    port: int
    calls: list[Key] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    async def ready(self) -> None:
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"http://127.0.0.1:{self.port}/readyz") as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientConnectionError:
                    assert not self.task.done()
                await asyncio.sleep(0.05)

    async def called(self) -> None:
        await until(lambda: self.calls)

    async def stop(self) -> None:
        self.lifecycle.stop()
        await asyncio.wait_for(self.task, 20)


def look(kind: Kind, body: Mapping[str, Any]) -> object:
    """What the reconcile of these tests needs: name, spec and whether it is being deleted."""
    metadata = body["metadata"]
    return (kind.kind, metadata["name"], repr(body.get("spec")), metadata.get("deletionTimestamp"))


@pytest.fixture
async def client(cluster_env: dict[str, str], crds: Any) -> AsyncIterator[Client]:
    client = Client(await connect(cluster_env["KUBECONFIG"]), (MODEL, VERSION), Metrics())
    yield client
    await client.close()


@pytest.fixture
async def own_namespace(client: Client, request: pytest.FixtureRequest, api: Any) -> AsyncIterator[str]:
    """A namespace of this test's own."""
    name = f"process-{abs(hash(request.node.name)) % 10**10}"
    api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    api.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
async def start(cluster_env: dict[str, str], own_namespace: str) -> AsyncIterator[Callable[..., Any]]:
    """Starts operators that serve the test's namespace; they end with the test."""
    processes: list[Process] = []

    async def start(kubeconfig: str | None = None, **changes: Any) -> Process:
        port = free_port()
        settings = {
            "trainer_image": "trainer",
            "server_image": "server",
            "tensorflow_serving_image": "serving",
            "namespaces": (own_namespace,),
            "lease_namespace": own_namespace,
            "probe_port": port,
            "drain": 5.0,
        }
        connection = await connect(kubeconfig or cluster_env["KUBECONFIG"])
        calls: list[Key] = []
        lost: list[str] = []

        def make_reconciler(*_: Any, **__: Any) -> Any:
            async def reconcile(key: Key) -> None:
                calls.append(key)

            return reconcile

        lifecycle = Lifecycle(
            Settings(**{**settings, **changes}), connection, make_reconciler, look, lambda: lost.append("lost")
        )
        process = Process(lifecycle, asyncio.create_task(lifecycle.run()), port, calls, lost)
        processes.append(process)
        return process

    yield start
    for process in processes:
        if not process.task.done():
            process.lifecycle.stop()
    await asyncio.gather(*(process.task for process in processes), return_exceptions=True)


async def leading(process: Process) -> None:
    await until(lambda: process.lifecycle.metrics.registry.get_sample_value("keras_operator_leader") == 1)


async def test_a_model_and_its_children_wake_it_and_strangers_do_not(start, client, own_namespace):
    process = await start()
    await process.ready()
    await leading(process)
    key = (own_namespace, "dogs")

    await client.create(model_of(own_namespace))
    await until(lambda: process.calls == [key])
    await client.create(job_of(own_namespace, "stranger", {"keras-operator.dev/model": "dogs"}))
    made = await client.create(job_of(own_namespace, "dogs-1-train", LABELS))
    await until(lambda: len(process.calls) == 2)
    assert len(process.lifecycle.cache.owned(key, JOB)) == 1

    await client.delete(Ref(JOB, own_namespace, "dogs-1-train"), made["metadata"]["uid"])
    await until(lambda: process.lifecycle.cache.owned(key, JOB) == ())
    await until(lambda: len(process.calls) >= 3)
    assert set(process.calls) == {key}


async def test_what_was_there_before_the_start_is_reconciled_once_and_only_when_all_of_it_is_known(
    start, client, own_namespace
):
    for number in range(5):
        await client.create(model_of(own_namespace, f"m{number}"))
        labels = {**LABELS, "keras-operator.dev/model": f"m{number}"}
        await client.create(job_of(own_namespace, f"m{number}-1-train", labels))
    process = await start()
    await leading(process)
    await until(lambda: len(process.calls) >= 5)
    assert sorted(process.calls) == [(own_namespace, f"m{number}") for number in range(5)]
    assert process.lifecycle.cache.count(JOB) == 5


async def test_a_change_of_status_that_planning_does_not_read_wakes_nobody(start, client, own_namespace):
    uid = (await client.create(model_of(own_namespace)))["metadata"]["uid"]
    process = await start()
    await leading(process)
    await until(lambda: len(process.calls) == 1)
    ref = Ref(MODEL, own_namespace, "dogs")
    for number in range(5):
        answer = await client.apply_status(ref, uid, {"phase": "Training", "message": f"epoch {number}"})
    newest = answer["metadata"]["resourceVersion"]
    cache = process.lifecycle.cache
    await until(lambda: (entry := cache.entry(ref)) is not None and entry.resource_version == newest)
    assert len(process.calls) == 1


async def test_nothing_of_anybodys_object_is_written_not_even_by_kopf(start, client, own_namespace):
    """Finalizers, kopf's own among them, and annotations stay as they are, through watch, restart and deletion."""
    finalizers = ["example.com/theirs", "kopf.zalando.org/KopfFinalizerMarker"]
    made = await client.create(model_of(own_namespace, finalizers=finalizers, annotations={"note": "mine"}))
    job = await client.create(job_of(own_namespace, "dogs-1-train", LABELS))
    for _ in range(2):
        process = await start()
        await leading(process)
        await process.called()
        await process.stop()
    seen = await client.get(Ref(MODEL, own_namespace, "dogs"))
    assert seen == made

    process = await start()
    await until(lambda: process.calls)
    await client.delete(Ref(MODEL, own_namespace, "dogs"), made["metadata"]["uid"])
    await until(lambda: len(process.calls) >= 2)
    await process.stop()
    deleting = await client.get(Ref(MODEL, own_namespace, "dogs"))
    assert deleting is not None
    assert deleting["metadata"]["finalizers"] == finalizers
    assert deleting["metadata"]["annotations"] == {"note": "mine"}
    managers = {entry["manager"] for entry in deleting["metadata"]["managedFields"]}
    assert managers == {"keras-operator"}, "the test's own create, and nobody else"

    untouched = await client.get(Ref(JOB, own_namespace, "dogs-1-train"))
    assert untouched is not None
    for part in ("annotations", "finalizers", "labels"):
        assert untouched["metadata"].get(part) == job["metadata"].get(part)
    patch = [{"op": "remove", "path": "/metadata/finalizers"}]
    await client._transport.json(
        "test",
        MODEL,
        Ref(MODEL, own_namespace, "dogs").path,
        method="PATCH",
        body=patch,
        content_type="application/json-patch+json",
    )


async def test_a_deletion_that_the_watch_lost_is_found_by_the_audit(start, client, own_namespace):
    process = await start(audit_interval=0.5)
    await leading(process)
    ghost = Ref(JOB, own_namespace, "ghost")
    process.lifecycle.cache.put(ghost, (own_namespace, "dogs"), "running", uid="gone", resource_version="1")
    await until(lambda: process.lifecycle.cache.get(ghost) is None)
    await until(lambda: process.calls == [(own_namespace, "dogs")])


async def test_a_stolen_lease_ends_the_process_at_once(start, client, own_namespace):
    process = await start()
    await leading(process)
    lease = await client.get(Ref(LEASE, own_namespace, "keras-operator"))
    assert lease is not None
    await client.replace({**lease, "spec": {**lease["spec"], "holderIdentity": "thief"}})
    await until(lambda: process.lost == ["lost"], 5)
    with pytest.raises(Exception, match="held by thief"):
        await process.task


async def test_work_under_way_is_finished_before_the_lease_is_given_away(cluster_env, client, own_namespace, crds):
    entered, leave = asyncio.Event(), asyncio.Event()
    holder_when_done: list[str] = []

    def make_reconciler(*_: Any, **__: Any) -> Any:
        async def reconcile(key: Key) -> None:
            entered.set()
            await leave.wait()
            lease = await client.get(Ref(LEASE, own_namespace, "keras-operator"))
            assert lease is not None
            holder_when_done.append(lease["spec"]["holderIdentity"])

        return reconcile

    settings = Settings(
        "t", "s", "v", namespaces=(own_namespace,), lease_namespace=own_namespace, probe_port=free_port()
    )
    lifecycle = Lifecycle(settings, await connect(cluster_env["KUBECONFIG"]), make_reconciler, look)
    task = asyncio.create_task(lifecycle.run())
    await client.create(model_of(own_namespace))
    await asyncio.wait_for(entered.wait(), 20)
    lifecycle.stop()
    await asyncio.sleep(0.2)
    assert not task.done()
    leave.set()
    await asyncio.wait_for(task, 20)
    lease = await client.get(Ref(LEASE, own_namespace, "keras-operator"))
    assert lease is not None
    assert lease["spec"].get("holderIdentity", "") == ""
    assert holder_when_done[0] != ""


class Program:
    """The console script as a child process."""

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        self.port = free_port()
        words = ["-m", "keras_operator.main", f"--kubeconfig={kubeconfig}", f"--namespaces={namespace}"]
        words += [f"--lease-namespace={namespace}", f"--probe-port={self.port}", "--log-format=console"]
        words += ["--trainer-image=trainer", "--server-image=server"]
        self.process = subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True)

    def said(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    async def ended(self, seconds: float = 20) -> int:
        await until(lambda: self.process.poll() is not None, seconds)
        assert self.process.returncode is not None
        return self.process.returncode


@pytest.fixture
def program(cluster_env, own_namespace):
    programs: list[Program] = []

    def start() -> Program:
        programs.append(Program(cluster_env["KUBECONFIG"], own_namespace))
        return programs[-1]

    yield start
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
        program.process.wait()
        if program.process.stderr is not None:
            program.process.stderr.close()


async def holder(client: Client, namespace: str) -> str:
    lease = await client.get(Ref(LEASE, namespace, "keras-operator"))
    return "" if lease is None else lease["spec"].get("holderIdentity", "")


async def wait_for_holder(client: Client, namespace: str, other_than: str = "", seconds: float = 90) -> str:
    async with asyncio.timeout(seconds):
        while (name := await holder(client, namespace)) in {"", other_than}:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return name


async def test_a_standby_is_warm_and_works_within_seconds_after_the_leader_ended(program, start, client, own_namespace):
    leader = program()
    await wait_for_holder(client, own_namespace)
    standby = await start()
    await standby.ready()
    await client.create(model_of(own_namespace))
    await until(lambda: standby.lifecycle.cache.count(MODEL) == 1)
    assert standby.calls == []

    leader.process.send_signal(signal.SIGTERM)
    asked = asyncio.get_running_loop().time()
    await until(lambda: standby.calls)
    assert asyncio.get_running_loop().time() - asked < 4
    assert standby.calls == [(own_namespace, "dogs")]


async def test_sigterm_ends_the_program_with_success_and_frees_the_lease(program, client, own_namespace):
    running = program()
    await wait_for_holder(client, own_namespace)
    running.process.send_signal(signal.SIGTERM)
    assert await running.ended(20) == 0, running.said()
    assert await holder(client, own_namespace) == ""
    assert "Traceback" not in running.said()


async def test_after_a_kill_another_replica_leads_when_the_lease_has_ended(program, client, own_namespace):
    first = program()
    name = await wait_for_holder(client, own_namespace)
    program()
    first.process.kill()
    assert await wait_for_holder(client, own_namespace, other_than=name, seconds=120) != name


async def test_a_program_that_lost_its_lease_ends_with_failure(program, client, own_namespace):
    running = program()
    await wait_for_holder(client, own_namespace)
    lease = await client.get(Ref(LEASE, own_namespace, "keras-operator"))
    assert lease is not None
    await client.replace({**lease, "spec": {**lease["spec"], "holderIdentity": "thief"}})
    assert await running.ended(20) == 1
    assert "leadership is lost" in running.said()
