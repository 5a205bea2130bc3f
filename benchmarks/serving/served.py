"""A network in a folder, and a server that is up and has answered as TensorFlow does."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.serving import load
from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.processes import SERVER_CORE, Running, free_port, on_core, running
from model_server.runtime.open_inference_proto import message
from model_server.runtime.protobufs import predict_pb2
from model_server.runtime.tensor_proto import array_from_proto

JSON, JPEG = "application/json", "image/jpeg"
_SECONDS_TO_START = 120.0
_POLL_SECONDS = 0.005
_GOOD = 200
# Answers agree with TensorFlow's up to rounding: they come from other instructions for other batch sizes.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Network:
    """What `benchmarks.serving.networks` has written into a folder."""

    folder: Path

    @property
    def servable(self) -> Path:
        """The folder of its versions."""
        return self.folder / "servable"

    @property
    def input(self) -> Path:
        """One input."""
        picture = self.folder / "input.jpg"
        return picture if picture.exists() else self.folder / "input.npy"

    def check(self, numbers: Any, who: str) -> None:
        """Raise BenchmarkError where an answer is not TensorFlow's."""
        expected = np.array(json.loads((self.folder / "expected.json").read_text()))
        found = np.array(numbers, np.float64).ravel()
        if found.shape != expected.shape or not np.allclose(found, expected, atol=_TOLERANCE):
            raise BenchmarkError(f"{who} answers {found.tolist()}, TensorFlow {expected.tolist()}")


def made(name: str, folder: Path) -> Network:
    """A network, written on the first call for the folder. Raises BenchmarkError."""
    network = Network(folder / name)
    if not network.folder.exists():
        command = [sys.executable, "-m", "benchmarks.serving.networks", name, str(network.folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise BenchmarkError(f"the network {name!r} could not be made: {done.stderr.strip()[-800:]}")
    return network


def bare_loop(network: Network, seconds: float, batch: int = 1) -> float:
    """Runs a second of TF_SessionRun on the server's core, with so many inputs at once. Raises BenchmarkError."""
    program = [sys.executable, "-m", "benchmarks.serving.bare_loop", str(network.servable / "1"), str(network.input)]
    command = on_core(SERVER_CORE, [*program, str(batch), str(seconds)])
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds * 2 + 120, check=False)
    if done.returncode:
        raise BenchmarkError(f"the bare loop ended with status {done.returncode}: {done.stderr.strip()[-800:]}")
    return float(done.stdout)


@dataclass(frozen=True)
class Ports:
    """Where a server listens: REST, gRPC, and one for its own use."""

    rest: int = field(default_factory=free_port)
    grpc: int = field(default_factory=free_port)
    other: int = field(default_factory=free_port)


@dataclass(frozen=True)
class Grpc:
    """A unary method, and in which files of a network's folder its request and its service are."""

    method: str
    request: str
    protoset: str
    numbers: Callable[[bytes], Any]


def _predicted(answer: bytes) -> Any:
    (proto,) = predict_pb2.PredictResponse.FromString(answer).outputs.values()
    return array_from_proto("output", proto)[0]


def _inferred(answer: bytes) -> Any:
    response = message("ModelInferResponse").FromString(answer)
    if response.raw_output_contents:
        return np.frombuffer(response.raw_output_contents[0], np.float32)
    return response.outputs[0].contents.fp32_contents


PREDICT = Grpc("tensorflow.serving.PredictionService/Predict", "predict.bin", "predict.protoset", _predicted)
INFER = Grpc("inference.GRPCInferenceService/ModelInfer", "infer.bin", "infer.protoset", _inferred)


@dataclass(frozen=True)
class Server:
    """How a server is started, and how it is asked.

    Args:
        name: as it stands in the table.
        start: its command and variables for a network and ports; it may write files into the folder.
        path: of a prediction over REST.
        body: which file of the network's folder is sent there.
        grpc: its method over gRPC; None where it has none.
    """

    name: str
    start: Callable[[Network, Ports, Path], tuple[Sequence[str], Mapping[str, str]]]
    path: str
    body: str = "instances.json"
    content_type: str = JSON
    grpc: Grpc | None = None


@dataclass(frozen=True)
class Up:
    """A server that has answered. `started` is seconds from the start of its process until then."""

    server: Server
    network: Network
    ports: Ports
    running: Running
    started: float

    def rest(self, seconds: float, clients: int = 8) -> load.Outcome:
        """Clients of its REST API; a request that is not answered well is in the outcome. Raises BenchmarkError."""
        url = f"http://127.0.0.1:{self.ports.rest}{self.server.path}"
        body = self.network.folder / self.server.body
        return load.rest(url, body, self.server.content_type, clients=clients, seconds=seconds)

    def grpc(self, seconds: float, clients: int = 8) -> load.Outcome:
        """The same over gRPC, after one answer was compared with TensorFlow's."""
        asked = self.server.grpc
        if asked is None:
            raise BenchmarkError(f"{self.server.name} has no gRPC")
        address, request = f"127.0.0.1:{self.ports.grpc}", self.network.folder / asked.request
        with grpc.insecure_channel(address) as channel:
            try:
                answer = channel.unary_unary(f"/{asked.method}", None, None)(
                    request.read_bytes(), timeout=60, wait_for_ready=True
                )
            except grpc.RpcError as error:
                raise BenchmarkError(f"{self.server.name} does not answer over gRPC: {error}") from error
        self.network.check(asked.numbers(answer), self.server.name)
        protoset = self.network.folder / asked.protoset
        method = asked.method.replace("/", ".")
        return load.grpc(address, method, protoset, request, clients=clients, seconds=seconds)


@contextlib.contextmanager
def up(server: Server, network: Network) -> Iterator[Up]:
    """A server on its core that has answered as TensorFlow does. Raises BenchmarkError."""
    ports = Ports()
    command, environment = server.start(network, ports, network.folder)
    body = (network.folder / server.body).read_bytes()
    with running(command, {"TF_CPP_MIN_LOG_LEVEL": "2"} | dict(environment), network.folder) as process:
        while (asked := _ask(ports.rest, server, body))[0] != _GOOD:
            process.check()
            if time.perf_counter() - process.began > _SECONDS_TO_START:
                last = f"HTTP {asked[0]} {asked[1][:300]!r}; {process.last_words()}"
                raise BenchmarkError(f"{server.name} gave no good answer in {_SECONDS_TO_START:.0f} s: {last}")
            time.sleep(_POLL_SECONDS)
        started = time.perf_counter() - process.began
        answer = asked[1]
        network.check(numbers(json.loads(answer)), server.name)
        yield Up(server, network, ports, process, started)


def _ask(port: int, server: Server, body: bytes) -> tuple[int, bytes]:
    """The status and body of an answer; 0 where there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", server.path, body, {"Content-Type": server.content_type})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def numbers(answer: Any) -> Any:
    """The numbers of a REST answer in any of the servers' forms; of named classes, in the order of their names."""
    if isinstance(answer, dict):
        answer = answer["predictions"] if "predictions" in answer else answer["outputs"][0]["data"]
    if answer and isinstance(answer[0], dict):
        classes = sorted(answer[0]["classes"], key=lambda one: str(one["class"]))
        return [one["probability"] for one in classes]
    return answer
