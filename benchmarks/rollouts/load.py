"""The clients: vegeta over REST and ghz over gRPC, which send at a steady rate whether or not they are answered."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tensorflow import make_tensor_proto
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2

from benchmarks.protosets import protoset
from benchmarks.rollouts.answers import Answer, of_ghz, of_vegeta
from benchmarks.rollouts.errors import RolloutsError
from devcluster.build import binary
from devcluster.places import here

PINS = ("vegeta", "ghz")
SECONDS_TO_ANSWER = 10
_MARKED_ONE_IN = 5
_GRPC_CONNECTIONS = 8
_END_SECONDS = 60.0
_SIDE = 28


@dataclass(frozen=True)
class Rates:
    """Requests a second: REST over kept connections, REST over a new connection each, and gRPC."""

    kept: int
    fresh: int
    grpc: int

    @property
    def together(self) -> int:
        """Of all."""
        return self.kept + self.fresh + self.grpc


def images(count: int = _MARKED_ONE_IN) -> list[list[list[list[float]]]]:
    """Images of shape (28, 28, 1), of which the first is marked."""
    return [
        [[[0.9 if at == row == column == 0 else ((row * 7 + column + at) % 10) / 25] for column in range(_SIDE)]
         for row in range(_SIDE)]
        for at in range(count)
    ]  # fmt: skip


class Load:
    """Clients of one model for so many seconds; they begin with the context, and it ends when they have.

    Args:
        rest: `host:port` of the model's Service.
        grpc: the same for gRPC.
        model: its served name.
        rates: how often they ask.
        seconds: for how long.
        folder: where they leave what they saw.
    """

    def __init__(self, rest: str, grpc: str, model: str, rates: Rates, seconds: int, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        targets = folder / "targets.json"
        targets.write_text("".join(_target(rest, model, image) for image in images()))
        predict = folder / "predict.bin"
        predict.write_bytes(_grpc_request(model))
        services = folder / "prediction_service.protoset"
        services.write_bytes(protoset(prediction_service_pb2.DESCRIPTOR))
        self._commands = {
            name: _vegeta(targets, rate, seconds, folder / name, keeps=keeps)
            for name, rate, keeps in (("kept", rates.kept, True), ("fresh", rates.fresh, False))
        }
        self._commands["grpc"] = _ghz(grpc, predict, services, rates.grpc, rates.grpc * seconds, folder / "grpc")
        self._calls = rates.grpc * seconds
        self._exits = ExitStack()
        self._ends_within = seconds + SECONDS_TO_ANSWER + _END_SECONDS

    def __enter__(self) -> Load:
        for name, command in self._commands.items():
            said = self._exits.enter_context((self._folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
            self._exits.callback(_end, process)
            self._processes[name] = process
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    def answers(self) -> dict[str, list[Answer]]:
        """Wait until the clients have ended; what each of them saw. Raises RolloutsError if one broke down."""
        for name, process in self._processes.items():
            if process.wait(self._ends_within) != 0:
                said = (self._folder / f"{name}.log").read_text(errors="replace").strip()[-500:]
                raise RolloutsError(f"the client '{name}' ended with status {process.returncode}: {said}")
        return {
            "kept": of_vegeta(_encoded(self._folder / "kept")),
            "fresh": of_vegeta(_encoded(self._folder / "fresh")),
            "grpc": of_ghz((self._folder / "grpc").read_bytes(), self._calls),
        }


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        process.wait()


def _target(address: str, model: str, image: Sequence[object]) -> str:
    body = base64.b64encode(json.dumps({"instances": [image]}).encode()).decode()
    target = {
        "method": "POST",
        "url": f"http://{address}/v1/models/{model}:predict",
        "body": body,
        "header": {"Content-Type": ["application/json"]},
    }
    return json.dumps(target) + "\n"


def _vegeta(targets: Path, rate: int, seconds: int, output: Path, *, keeps: bool) -> list[str]:
    return [
        *(str(binary(here(), "vegeta")), "attack", "-format=json", f"-targets={targets}", f"-output={output}"),
        *(f"-rate={rate}/1s", f"-duration={seconds}s", f"-timeout={SECONDS_TO_ANSWER}s", f"-keepalive={keeps}".lower()),
        *("-redirects=-1", "-max-workers=1000"),
    ]


def _encoded(output: Path) -> list[bytes]:
    command = [str(binary(here(), "vegeta")), "encode", "-to=json", str(output)]
    return subprocess.run(command, check=True, capture_output=True).stdout.splitlines()


def _ghz(address: str, request: Path, protoset: Path, rate: int, calls: int, output: Path) -> list[str]:
    return [
        *(str(binary(here(), "ghz")), "--insecure", f"--protoset={protoset}", f"--binary-file={request}"),
        *("--call=tensorflow.serving.PredictionService.Predict", f"--rps={rate}", f"--total={calls}"),
        *("--async", f"--concurrency={_GRPC_CONNECTIONS}", f"--connections={_GRPC_CONNECTIONS}"),
        *(f"--timeout={SECONDS_TO_ANSWER}s", "--format=json", f"--output={output}", address),
    ]


def _grpc_request(model: str) -> bytes:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.inputs["images"].CopyFrom(make_tensor_proto(images()[1:2], dtype="float32"))
    return bytes(request.SerializeToString())
