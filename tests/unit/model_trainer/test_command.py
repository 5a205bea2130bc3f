"""The console script as the kubelet runs it: a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from keras_operator.api import Progress, ProgressStage, RunResult, RunSpec


def start(stage: str, spec: RunSpec, folder: Path, port: int) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "KERAS_RUN": msgspec.json.encode(spec).decode(),
        "KERAS_SCRATCH": str(folder),
        "KERAS_TERMINATION_LOG": str(folder / "termination-log"),
        "KERAS_PROGRESS_PORT": str(port),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "model_trainer.main", stage],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
        return number


def test_sigterm_during_training_is_answered_with_a_result(
    few_digits: Path, tmp_path: Path, port: int, spec: Callable[..., RunSpec]
):
    process = start("train", spec(few_digits, tmp_path / "store", epochs=100_000), tmp_path, port)
    assert process.stdout is not None
    lines: list[dict[str, Any]] = []
    for line in process.stdout:
        lines.append(json.loads(line))
        if lines[-1].get("epoch") == 2:
            break
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/progress", timeout=10) as answer:
        progress = msgspec.json.decode(answer.read(), type=Progress)
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    result = msgspec.json.decode((tmp_path / "termination-log").read_bytes(), type=RunResult)
    assert result.error is not None
    assert result.error.reason == "Interrupted"
    assert {"started", "dataReady", "epoch1", "epoch2"} <= set(result.times)
    assert (progress.stage, progress.epochs) == (ProgressStage.TRAINING, 100_000)
    assert progress.epoch is not None
    assert progress.epoch >= 2
    assert progress.seconds_left is not None
    assert all(set(json.loads(line)) >= {"time", "level", "message"} for line in rest.splitlines())


def test_an_unknown_stage_is_refused():
    command = [sys.executable, "-m", "model_trainer.main", "serve"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "invalid choice: 'serve'" in done.stderr
