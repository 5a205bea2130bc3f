"""One replica of the operator: a process of its own, started, killed, frozen, and kept alive as a kubelet would.

Processes are forked from one that has everything imported, because a life in which the operator dies a hundred times
should not wait a hundred times for imports. What runs in them is the console script's own function.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from urllib.error import URLError
from urllib.request import urlopen

import yaml

from tests.chaos.api_proxy import ApiProxy

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["keras_operator.main", "keras_operator.logs", __name__])
_FORK_LOCK = threading.Lock()
# The kubelet's periods, as the manifests ask for: liveness every 10 s, three failures.
_PROBE_SECONDS, _PROBE_FAILURES = 10.0, 3


class Replica:
    """A replica that is started again whenever it ends.

    Args:
        proxy: its way to the API server.
        folder: where its kubeconfig and log are.
        namespace: the one that it serves, and where its Lease is.
        templates: for `--templates`.
        flags: more of them.
        before_start: called before each start but the first.
    """

    def __init__(
        self,
        proxy: ApiProxy,
        folder: Path,
        namespace: str,
        templates: Path,
        *flags: str,
        before_start: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = proxy.name
        self.log = folder / f"{proxy.name}.log"
        self.port = free_port()
        self.ends: list[int] = []
        """How each process of it ended: minus the signal's number, or the exit status."""
        self._before_start = before_start
        self._words = [*flags_of(proxy, folder, namespace, templates, self.port), *flags]
        self._process = self._fork()
        self._stopping = threading.Event()
        self._may_start = threading.Event()
        self._may_start.set()
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {self.name}", daemon=True)
        self._prober = threading.Thread(target=self._probe, name=f"prober of {self.name}", daemon=True)

    def __enter__(self) -> Replica:
        with _FORK_LOCK:
            self._process.start()
        self._keeper.start()
        self._prober.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._may_start.set()
        self.signal(signal.SIGKILL)
        self._keeper.join()
        self._prober.join()

    def kill(self) -> None:
        """SIGKILL; a new process follows, unless `hold` says otherwise."""
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send a signal to the process, if there is one."""
        if self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    @property
    def pid(self) -> int | None:
        """Of its present or last process."""
        return self._process.pid

    def hold(self) -> None:
        """Start no process any more when one ends."""
        self._may_start.clear()

    def let_start(self) -> None:
        """Start one again."""
        self._may_start.set()

    @property
    def is_ready(self) -> bool:
        """Whether its cache is complete."""
        return self._says("readyz")

    @property
    def at_rest(self) -> bool:
        """Whether it leads, has looked at something, and neither looks at something nor will."""
        looked, left = metrics_at(self.port)
        return looked > 0 and not left

    def wait_ready(self, seconds: float = 120.0) -> None:
        """Return once its cache is complete. Raises AssertionError."""
        deadline = time.monotonic() + seconds
        while not self.is_ready:
            assert time.monotonic() < deadline, f"{self.name} is not ready after {seconds:.0f} s:\n{self.said()}"
            time.sleep(0.1)

    def said(self) -> str:
        """The end of what its processes logged."""
        return self.log.read_text()[-6000:] if self.log.exists() else ""

    def _keep(self) -> None:
        while True:
            # Every start looks at how all other processes are, and how one ended can be read only once.
            wait([self._process.sentinel])
            with _FORK_LOCK:
                self._process.join()
            self.ends.append(self._process.exitcode or 0)
            self._may_start.wait()
            if self._stopping.is_set():
                return
            self._before_start()
            self._process = self._fork()
            with _FORK_LOCK:
                self._process.start()

    def _probe(self) -> None:
        """The kubelet's liveness probe, once the first answer was a good one (which is the startup probe)."""
        failures, pid = 0, None
        while not self._stopping.wait(_PROBE_SECONDS):
            if self._process.pid != pid:
                failures, pid = 0, self._process.pid
            failures = 0 if self._says("healthz") else failures + 1
            if failures >= _PROBE_FAILURES and not self._is_frozen:
                self.kill()

    @property
    def _is_frozen(self) -> bool:
        stat = Path(f"/proc/{self._process.pid}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "T"

    def _says(self, probe: str) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/{probe}", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def _fork(self) -> multiprocessing.process.BaseProcess:
        return _FORKS.Process(target=_run, args=(self._words, str(self.log)), name=self.name, daemon=True)


def _run(words: list[str], log: str) -> None:
    """The operator, in its own process."""
    with Path(log).open("ab") as said:
        os.dup2(said.fileno(), sys.stderr.fileno())
    # Ctrl-C in a terminal is for the tests, which end their operators themselves.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["NO_PROXY"] = "*"
    from keras_operator.main import main

    sys.exit(main(words))


def flags_of(proxy: ApiProxy, folder: Path, namespace: str, templates: Path, port: int) -> list[str]:
    """The command line of an operator that serves one namespace through a proxy, with its Lease there too."""
    return [
        f"--kubeconfig={_kubeconfig(folder / f'{proxy.name}.kubeconfig', proxy.url)}",
        f"--namespaces={namespace}",
        f"--lease-namespace={namespace}",
        f"--templates={templates}",
        f"--probe-port={port}",
        "--trainer-image=trainer:1",
        "--server-image=server:1",
        "--log-format=console",
    ]


def metrics_at(port: int) -> tuple[float, float]:
    """How many reconciles an operator has ended, and how many have begun or are to come; zeros while it is not up."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = [line.rpartition(" ") for line in answer.read().decode().splitlines()]
    except (URLError, OSError):
        return 0.0, 0.0
    counts = [float(value) for name, _, value in lines if name.startswith("keras_operator_reconcile_seconds_count")]
    left = ("keras_operator_queue_depth", "keras_operator_queue_processing", "keras_operator_queue_delayed")
    return sum(counts), sum(float(value) for name, _, value in lines if name in left)


def _kubeconfig(path: Path, server: str) -> Path:
    named = {
        "clusters": [{"name": "proxy", "cluster": {"server": server}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}],
    }
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "proxy", **named}))
    return path


def free_port() -> int:
    """A port that nobody listens on, and that no connection is given while its operator is down."""
    lowest_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, min(lowest_given, 32_768))
        with socket.socket() as taken, contextlib.suppress(OSError):
            taken.bind(("0.0.0.0", port))
            return port
