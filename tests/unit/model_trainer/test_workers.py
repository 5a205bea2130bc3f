"""Two workers, as processes of their own, train what one alone would; one is killed, and all go on together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from keras_operator.api import Augmentation, Checkpoint, Monitor, Optimizer, ReduceOnPlateau, RunResult, RunSpec

from tests.unit.model_trainer.conftest import Ended, free_port

EPOCHS = 20

pytestmark = pytest.mark.timeout(900)


class Worker:
    """One pod's process of a world whose first worker listens at `port` of this machine."""

    def __init__(self, spec: RunSpec, folder: Path, index: int, port: int) -> None:
        folder.mkdir(parents=True)
        self._termination_log = folder / "termination-log"
        environment = {
            **os.environ,
            "KERAS_RUN": msgspec.json.encode(spec).decode(),
            "KERAS_SCRATCH": str(folder),
            "KERAS_TERMINATION_LOG": str(self._termination_log),
            "KERAS_PROGRESS_PORT": "0",
            "JOB_COMPLETION_INDEX": str(index),
            "KERAS_CHIEF": f"127.0.0.1:{port}",
        }
        command = [sys.executable, "-m", "model_trainer.guard", "train"]
        # Each has a session of its own: what it started can be killed with it.
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def until_epoch(self, epoch: int) -> None:
        """Read its log until it says that so many epochs are done."""
        assert any(line.get("epoch") == epoch for line in self._lines()), f"it ended before epoch {epoch}"

    def end(self) -> tuple[int, RunResult]:
        """How it ended."""
        for _ in self._lines():
            pass
        code = self.process.wait(timeout=600)
        return code, msgspec.json.decode(self._termination_log.read_bytes(), type=RunResult)

    def _lines(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout is not None
        return (json.loads(line) for line in self.process.stdout if line.startswith("{"))


@contextmanager
def world(spec: RunSpec, folder: Path) -> Iterator[list[Worker]]:
    """All workers of a run; those that are left at the end are killed."""
    port = free_port()
    assert spec.training is not None
    with ExitStack() as stack:
        workers = []
        for index in range(spec.training.workers):
            worker = Worker(spec, folder / str(index), index, port)
            stack.enter_context(worker.process)
            stack.callback(worker.process.kill)
            workers.append(worker)
        yield workers


@pytest.fixture
def run_spec(few_digits: Path, tmp_path: Path, spec: Callable[..., RunSpec]) -> Callable[[str, int], RunSpec]:
    """A run in the store of this name, by so many workers; the last batch of each epoch is one image."""

    def of(name: str, workers: int) -> RunSpec:
        return spec(
            few_digits,
            tmp_path / name,
            workers=workers,
            epochs=EPOCHS,
            batch_size=5,
            augmentation=Augmentation(rotation=10, zoom=0.1),
            optimizer=Optimizer(learning_rate=0.003, clipnorm=1.0),
            reduce_on_plateau=ReduceOnPlateau(monitor=Monitor.VAL_LOSS, factor=0.5, patience=1),
            checkpoint=Checkpoint(every_seconds=10),
            deterministic=True,
        )

    return of


def history_of(store: Path) -> dict[str, list[float]]:
    history: dict[str, list[float]] = json.loads((store / ".runs" / "1" / "history.json").read_bytes())
    return history


def test_workers_train_what_one_alone_would_also_when_one_is_killed(
    tmp_path: Path, run_spec: Callable[[str, int], RunSpec], stage: Callable[[str, RunSpec], Ended]
) -> None:
    alone = stage("train", run_spec("alone", 1))
    assert alone.code == 0

    with world(run_spec("together", 2), tmp_path / "first") as (chief, other):
        chief.until_epoch(2)
        other.process.send_signal(signal.SIGKILL)
        code, result = chief.end()
        assert code == 76, "its end is the consequence of another's"
        assert result.error is not None
        assert (result.error.reason, result.error.message) == (
            "Interrupted",
            "worker 1 of 2 has ended, so all of them go on together from the last checkpoint.",
        )
    with world(run_spec("together", 2), tmp_path / "second") as (chief, other):
        chief_code, result = chief.end()
        other_code, others_result = other.end()
    assert (chief_code, other_code) == (0, 0)
    assert (others_result.ok, others_result.metrics) == (True, {})
    assert result.epochs == EPOCHS

    one, two = history_of(tmp_path / "alone"), history_of(tmp_path / "together")
    assert one.keys() == two.keys()
    assert len(set(one["learning_rate"])) > 1, "the plateau that the others have to be told of"
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, atol=1e-3, err_msg=name)
    for name, value in alone.result.metrics.items():
        assert result.metrics[name] == pytest.approx(value, abs=1e-3), name
