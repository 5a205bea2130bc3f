"""Find, start and stop the cluster's processes.

There are no pid files. Every process carries its cluster's name and its own in its environment, and /proc says which
are alive: so a run killed between a start and a record leaves nothing unknown, and a reused pid deceives nobody.
"""

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from devcluster.errors import NotReadyError
from devcluster.places import Places

CLUSTER_MARK = "KERAS_DEVCLUSTER"
PROCESS_MARK = "KERAS_DEVCLUSTER_PROCESS"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROC = Path("/proc")
STOP_SECONDS = 5.0
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Component:
    """A program that runs as long as the cluster does; `files` are written before it starts (path to text)."""

    name: str
    command: tuple[str, ...]
    files: Mapping[Path, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    def digest(self) -> str:
        """Changes when the program would have to be started anew: its command, environment or files differ."""
        parts = (*self.command, *(f"{key}={value}" for key, value in sorted(self.env.items())))
        files = (f"{path}\n{text}" for path, text in sorted(self.files.items()))
        return hashlib.sha256("\0".join((*parts, *files)).encode()).hexdigest()[:12]

    def mark(self) -> str:
        """What its process carries in its environment."""
        return f"{self.name}:{self.digest()}"


@dataclass(frozen=True)
class Process:
    """A process of some cluster; `started` is in clock ticks since boot and makes the pid unambiguous."""

    pid: int
    started: int
    cluster: str
    mark: str
    program: str
    innermost_pid: int

    @property
    def name(self) -> str:
        """The component's name."""
        return self.mark.partition(":")[0]


def parse_environment(data: bytes) -> dict[str, str]:
    """The content of /proc/PID/environ as a mapping."""
    pairs = (entry.partition(b"=") for entry in data.split(b"\0") if b"=" in entry)
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, _, value in pairs}


def start_ticks(stat: str) -> int:
    """The start time from /proc/PID/stat; the command's name, in parentheses, may hold spaces and parentheses."""
    return int(stat.rpartition(")")[2].split()[19])


def innermost_pid(status: str) -> int:
    """The pid inside the deepest pid namespace, from /proc/PID/status."""
    line = next((line for line in status.splitlines() if line.startswith("NSpid:")), "NSpid: 0")
    return int(line.split()[-1])


def _read(pid: int) -> Process | None:
    folder = PROC / str(pid)
    try:
        environment = parse_environment((folder / "environ").read_bytes())
        if CLUSTER_MARK not in environment:
            return None
        return Process(
            pid=pid,
            started=start_ticks((folder / "stat").read_text()),
            cluster=environment[CLUSTER_MARK],
            mark=environment.get(PROCESS_MARK, ""),
            program=(folder / "exe").readlink().name,
            innermost_pid=innermost_pid((folder / "status").read_text()),
        )
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None  # it ended meanwhile, or is a kernel thread or somebody else's


def of_cluster(name: str) -> list[Process]:
    """All living processes of one cluster, whoever started them."""
    own = os.getpid()
    found = (_read(int(entry.name)) for entry in PROC.iterdir() if entry.name.isdigit() and int(entry.name) != own)
    return [process for process in found if process is not None and process.cluster == name]


def of_component(processes: list[Process], component: Component) -> list[Process]:
    """Those that run the component's own program: what it starts (shims, plug-ins) inherits its mark, not its name."""
    program = Path(component.command[0]).resolve().name
    return [process for process in processes if process.name == component.name and process.program == program]


def alive(process: Process) -> bool:
    """Whether this very process, and not another with its pid, still runs."""
    current = _read(process.pid)
    return current is not None and current.started == process.started


def environment(places: Places, name: str, extra: Mapping[str, str]) -> dict[str, str]:
    """A clean environment with the marks: nothing of the caller's reaches the cluster (proxies, credentials)."""
    return {"PATH": PATH, "HOME": str(places.node), CLUSTER_MARK: places.name, PROCESS_MARK: name, **extra}


def start(places: Places, component: Component, enter: list[str]) -> None:
    """Start a component; `enter` is the command that goes into the node. Its output goes to its log file."""
    for path, text in component.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    places.logs.mkdir(parents=True, exist_ok=True)
    env = environment(places, component.mark(), component.env)
    with log_path(places, component.name).open("ab") as log:
        # setsid forks and ends: the component becomes a child of the node's process 1, which reaps it.
        command = [*enter, "setsid", "--fork", *component.command]
        subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)


def stop(process: Process) -> None:
    """End a process: politely, and after some seconds not."""
    for request in (signal.SIGTERM, signal.SIGKILL):
        if not alive(process):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, request)
        ended = until(lambda: not alive(process), STOP_SECONDS)
        if ended:
            return


def wait(places: Places, name: str, ready: Callable[[], bool], lives: Callable[[], bool], seconds: float) -> None:
    """Wait until a component is ready.

    Raises:
        NotReadyError: it ended, or the time is over; the message ends with its last log lines.
    """
    if until(lambda: ready() or not lives(), seconds) and lives():
        return
    what = f"was not ready after {seconds:.0f} s" if lives() else "ended"
    raise NotReadyError(f"{name} {what}; see {log_path(places, name)}, which ends with:\n{tail(places, name, 12)}")


def memory_mib(pid: int) -> int:
    """Resident memory in MiB; 0 for a process that has ended."""
    try:
        pages = int((PROC / str(pid) / "statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def log_path(places: Places, name: str) -> Path:
    """The log file of a component."""
    return places.logs / f"{name}.log"


def tail(places: Places, name: str, lines: int) -> str:
    """The last lines of a component's log."""
    path = log_path(places, name)
    if not path.is_file():
        return "(no log)"
    with path.open("rb") as log:
        # 200 characters a line is generous for what these programs write.
        log.seek(max(0, path.stat().st_size - 200 * lines))
        return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll a condition; whether it came true within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
