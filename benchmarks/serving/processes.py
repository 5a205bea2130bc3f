"""Servers as processes on one core, with the benchmark and its clients on the other."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.errors import BenchmarkError

SERVER_CORE, CLIENT_CORE = 0, 1
MB = 1e6
_SECONDS_TO_END = 10.0


def stay_on_the_clients_core() -> None:
    """Keep this process, and what it starts without `on_core`, off the servers' core. Raises BenchmarkError."""
    if not {SERVER_CORE, CLIENT_CORE} <= os.sched_getaffinity(0):
        raise BenchmarkError("the benchmark needs processors 0 and 1: one for the server and one for its clients")
    os.sched_setaffinity(0, {CLIENT_CORE})


def on_core(core: int, command: Sequence[str]) -> list[str]:
    """The command, on one core."""
    return ["taskset", "-c", str(core), *command]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@dataclass(frozen=True)
class Running:
    """A server's process; `began` by `time.perf_counter`, its output in `log`."""

    process: subprocess.Popen[bytes]
    began: float
    log: Path

    def check(self) -> None:
        """Raise BenchmarkError with its last words if it has ended."""
        if self.process.poll() is not None:
            raise BenchmarkError(f"the server ended with status {self.process.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        """The end of its output."""
        return self.log.read_text(errors="replace").strip()[-800:]

    def memory(self) -> float:
        """MB that it holds: resident; of several processes, all of their own and the files of the one that has most.

        PSS would tell more exactly what they share, but other servers' environments share files with these.
        """
        members = list(_tree(self.process.pid))
        files = max(_kib(member, "RssFile:") for member in members)
        own = sum(_kib(member, "RssAnon:") + _kib(member, "RssShmem:") for member in members)
        return (own + files) * 1024 / MB

    def processor_seconds(self) -> float:
        """What its processes have had of processors since they began, theirs and the kernel's for them."""
        return sum(_ticks(member) for member in _tree(self.process.pid)) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[Running]:
    """A server on its core, in a session of its own, which is ended with all its children."""
    log = folder / f"server-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            on_core(SERVER_CORE, command),
            env=os.environ | dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Running(process, began, log)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    members = list(_tree(process.pid))
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_SECONDS_TO_END)
    for member in members:
        # A child that has outlived its parent is of a session that one of them began, or it is somebody else by now.
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(member) in members:
                os.kill(member, signal.SIGKILL)
    process.wait()


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                yield from _tree(int(child))


def _kib(pid: int, name: str) -> int:
    """A line of KiB in a process's status; 0 of a process that is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    return 0


def _ticks(pid: int) -> int:
    """The user and system time of proc(5), fields 14 and 15 of `stat`; 0 of a process that is gone."""
    with contextlib.suppress(OSError):
        # The command's name may hold spaces and brackets; what follows its last bracket begins with field 3.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0
