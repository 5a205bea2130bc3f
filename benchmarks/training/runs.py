"""A run as its Job runs it: the trainer's own command in a process, from a RunSpec to its result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from keras_operator.api import RunResult, RunSpec, RunStage, Store, Training

from benchmarks.training.child import ROOT
from benchmarks.training.errors import BenchmarkError
from benchmarks.training.memory import MIB, watched


@dataclass(frozen=True)
class Run:
    """A finished run: its spec and folder, when it began, what it reported and logged, and its peak in MiB."""

    spec: RunSpec
    folder: Path
    began: datetime
    result: RunResult
    log: tuple[dict[str, Any], ...]
    peak: float

    def at(self, event: str) -> float:
        """Seconds from the start of the process to `event`. Raises BenchmarkError where it did not happen."""
        if event not in self.result.times:
            raise BenchmarkError(f"the run has no time of {event}: {sorted(self.result.times)}")
        return (self.result.times[event] - self.began).total_seconds()

    @property
    def cache(self) -> float:
        """MiB of decoded images that it said it keeps in memory; 0 where it keeps them in a file."""
        said = [line for line in self.log if "bytes" in line and "memory, where they fit" in line["message"]]
        return said[0]["bytes"] / MIB if said else 0.0

    @property
    def accuracies(self) -> list[tuple[float, float]]:
        """Of each epoch, the seconds from the start of the process to its end, and the validation part's accuracy."""
        ended = [line for line in self.log if "metrics" in line and not line["step"]]
        return [(self.at(f"epoch{line['epoch']}"), line["metrics"]["val_accuracy"]) for line in ended]

    def epoch(self, number: int) -> float:
        """Seconds of one epoch, 2 and up, its validation included."""
        return self.at(f"epoch{number}") - self.at(f"epoch{number - 1}")


def train(
    training: Mapping[str, Any],
    folder: Path,
    store: Store | None = None,
    module: str = "model_trainer.main",
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Train to the end. Raises BenchmarkError where it fails.

    Args:
        training: as a model's `spec.training` says it.
        folder: the scratch volume.
        store: left out, a folder.
        module: the program.
        environment: what the store asks for.
    """
    return _run(RunStage.TRAIN, _spec(training, folder, store), folder, module, environment or {})


def export(trained: Run) -> Path:
    """Export a run whose store is a folder; the folder, which then holds the published version."""
    run = _run(RunStage.EXPORT, trained.spec, trained.folder, "model_trainer.main", {})
    return Path(run.spec.store.uri.removeprefix("file://"))


@contextmanager
def training_process(
    training: Mapping[str, Any], folder: Path, store: Store, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """A run on its way, which is ended with the context; what it says is thrown away."""
    words, around = _command(RunStage.TRAIN, _spec(training, folder, store), folder, "model_trainer.main")
    process = subprocess.Popen(
        words, cwd=ROOT, env=around | dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _spec(training: Mapping[str, Any], folder: Path, store: Store | None) -> RunSpec:
    return RunSpec(
        model_name="benchmark",
        model="benchmarks/training",
        number=1,
        owner="benchmark",
        store=store or Store(uri=(folder / f"store-{time.monotonic_ns()}").as_uri()),
        training=msgspec.convert(training, Training),
    )


def _command(stage: RunStage, spec: RunSpec, folder: Path, module: str) -> tuple[list[str], dict[str, str]]:
    """The words and the environment that a Job gives its container."""
    folder.mkdir(parents=True, exist_ok=True)
    around = {
        "KERAS_RUN": msgspec.json.encode(spec).decode(),
        "KERAS_SCRATCH": str(folder),
        "KERAS_TERMINATION_LOG": str(folder / "termination-log"),
        "KERAS_PROGRESS_PORT": "0",
    }
    return [sys.executable, "-m", "benchmarks.training.in_image", module, stage.value], os.environ | around


def _run(stage: RunStage, spec: RunSpec, folder: Path, module: str, environment: Mapping[str, str]) -> Run:
    words, around = _command(stage, spec, folder, module)
    began = datetime.now(UTC)
    with (
        subprocess.Popen(
            words,
            cwd=ROOT,
            env=around | dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
        watched(process.pid) as watch,
    ):
        output, _ = process.communicate()
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if process.returncode != 0:
        raise BenchmarkError(f"the {stage} stage ended with {process.returncode}:\n{output[-3000:]}")
    result = msgspec.json.decode((folder / "termination-log").read_bytes(), type=RunResult)
    return Run(spec, folder, began, result, tuple(json.loads(line) for line in lines), watch.peak)
