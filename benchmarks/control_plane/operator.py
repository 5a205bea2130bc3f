"""The operator as an ordinary process of this environment, with the rights of its own service account."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.control_plane import models
from benchmarks.control_plane.api import until
from benchmarks.control_plane.cluster import NAMESPACE, Cluster
from benchmarks.control_plane.errors import BenchmarkError

_PROC = Path("/proc")
_STOP_SECONDS = 60.0
_MIB = 1024.0
# Only these: putting all metrics into words would be a good part of what the operator is seen to do.
_ASKED = [
    ("name[]", "keras_operator_reconcile_seconds_count"),
    ("name[]", "keras_operator_queue_depth"),
    ("name[]", "keras_operator_models"),
    ("name[]", "keras_operator_leader"),
]


@dataclass(frozen=True)
class Counts:
    """What the operator says of itself: reconciles since its start, keys that wait, models that serve."""

    reconciles: float
    depth: float
    serving: float
    leader: bool


class Operator:
    """One operator process. `started` is when, on the monotonic clock."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.started = time.monotonic()
        self._process = process
        self._port = port
        self._log = log

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def counts(self) -> Counts | None:
        """What /metrics says now; None while nobody answers yet.

        Raises:
            BenchmarkError: the process has ended.
        """
        if self._process.poll() is not None:
            raise BenchmarkError(f"the operator ended with status {self._process.returncode}; see {self._log}")
        try:
            timeout = aiohttp.ClientTimeout(total=30)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"http://127.0.0.1:{self._port}/metrics", params=_ASKED) as answer,
            ):
                return _counts(await answer.text())
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def wait_ready(self, seconds: float) -> None:
        """Return once its cache is complete. Raises BenchmarkError."""

        async def ready() -> bool:
            await self.counts()
            try:
                async with (
                    aiohttp.ClientSession() as session,
                    session.get(f"http://127.0.0.1:{self._port}/readyz") as answer,
                ):
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await until(ready, "the operator is ready", seconds, pause=0.1)

    async def wait_idle(self, reconciles: int, seconds: float) -> None:
        """Return once it has looked at so many models since its start and none waits. Raises BenchmarkError."""

        async def idle() -> bool:
            counts = await self.counts()
            return counts is not None and counts.reconciles >= reconciles and not counts.depth

        await until(idle, f"the operator has looked at {reconciles} models", seconds, pause=0.1)

    def resident_mib(self) -> float:
        """Memory that it holds now."""
        return self._status_kib("VmRSS") / _MIB

    def peak_mib(self) -> float:
        """The most that it ever held."""
        return self._status_kib("VmHWM") / _MIB

    def cpu_seconds(self) -> float:
        """User and system time since its start."""
        fields = (_PROC / str(self.pid) / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def stop(self) -> None:
        """End it as Kubernetes does, and after a minute by force."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def _status_kib(self, name: str) -> float:
        lines = (_PROC / str(self.pid) / "status").read_text().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


@asynccontextmanager
async def running(cluster: Cluster, folder: Path) -> AsyncIterator[Operator]:
    """An operator for as long as the context lasts."""
    operator = start(cluster, folder)
    try:
        yield operator
    finally:
        await operator.stop()


def start(cluster: Cluster, folder: Path) -> Operator:
    """Start an operator; it logs to `operator.log` in the folder."""
    port = _free_port()
    log = folder / "operator.log"
    program = Path(sys.executable).parent / "keras-operator"
    command = (
        str(program),
        f"--kubeconfig={cluster.operator_kubeconfig}",
        f"--lease-namespace={NAMESPACE}",
        f"--trainer-image={models.TRAINER_IMAGE}",
        f"--server-image={models.SERVER_IMAGE}",
        f"--tensorflow-serving-image={models.TENSORFLOW_SERVING_IMAGE}",
        f"--probe-port={port}",
    )
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    return Operator(process, port, log)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _counts(text: str) -> Counts:
    reconciles = depth = serving = leader = 0.0
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("keras_operator_reconcile_seconds_count"):
            reconciles += float(value)
        elif name == "keras_operator_queue_depth":
            depth = float(value)
        elif name == 'keras_operator_models{phase="Serving"}':
            serving = float(value)
        elif name == "keras_operator_leader":
            leader = float(value)
    return Counts(reconciles, depth, serving, bool(leader))
