"""When a run has done its first training step, as its progress says over HTTP."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from keras_operator.api import Progress

from benchmarks.training.errors import BenchmarkError

_EVERY_SECONDS = 0.05
# The message within an epoch; at its end it has no percent.
WITHIN = re.compile(r"epoch \d+/\d+(, step [1-9]\d*/\d+| done)")


@dataclass(frozen=True)
class Started:
    """Seconds from the start of the process: to the data being decoded, and to the first training step.

    A run tells about its steps once a second, so the latter may be a second late and is never early.
    """

    data_ready: float
    first_step: float


def free_port() -> int:
    """A port on which the run can answer."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def wait_for_first_step(process: subprocess.Popen[str], port: int) -> Started:
    """Ask the run, which has just been started, 20 times a second. Raises BenchmarkError where it ends before."""
    began, wall = time.monotonic(), datetime.now(UTC)
    while True:
        found = _progress(port)
        if found is not None and WITHIN.match(found.message):
            return Started((found.times["dataReady"] - wall).total_seconds(), time.monotonic() - began)
        if process.poll() is not None:
            raise BenchmarkError(f"the run ended with {process.returncode} before its first step")
        time.sleep(_EVERY_SECONDS)


def _progress(port: int) -> Progress | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/progress")
        return msgspec.json.decode(connection.getresponse().read(), type=Progress)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
