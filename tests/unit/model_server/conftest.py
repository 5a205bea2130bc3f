"""Real SavedModels, and real server processes on loopback ports."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_DEADLINE_SECONDS = 60.0
_SCRIPTS = Path(sys.executable).parent


def wait_until(holds: Callable[[], Any], what: str, seconds: float = _DEADLINE_SECONDS) -> Any:
    """The first true answer of `holds`; fails with `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = holds()
        if answer:
            return answer
        time.sleep(0.02)
    pytest.fail(f"not within {seconds:g} s: {what}")


def free_port() -> int:
    """One that nobody listens at; below those that Linux gives to clients, which might come first."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        text: str = self.json["error"]
        return text


@dataclasses.dataclass
class Running:
    """A process with an HTTP port."""

    process: subprocess.Popen[bytes]
    port: int
    grpc_port: int
    log_file: Path

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, *, timeout: float = 30
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = body if isinstance(body, bytes | str | None) else json.dumps(body)
            connection.request(method, path, data, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers=headers)

    def predict(self, model: str, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("POST", f"/v1/models/{model}:predict", body, headers)

    def states(self, model: str) -> dict[int, str]:
        answer = self.get(f"/v1/models/{model}")
        if answer.status != 200:
            return {}
        return {int(entry["version"]): entry["state"] for entry in answer.json["model_version_status"]}

    def wait_available(self, model: str, number: int) -> None:
        wait_until(lambda: self.states(model).get(number) == "AVAILABLE", f"{model} {number} AVAILABLE\n{self.log}")

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def answers(self, path: str) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get(path).status > 0
        return False

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """Folders `digits/1`, `digits/2` (with warm-up), `kinds/1`, `examples/1`, and beside them the oracle's answers."""
    folder: Path = tmp_path_factory.mktemp("models")
    script = Path(__file__).with_name("build_models.py")
    done = subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def digits(models) -> dict[int, Any]:
    """TensorFlow's own answers: for each version `image`, `files` (base64 of PNG) and `scores`."""
    return {number: np.load(models / "digits" / f"expected-{number}.npz") for number in (1, 2)}


@pytest.fixture(scope="session")
def examples(models) -> Any:
    """TensorFlow's own answers for the model `examples`: features `x` and `k`, and their `scores` and `value`."""
    return np.load(models / "examples" / "expected-1.npz")


@pytest.fixture(scope="session")
def write_config() -> Callable[..., None]:
    """Replaces a config file by one rename: `write_config(path, {name: (base_path, text of policy and labels)})`."""

    def write(path: Path, models: Mapping[str, tuple[Path, str]]) -> None:
        entries = "\n".join(
            f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {text} }}'
            for name, (base, text) in models.items()
        )
        new = path.with_suffix(".new")
        new.write_text(f"model_config_list {{\n{entries}\n}}\n")
        new.replace(path)

    return write


def _start(
    command: list[str], folder: Path, port: int, grpc_port: int, env: Mapping[str, str] | None = None
) -> Running:
    log_file = folder / f"{Path(command[0]).name}-{port}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(env or {})})
    return Running(process, port, grpc_port, log_file)


def _stop(running: Running) -> None:
    if running.process.poll() is None:
        running.process.kill()
        running.process.wait()


@pytest.fixture(scope="session")
def launch_server(tmp_path_factory) -> Iterator[Callable[..., Running]]:
    """Starts `tensorflow_model_server` with flags of its own: `launch_server(*flags)`; killed at the end."""
    started: list[Running] = []

    def launch(*flags: str, wait: bool = True) -> Running:
        port, grpc_port = free_port(), free_port()
        command = [str(_SCRIPTS / "tensorflow_model_server"), f"--port={grpc_port}", f"--rest_api_port={port}", *flags]
        running = _start(command, tmp_path_factory.mktemp("server"), port, grpc_port)
        started.append(running)
        if wait:
            wait_until(
                lambda: running.answers("/v1/models/none") or running.process.poll() is not None, "the server answers"
            )
            assert running.process.poll() is None, running.log
        return running

    yield launch
    for running in started:
        _stop(running)


@pytest.fixture
def launch_agent(tmp_path) -> Iterator[Callable[..., Running]]:
    """Starts `keras-agent`: `launch_agent(store_uri, version or rollout folder, runtime_port, …)`."""
    started: list[Running] = []

    def launch(
        store_uri: str,
        version: int | Path,
        runtime_port: int,
        env: Mapping[str, str] | None = None,
        endpoint: str | None = None,
        flags: Sequence[str] = (),
        models: Path = tmp_path / "models",
    ) -> Running:
        port = free_port()
        command = [
            str(_SCRIPTS / "keras-agent"),
            f"--store-uri={store_uri}",
            "--model-name=digits",
            f"--version={version}" if isinstance(version, int) else f"--rollout-dir={version}",
            f"--models-dir={models}",
            f"--config-file={models / 'models.config'}",
            f"--runtime-url=http://127.0.0.1:{runtime_port}",
            f"--port={port}",
            *([f"--endpoint={endpoint}"] if endpoint else []),
            *flags,
        ]
        models.mkdir(exist_ok=True)
        running = _start(command, tmp_path, port, 0, env)
        started.append(running)
        wait_until(lambda: running.answers("/livez"), "the agent answers")
        return running

    yield launch
    for running in started:
        _stop(running)


@pytest.fixture(scope="session")
def server(models, launch_server, tmp_path_factory, write_config) -> Running:
    """A server with `digits` 1 and 2 (`canary` is 2), `kinds` and `examples`, shared by tests that change nothing."""
    folder: Path = tmp_path_factory.mktemp("config")
    config, monitoring = folder / "models.config", folder / "monitoring.config"
    served = {
        "digits": (models / "digits", "model_version_policy { all {} }"),
        "kinds": (models / "kinds", "model_version_policy { specific { versions: 1 } }"),
        "examples": (models / "examples", ""),
        "types": (models / "types", ""),
    }
    write_config(config, served)
    monitoring.write_text('prometheus_config { enable: true, path: "/monitoring/prometheus/metrics" }')
    running: Running = launch_server(
        f"--model_config_file={config}",
        "--model_config_file_poll_wait_seconds=1",
        f"--monitoring_config_file={monitoring}",
        "--rest_api_timeout_in_ms=5000",
        "--rest_api_enable_cors_support",
        "--enable_grpc_healthcheck_service=true",
    )
    for name, number in (("digits", 1), ("digits", 2), ("kinds", 1), ("examples", 1), ("types", 1)):
        running.wait_available(name, number)
    label = 'version_labels { key: "canary" value: 2 }'
    write_config(config, {**served, "digits": (models / "digits", f"model_version_policy {{ all {{}} }} {label}")})
    wait_until(lambda: running.get("/v1/models/digits/labels/canary").status == 200, "the label names version 2")
    return running


@pytest.fixture
def until() -> Callable[..., Any]:
    """`until(condition, what, seconds)`: waits for a condition."""
    return wait_until


@pytest.fixture
def copied(models, tmp_path) -> Callable[[str, int], Path]:
    """A copy of a servable that a test may damage: `copied(model, number)` is its folder `…/<number>`."""

    def copy(model: str, number: int) -> Path:
        target: Path = tmp_path / "copies" / model / str(number)
        shutil.copytree(models / model / str(number), target)
        return target

    return copy
