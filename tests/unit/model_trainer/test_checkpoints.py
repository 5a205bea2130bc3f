"""Checkpoints: whole or not there, whoever is killed when."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from model_store import Unreachable
from model_store.local import LocalStore
from model_trainer.background import CheckpointWriter
from model_trainer.checkpoints import Checkpoints, Restored, State
from model_trainer.failure import TakenOver
from model_trainer.patience import Patience
from model_trainer.stopping import Course, Watch
from tests.unit.model_trainer import checkpoint_writer


def made(folder: Path, epoch: int, best: int = 0) -> tuple[State, Path, Path | None]:
    """A checkpoint whose files say which it is."""
    return checkpoint_writer.made(folder, epoch, best)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def checkpoints(
    store: LocalStore, tmp_path: Path, run: str = "run", number: int = 1, beginning: str = ""
) -> Checkpoints:
    return Checkpoints(store, number, run, tmp_path, beginning)


def content(restored: Restored | None) -> tuple[int, bytes, bytes | None]:
    assert restored is not None
    best = restored.best.read_bytes()[:9] if restored.best else None
    return restored.state.epoch, restored.variables.read_bytes()[:9], best


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name.split("-")[0] for path in (tmp_path / "store/.runs/1/checkpoints").iterdir())


def test_there_is_none_at_first(store: LocalStore, tmp_path: Path):
    assert checkpoints(store, tmp_path).restore() is None


def test_the_newest_is_restored_and_two_are_kept(store: LocalStore, tmp_path: Path):
    writing = checkpoints(store, tmp_path)
    for epoch in range(1, 6):
        writing.save(*made(tmp_path, epoch, best=min(epoch, 3)))
    assert content(checkpoints(store, tmp_path).restore()) == (5, b"epoch   5", b"best    3")
    assert names(tmp_path) == ["00000004.json", "00000005.json", "best", "variables", "variables"]


@pytest.mark.parametrize("broken", ["shorter", "other", "gone", "no manifest", "half a manifest"])
def test_one_that_is_not_whole_is_not_used(store: LocalStore, tmp_path: Path, broken: str):
    writing = checkpoints(store, tmp_path)
    for epoch in (1, 2):
        writing.save(*made(tmp_path, epoch))
    folder = tmp_path / "store/.runs/1/checkpoints"
    (variables,) = folder.glob("variables-00000002-*")
    manifest = folder / "00000002.json"
    match broken:
        case "shorter":
            variables.write_bytes(variables.read_bytes()[:-1])
        case "other":
            variables.write_bytes(b"x" * variables.stat().st_size)
        case "gone":
            variables.unlink()
        case "no manifest":
            manifest.unlink()
        case "half a manifest":
            manifest.write_bytes(manifest.read_bytes()[:100])
    again = checkpoints(store, tmp_path)
    assert content(again.restore()) == (1, b"epoch   1", None)
    again.save(*made(tmp_path, 2))
    assert content(checkpoints(store, tmp_path).restore())[:2] == (2, b"epoch   2")


def test_that_of_other_inputs_is_not_used(store: LocalStore, tmp_path: Path):
    checkpoints(store, tmp_path).save(*made(tmp_path, 4))
    other = checkpoints(store, tmp_path, run="other")
    assert other.restore() is None
    other.save(*made(tmp_path, 1))
    assert content(checkpoints(store, tmp_path, run="other").restore())[0] == 1


def test_a_version_that_begins_as_an_earlier_one_goes_on_from_its_last_whole_checkpoint(
    store: LocalStore, tmp_path: Path
):
    first = checkpoints(store, tmp_path, beginning="one")
    for epoch in (1, 2, 3):
        first.save(*made(tmp_path, epoch, best=1))
    checkpoints(store, tmp_path, number=2, beginning="other").save(*made(tmp_path, 9))
    (newest,) = (tmp_path / "store/.runs/1/checkpoints").glob("variables-00000003-*")
    newest.write_bytes(b"x")
    theirs = {path: path.read_bytes() for path in (tmp_path / "store/.runs/1").rglob("*.*")}

    third = checkpoints(store, tmp_path, run="third", number=3, beginning="one")
    restored = third.restore()
    assert content(restored) == (2, b"epoch   2", b"best    1")
    assert restored is not None
    assert restored.version == 1
    third.save(*made(tmp_path, 4, best=1))
    assert {path: path.read_bytes() for path in (tmp_path / "store/.runs/1").rglob("*.*")} == theirs
    own = checkpoints(store, tmp_path, run="third", number=3, beginning="one").restore()
    assert content(own) == (4, b"epoch   4", b"best    1")
    assert own is not None
    assert own.version == 3


def test_a_version_takes_nothing_of_one_that_began_otherwise_or_does_not_say_how(store: LocalStore, tmp_path: Path):
    checkpoints(store, tmp_path).save(*made(tmp_path, 1))
    checkpoints(store, tmp_path, number=2, beginning="two").save(*made(tmp_path, 1))
    assert checkpoints(store, tmp_path, number=3).restore() is None
    assert checkpoints(store, tmp_path, number=3, beginning="three").restore() is None
    assert checkpoints(store, tmp_path, number=1, run="run", beginning="two").restore() is not None
    assert checkpoints(store, tmp_path, number=1, run="other", beginning="two").restore() is None, "no later version's"


def test_a_pod_that_was_given_up_does_not_go_on(store: LocalStore, tmp_path: Path):
    first, second = checkpoints(store, tmp_path), checkpoints(store, tmp_path)
    first.save(*made(tmp_path, 1))
    second.restore()
    second.save(*made(tmp_path, 2))
    with pytest.raises(TakenOver, match="wrote checkpoint 2"):
        first.save(*made(tmp_path, 2, best=1))
    assert content(checkpoints(store, tmp_path).restore()) == (2, b"epoch   2", None)


def test_nothing_is_left_of_them_in_the_end(store: LocalStore, tmp_path: Path):
    writing = checkpoints(store, tmp_path)
    writing.save(*made(tmp_path, 1, best=1))
    writing.remove_all()
    assert list(store.list()) == []


def test_a_writer_that_is_killed_at_any_moment_leaves_a_whole_one(store: LocalStore, tmp_path: Path):
    """Real processes, killed by SIGKILL while they write one after the other."""
    chance = random.Random(7)
    last = 0
    for _ in range(12):
        command = [sys.executable, "-m", "tests.unit.model_trainer.checkpoint_writer", str(tmp_path), str(last)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            told = [int(process.stdout.readline()) for _ in range(chance.randint(1, 3))]
            # Not a wait for something: the moment of the kill is what is tried out.
            threading.Event().wait(chance.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
            told += [int(line) for line in process.stdout.read().split()]
        scratch = tmp_path / f"scratch-{time.monotonic_ns()}"
        scratch.mkdir()
        epoch, variables, best = content(Checkpoints(store, 1, "run", scratch).restore())
        assert epoch >= max(told), "what was said to be kept is kept"
        assert (variables, best) == (f"epoch{epoch:4}".encode(), f"best {epoch // 2 * 2:4}".encode())
        last = epoch
    assert last >= 12


@pytest.mark.parametrize("at", range(14))
def test_a_writer_that_is_killed_at_any_call_to_the_store_leaves_a_whole_one(tmp_path: Path, at: int):
    """SIGKILL before each call to the store, and in the middle of each file that is written."""
    command = [sys.executable, "-m", "tests.unit.model_trainer.checkpoint_writer", str(tmp_path), "0", str(at)]
    process = subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=60, env=os.environ)
    assert process.returncode == -signal.SIGKILL
    kept = [int(line) for line in process.stdout.split()[1:]]
    scratch = tmp_path / "again"
    scratch.mkdir()
    restored = Checkpoints(LocalStore(tmp_path / "store"), 1, "run", scratch).restore()
    if restored is None:
        assert kept == []
    else:
        assert content(restored)[0] in {max(kept, default=0), max(kept, default=0) + 1}
        assert content(restored)[1] == f"epoch{restored.state.epoch:4}".encode()


def test_a_store_that_is_away_costs_checkpoints_and_not_the_training(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    away, asked = threading.Event(), threading.Event()
    away.set()
    upload = LocalStore.upload

    def sometimes(self: LocalStore, path: Path, key: str, *, sha256: str | None = None) -> None:
        asked.set()
        if away.is_set():
            raise Unreachable("nobody answers")
        upload(self, path, key, sha256=sha256)

    monkeypatch.setattr(LocalStore, "upload", sometimes)
    writer = CheckpointWriter(checkpoints(store, tmp_path), Patience(60, longest_pause=0.01))
    state, variables, best = made(tmp_path, 1, best=1)
    writer.offer(state, variables, best)
    assert asked.wait(10)
    for epoch in (2, 3, 4):
        writer.offer(*made(tmp_path, epoch, best=1))
    away.clear()
    assert writer.close(10)
    assert content(checkpoints(store, tmp_path).restore()) == (4, b"epoch   4", b"best    1")
    assert {path.name for path in tmp_path.glob("*.made")} <= {"best-1.made"}, "nothing is left on the scratch disk"


def test_a_writer_whose_time_is_over_gives_up(store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def away(self: LocalStore, path: Path, key: str, *, sha256: str | None = None) -> None:
        raise Unreachable("nobody answers")

    monkeypatch.setattr(LocalStore, "upload", away)
    writer = CheckpointWriter(checkpoints(store, tmp_path), Patience(3600))
    writer.offer(*made(tmp_path, 1))
    assert not writer.close(0.1)


def test_the_writer_of_a_given_up_pod_says_so(store: LocalStore, tmp_path: Path):
    writer = CheckpointWriter(checkpoints(store, tmp_path), Patience(0))
    checkpoints(store, tmp_path).save(*made(tmp_path, 1))
    writer.offer(*made(tmp_path, 1))

    def go_on() -> None:
        while True:
            writer.offer(*made(tmp_path, 2))

    with pytest.raises(TakenOver):
        go_on()


def test_a_watch_travels_with_its_checkpoint(store: LocalStore, tmp_path: Path):
    course = Course(Watch(0.25, 3, 1), Watch(0.5, 2, 2), 1)
    state = State(epoch=4, step=7, history={"loss": [0.1]}, course=course, seconds=1.5, ended="enough", use_best=True)
    _, variables, _ = made(tmp_path, 4)
    checkpoints(store, tmp_path).save(state, variables, None)
    restored = checkpoints(store, tmp_path).restore()
    assert restored is not None
    assert restored.state == state
