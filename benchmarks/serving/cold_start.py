"""How long a new pod waits for its servable: from the agent's start until the runtime may load it.

What TensorFlow then takes is in no figure. The store is a MinIO on this machine; agents run on the servers' processor,
MinIO on the clients'.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Measured
from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.processes import Running, free_port, running
from benchmarks.training.minio import Minio, minio
from model_store import open_store, publish

_BYTES = 90_000_000
_AGENTS = 50
_FETCHED_WITHIN = 300.0


@dataclass(frozen=True)
class _Agent:
    running: Running
    port: int

    def wait(self) -> float:
        """Seconds from its start until its startup probe passes. Raises BenchmarkError."""
        while not self._passes():
            self.running.check()
            if time.perf_counter() - self.running.began > _FETCHED_WITHIN:
                raise BenchmarkError(f"an agent fetched nothing: {self.running.last_words()}")
            time.sleep(0.01)
        return time.perf_counter() - self.running.began

    def cached(self) -> int:
        """Bytes that came from the cache."""
        (version,) = json.loads(_get(self.port, "/status")[1])["versions"]
        return int(version["cachedBytes"])

    def errors(self) -> int:
        """How often it said that something failed."""
        return self.running.log.read_text().count(" E ")

    def _passes(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return _get(self.port, "/startupz")[0] == 200
        return False


def cold_start(folder: Path) -> list[Measured]:
    """The row: the first pod, the second with a cache, and many at once without one. Raises BenchmarkError."""
    folder = Path(tempfile.mkdtemp(prefix="cold-start-", dir=folder))
    servable = folder / "servable" / "variables"
    servable.mkdir(parents=True)
    (servable / "variables.data-00000-of-00001").write_bytes(secrets.token_bytes(_BYTES))
    (servable.parent / "saved_model.pb").write_bytes(secrets.token_bytes(400_000))
    with minio() as store, contextlib.ExitStack() as own:
        for name, value in store.environment.items():
            own.enter_context(_environment(name, value))
        store.upload(folder / "nothing", "datasets")
        publish(open_store("s3://models/large", endpoint=store.endpoint), 1, servable.parent, {})
        cache = folder / "cache"
        cache.mkdir()
        with _agent(store, folder / "plain") as agent:
            plain = agent.wait()
        with _agent(store, folder / "first", cache) as agent:
            first = agent.wait()
        with _agent(store, folder / "second", cache) as agent:
            second = agent.wait()
            if agent.cached() < _BYTES:
                raise BenchmarkError("the second agent did not take the servable from the cache")
        began = time.perf_counter()
        with contextlib.ExitStack() as many:
            agents = [many.enter_context(_agent(store, folder / f"many-{one}")) for one in range(_AGENTS)]
            for agent in agents:
                agent.wait()
            together = time.perf_counter() - began
            errors = sum(agent.errors() for agent in agents)
    return [
        Measured("90 MB servable: fetched without a cache", plain, "s", "<= 3.0"),
        Measured("90 MB servable: fetched into an empty cache", first, "s", "<= 3.0"),
        Measured("90 MB servable: the second pod, from the cache", second, "s", "<= 1.0"),
        Measured(f"90 MB servable: {_AGENTS} agents at once, until the last is done", together, "s"),
        Measured(f"90 MB servable: {_AGENTS} agents at once, errors", float(errors), "errors", "<= 0"),
    ]


@contextlib.contextmanager
def _agent(store: Minio, folder: Path, cache: Path | None = None) -> Iterator[_Agent]:
    folder.mkdir()
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("keras-agent")),
        "--store-uri=s3://models/large",
        f"--endpoint={store.endpoint}",
        "--model-name=large",
        "--version=1",
        f"--models-dir={folder}",
        f"--config-file={folder / 'models.config'}",
        "--runtime-url=http://127.0.0.1:1",
        f"--port={port}",
        *([f"--cache-dir={cache}"] if cache else []),
    ]
    with running(command, store.environment, folder) as process:
        yield _Agent(process, port)


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
