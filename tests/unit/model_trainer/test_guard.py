"""The first process of a container, and the child that works."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from keras_operator.api import RunResult

from model_trainer import guard

# The child says who it is and waits to be killed; `main` is what the guard imports.
WORK = """
import os, signal, sys, time
from model_trainer import guard, main
def work():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    print(os.getpid(), flush=True)
    {does}
    signal.pause()
main.main = work
{before}
sys.exit(guard.main())
"""


def start(folder: Path, does: str = "pass", before: str = "pass") -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORK.format(does=does, before=before), "train"],
        stdout=subprocess.PIPE,
        env={**os.environ, "KERAS_TERMINATION_LOG": str(folder / "log")},
        text=True,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_work_that_is_killed_can_be_run_again(tmp_path: Path):
    process, child = start(tmp_path)
    os.kill(child, signal.SIGKILL)
    assert process.wait(30) == 75
    result = msgspec.json.decode((tmp_path / "log").read_bytes(), type=RunResult)
    assert result.error is not None
    assert (result.ok, result.error.reason) == (False, "Interrupted")
    assert result.error.message == "The train stage was killed by somebody (SIGKILL); it can be run again."


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("memory.events", "low 0\noom {0}\noom_kill {0}\n"),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill {0}\n"),
    ],
    ids=["cgroup v2", "cgroup v1"],
)
def test_work_that_is_killed_for_memory_is_not(tmp_path: Path, name: str, text: str):
    events = tmp_path / name
    events.write_text(text.format(1))
    files = [str(tmp_path / "not there"), str(events)]
    counted = f"guard._killed_for_memory.__defaults__ = (tuple(map(__import__('pathlib').Path, {files})),)"
    process, child = start(tmp_path, before=counted)
    events.write_text(text.format(2))
    os.kill(child, signal.SIGKILL)
    assert process.wait(30) == 137
    assert not (tmp_path / "log").exists()


def test_sigterm_reaches_the_work(tmp_path: Path):
    process, _ = start(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 75


@pytest.mark.parametrize(
    ("does", "code"),
    [
        ("return 65", 65),
        ("return 0", 0),
        ("raise ValueError", 1),
        ("sys.exit(2)", 2),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 139),
    ],
)
def test_it_ends_as_the_work_does(tmp_path: Path, does: str, code: int):
    assert start(tmp_path, does)[0].wait(30) == code


def test_the_work_does_not_outlive_it(tmp_path: Path):
    process, _ = start(tmp_path)
    process.kill()
    process.wait(30)
    assert process.stdout is not None
    # The pipe ends when the last process that holds it has ended.
    assert process.stdout.read() == ""


def test_a_container_that_was_not_killed_for_memory_says_nothing(tmp_path: Path):
    assert guard._killed_for_memory((tmp_path / "none",)) == 0
