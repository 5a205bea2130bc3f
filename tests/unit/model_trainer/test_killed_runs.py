"""Runs that are killed and go on, as processes of their own."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from keras_operator.api import Augmentation, Checkpoint, EarlyStopping, Resources, RunResult, RunSpec

Line = dict[str, Any]


class Run:
    """One pod's process after the other, in the same store."""

    def __init__(self, spec: RunSpec, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._environment = {
            **os.environ,
            "KERAS_RUN": msgspec.json.encode(spec).decode(),
            "KERAS_SCRATCH": str(folder),
            "KERAS_TERMINATION_LOG": str(folder / "termination-log"),
            "KERAS_PROGRESS_PORT": "0",
        }

    def until(self, ends: Callable[[Line], bool], number: signal.Signals, wait: float = 0.0) -> tuple[int, list[Line]]:
        """Start it, and `wait` seconds after the line that `ends` is about send it a signal; exit code and log."""
        return self.to_the_end(ends, lambda process: process.send_signal(number), wait)

    def to_the_end(
        self, meets: Callable[[Line], bool], act: Callable[[subprocess.Popen[str]], None], wait: float = 0.0
    ) -> tuple[int, list[Line]]:
        """Start it, and `wait` seconds after the line that `meets` is about do something to it; exit code and log."""
        command = [sys.executable, "-m", "model_trainer.guard", "train"]
        lines: list[Line] = []
        with subprocess.Popen(
            command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            for text in process.stdout:
                lines.append(json.loads(text))
                if meets(lines[-1]):
                    # Not a wait for something: the moment of the kill is what is tried out.
                    threading.Event().wait(wait)
                    act(process)
                    break
            rest, _ = process.communicate(timeout=600)
            return process.returncode, [*lines, *(json.loads(text) for text in rest.splitlines() if text[-1:] == "}")]

    @property
    def result(self) -> RunResult:
        return msgspec.json.decode((self._folder / "termination-log").read_bytes(), type=RunResult)


def fill_the_disk(process: subprocess.Popen[str]) -> None:
    """No file may grow beyond 20 kB from now on: the operating system answers the process as a full disk does."""
    (work,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    _, hard = resource.prlimit(int(work), resource.RLIMIT_FSIZE)
    resource.prlimit(int(work), resource.RLIMIT_FSIZE, (20_000, hard))


def never(line: Line) -> bool:
    del line
    return False


def resumed_from(lines: list[Line]) -> int | None:
    return next((line["resumedFrom"] for line in lines if "resumedFrom" in line), None)


def epochs(lines: list[Line]) -> list[int]:
    # In the middle of a slow epoch the number is that of those that are done.
    return [line["epoch"] for line in lines if "epoch" in line and not line["step"]]


def after_epoch(number: int) -> Callable[[Line], bool]:
    return lambda line: line.get("epoch") == number


@pytest.fixture
def run_spec(few_digits: Path, tmp_path: Path, spec: Callable[..., RunSpec]) -> Callable[[str], RunSpec]:
    """A run of 40 short epochs in the store of this name."""
    return lambda name: spec(
        few_digits,
        tmp_path / name,
        epochs=40,
        batch_size=8,
        augmentation=Augmentation(rotation=10, zoom=0.1),
        early_stopping=EarlyStopping(patience=39),
        checkpoint=Checkpoint(every_seconds=10),
        deterministic=True,
    )


# Seven processes, each of which imports TensorFlow and compiles its graph: a minute, and ten where others are at work.
@pytest.mark.timeout(900)
def test_a_run_killed_five_times_ends_as_one_that_never_was(tmp_path: Path, run_spec: Callable[[str], RunSpec]):
    whole = Run(run_spec("whole"), tmp_path / "a")
    assert whole.until(never, signal.SIGKILL)[0] == 0
    broken = Run(run_spec("broken"), tmp_path / "b")
    chance = random.Random(11)
    done = 0
    for _ in range(5):
        code, lines = broken.until(after_epoch(done + 2), signal.SIGKILL, chance.uniform(0, 0.2))
        assert code == -signal.SIGKILL
        start = resumed_from(lines)
        assert (start is None) == (done == 0)
        assert start is None or start <= done + 4, "what came after the kill was not seen, and is not made up"
        done = max(epochs(lines))
    code, lines = broken.until(never, signal.SIGKILL)
    assert code == 0
    assert epochs(lines) == list(range((resumed_from(lines) or 0) + 1, 41))
    runs = [tmp_path / name / ".runs" / "1" for name in ("whole", "broken")]
    histories = [(run / "history.json").read_bytes() for run in runs]
    assert histories[0] == histories[1]
    assert broken.result.metrics == whole.result.metrics
    samples = [np.load(run / "samples.npz") for run in runs]
    assert np.array_equal(samples[0]["probabilities"], samples[1]["probabilities"])
    assert not (runs[1] / "checkpoints").exists() or list((runs[1] / "checkpoints").iterdir()) == []


def test_sigterm_saves_at_once_and_nothing_is_repeated(tmp_path: Path, run_spec: Callable[[str], RunSpec]):
    run = Run(run_spec("store"), tmp_path / "a")
    code, lines = run.until(after_epoch(3), signal.SIGTERM)
    assert code == 75
    assert run.result.error is not None
    assert run.result.error.reason == "Interrupted"
    before = epochs(lines)
    code, lines = run.until(never, signal.SIGKILL)
    assert code == 0
    assert [*before, *epochs(lines)] == list(range(1, 41))
    assert run.result.epochs == 40
    assert {f"epoch{number}" for number in (1, 2, 3, 40)} <= set(run.result.times)


@pytest.mark.timeout(900)
def test_a_version_with_more_room_goes_on_where_the_disk_was_full(tmp_path: Path, run_spec: Callable[[str], RunSpec]):
    spec = run_spec("store")
    cramped = Run(spec, tmp_path / "a")
    code, lines = cramped.to_the_end(after_epoch(10), fill_the_disk)
    assert (code, cramped.result.error and cramped.result.error.reason) == (65, "DiskFull")
    before = epochs(lines)
    assert spec.training is not None
    more = msgspec.structs.replace(spec.training, resources=Resources(limits={"ephemeral-storage": "2Gi"}))
    roomy = Run(msgspec.structs.replace(spec, number=2, owner="uid-2", training=more), tmp_path / "b")
    code, lines = roomy.until(never, signal.SIGKILL)
    assert code == 0
    start = resumed_from(lines)
    assert start is not None, "it began anew"
    assert start <= max(before)
    assert epochs(lines) == list(range(start + 1, 41))
    history = json.loads((tmp_path / "store" / ".runs" / "2" / "history.json").read_bytes())
    assert {len(values) for values in history.values()} == {40}
