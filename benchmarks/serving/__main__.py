"""Measures the runtime against its bars: `python -m benchmarks.serving`, about a minute."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.demo.surroundings import machine
from benchmarks.figures import Measured, record
from benchmarks.serving.load import PATH, Outcome
from model_server.runtime.dtypes import DataType
from model_server.runtime.json_codec import decode_inputs, parse_predict
from model_server.runtime.savedmodel import TensorSpec

_RESULTS = Path(__file__).parent.parent / "results" / "serving.json"
_COMMAND = "python -m benchmarks.serving"
_SECONDS = 8.0
_CLIENTS = 8
_STARTS = 3


def main() -> None:
    """Measure, print and record."""
    measured = [_json_ratio()]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "benchmarks.serving.model", folder], check=True, capture_output=True)
        measured += _served(Path(folder))
    for figure in record(_RESULTS, machine(), _COMMAND, measured).figures:
        verdict = {True: "holds", False: "MISSED", None: ""}[figure.holds]
        print(f"{figure.name:62} {figure.value:10,.2f} {figure.unit:12} {figure.bar or '':8} {verdict}")


def _best(work: Callable[[], object], times: int) -> float:
    """The shortest of some runs in seconds: what the work takes when nothing else disturbs it."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def _json_ratio() -> Measured:
    image = np.random.default_rng(1).random((1, 224, 224, 3), np.float32)
    body = json.dumps({"instances": image.tolist()}).encode()
    specs = {"x": TensorSpec("x", "x:0", DataType.FLOAT, (None, 224, 224, 3))}
    decoded = decode_inputs(parse_predict(body), specs)["x"][0]
    if not np.array_equal(decoded, image):
        sys.exit("the tensor that was read is not the one that was written")
    lists = _best(lambda: np.array(json.loads(body)["instances"], np.float32), 7)
    own = _best(lambda: decode_inputs(parse_predict(body), specs), 15)
    return Measured("JSON to a 224x224x3 tensor, against json.loads + numpy.array", lists / own, "times", ">= 10")


def _served(folder: Path) -> list[Measured]:
    image = np.random.default_rng(2).random((1, 28, 28, 1), np.float32)
    body = json.dumps({"instances": image.tolist()}).encode()
    starts = []
    for _ in range(_STARTS):
        with _server(folder, body) as (_, _, seconds):
            starts.append(seconds)
    with _server(folder, body) as (process, port, _):
        _drive(port, body, 1.0)
        outcome = _drive(port, body, _SECONDS)
        resident = _resident(process.pid)
    if outcome.failed:
        sys.exit(f"{outcome.failed} requests failed")
    command = ["taskset", "-c", "0", sys.executable, "-m", "benchmarks.serving.bare_loop", str(folder / "1"), "4"]
    bare = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    rate = outcome.answered / outcome.seconds
    return [
        Measured("process start to first answer", sorted(starts)[len(starts) // 2], "s", "<= 1.0"),
        Measured("resident memory, one small model, REST and gRPC on", resident / 1e6, "MB", "<= 400"),
        Measured("REST, batch 1, 28x28: requests a second on one core", rate, "1/s"),
        Measured("REST, batch 1, 28x28: 99th percentile", outcome.p99_ms, "ms", "<= 20"),
        Measured("bare loop of TF_SessionRun on one core", bare, "1/s"),
        Measured("REST, batch 1, 28x28: share of the bare loop", rate / bare, "", ">= 0.4"),
    ]


@contextlib.contextmanager
def _server(folder: Path, body: bytes) -> Iterator[tuple[subprocess.Popen[bytes], int, float]]:
    """The runtime on CPU 0: its process, its REST port, and the seconds until it answered `body`."""
    with socket.socket() as rest, socket.socket() as grpc:
        rest.bind(("127.0.0.1", 0))
        grpc.bind(("127.0.0.1", 0))
        port, grpc_port = rest.getsockname()[1], grpc.getsockname()[1]
    program = str(Path(sys.executable).with_name("tensorflow_model_server"))
    flags = [f"--rest_api_port={port}", f"--port={grpc_port}", f"--model_base_path={folder}"]
    start = time.perf_counter()
    process = subprocess.Popen(["taskset", "-c", "0", program, *flags], stderr=subprocess.DEVNULL)
    try:
        while not _answers(port, body):
            if process.poll() is not None or time.perf_counter() - start > 60:
                sys.exit("the server did not answer within 60 s")
            time.sleep(0.005)
        yield process, port, time.perf_counter() - start
    finally:
        process.kill()
        process.wait()


def _answers(port: int, body: bytes) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", PATH, body)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _drive(port: int, body: bytes, seconds: float) -> Outcome:
    command = [
        "taskset",
        "-c",
        "1",
        sys.executable,
        "-m",
        "benchmarks.serving.load",
        str(port),
        str(_CLIENTS),
        str(seconds),
    ]
    done = subprocess.run(command, input=body, check=True, capture_output=True)
    return msgspec.json.decode(done.stdout, type=Outcome)


def _resident(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
