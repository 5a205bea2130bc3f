"""The served model's answers over HTTP: the run exported by its second Job, and this project's server on it."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.training.errors import BenchmarkError
from benchmarks.training.runs import Run, export

_NAME = "benchmark"
_READY_WITHIN = 60.0
_BATCH = 100


def accuracy_by_http(run: Run, images: Path) -> float:
    """Part of the files `<class>/<name>` of `images` that the served version answers right, file by file's bytes."""
    exported = export(run)
    classes = sorted(path.name for path in images.iterdir())
    files = [(path, classes.index(path.parent.name)) for path in sorted(images.rglob("*.png"))]
    right = 0
    with _server(exported) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for start in range(0, len(files), _BATCH):
            some = files[start : start + _BATCH]
            answers = _predict(connection, [path for path, _ in some])
            right += sum(row.index(max(row)) == label for row, (_, label) in zip(answers, some, strict=True))
    return right / len(files)


def _predict(connection: http.client.HTTPConnection, paths: Sequence[Path]) -> list[list[float]]:
    rows = [{"b64": base64.b64encode(path.read_bytes()).decode()} for path in paths]
    connection.request(
        "POST", f"/v1/models/{_NAME}:predict", json.dumps({"signature_name": "serving_bytes", "instances": rows})
    )
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status != http.client.OK:
        raise BenchmarkError(f"the served model answered {answer.status}: {text[:500]}")
    predictions: list[list[float]] = json.loads(text)["predictions"]
    return predictions


@contextmanager
def _server(store: Path) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as rest, socket.create_server(("127.0.0.1", 0)) as grpc:
        ports = rest.getsockname()[1], grpc.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "model_server.runtime.main",
            f"--rest_api_port={ports[0]}",
            f"--port={ports[1]}",
            f"--model_name={_NAME}",
            f"--model_base_path={store}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + _READY_WITHIN
        while not _available(ports[0]):
            if process.poll() is not None or time.monotonic() > until:
                raise BenchmarkError("the server does not answer for the exported version")
            time.sleep(0.05)
        yield ports[0]
    finally:
        process.kill()
        process.wait()


def _available(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", f"/v1/models/{_NAME}")
        answer = connection.getresponse()
        return answer.status == http.client.OK and b"AVAILABLE" in answer.read()
    except OSError:
        return False
    finally:
        connection.close()
