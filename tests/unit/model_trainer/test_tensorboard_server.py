"""Logs of runs in a store, as TensorBoard shows them while they grow."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from model_store import Store, open_store
from model_trainer import tensorboard_server
from model_trainer.tensorboard_log import TensorBoardLog
from model_trainer.tensorboard_server import Mirror

LOG = "tensorboard/train/events.out.tfevents.1.pod"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "store").mkdir()
    return open_store((tmp_path / "store").as_uri())


@pytest.fixture
def logdir(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def shown(logdir: Path) -> dict[str, bytes]:
    return {path.relative_to(logdir).as_posix(): path.read_bytes() for path in logdir.rglob("*") if path.is_file()}


def test_logs_of_runs_are_brought_and_nothing_else(store, logdir):
    store.write(f".runs/1/{LOG}", b"one")
    store.write(f".runs/12/{LOG}", b"twelve")
    store.write(".runs/12/checkpoints/00000001.json", b"{}")
    store.write("1/saved_model.pb", b"graph")
    Mirror(store, logdir).bring()
    assert shown(logdir) == {
        "1/train/events.out.tfevents.1.pod": b"one",
        "12/train/events.out.tfevents.1.pod": b"twelve",
    }


def test_a_log_that_grows_grows_in_the_file_that_is_open(store, logdir):
    store.write(f".runs/1/{LOG}", b"epoch 1")
    Mirror(store, logdir).bring()
    with (logdir / "1/train/events.out.tfevents.1.pod").open("rb") as opened:
        assert opened.read() == b"epoch 1"
        store.delete(f".runs/1/{LOG}")
        store.write(f".runs/1/{LOG}", b"epoch 1, epoch 2")
        Mirror(store, logdir).bring()
        assert opened.read() == b", epoch 2"


@pytest.mark.parametrize("anew", [b"another", b"another and longer"])
def test_a_log_that_is_another_takes_its_place(store, logdir, anew):
    store.write(f".runs/1/{LOG}", b"epoch 1, epoch 2")
    Mirror(store, logdir).bring()
    store.delete(f".runs/1/{LOG}")
    store.write(f".runs/1/{LOG}", anew)
    Mirror(store, logdir).bring()
    assert list(shown(logdir).values()) == [anew]


def test_what_is_gone_from_the_store_is_gone(store, logdir):
    for number in (1, 2):
        store.write(f".runs/{number}/{LOG}", b"log")
        store.write(f".runs/{number}/{LOG}.later", b"log")
    Mirror(store, logdir).bring()
    store.delete(f".runs/1/{LOG}")
    store.delete(f".runs/1/{LOG}.later")
    store.delete(f".runs/2/{LOG}.later")
    Mirror(store, logdir).bring()
    assert list(shown(logdir)) == ["2/train/events.out.tfevents.1.pod"]


def test_of_many_runs_the_newest_are_brought(store, logdir, monkeypatch):
    monkeypatch.setattr(tensorboard_server, "NEWEST_RUNS", 2)
    for number in (8, 9, 10):
        store.write(f".runs/{number}/{LOG}", b"log")
    Mirror(store, logdir).bring()
    assert {name.split("/")[0] for name in shown(logdir)} == {"9", "10"}


def test_a_log_that_is_far_too_large_is_left(store, logdir, monkeypatch):
    monkeypatch.setattr(tensorboard_server, "LARGEST_LOG", 3)
    store.write(f".runs/1/{LOG}", b"four")
    Mirror(store, logdir).bring()
    assert shown(logdir) == {}


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def answer(port: int, path: str) -> Any:
    """What TensorBoard answers, once it does."""
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
                return json.load(response)
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, f"nothing answers on port {port}"
            time.sleep(0.1)


def test_tensorboard_shows_a_run_and_ends_when_it_is_told_to(store, tmp_path, monkeypatch):
    log = TensorBoardLog(store, 3, tmp_path / "run")
    log.write(1, {"accuracy": 0.5, "val_accuracy": 0.25})
    log.send()
    port = free_port()
    words = [sys.executable, "-m", "model_trainer.tensorboard_server", f"--store-uri={store.uri}", f"--port={port}"]
    environment = os.environ | {"AWS_SECRET_ACCESS_KEY": "nobody's business"}
    process = subprocess.Popen([*words, f"--logdir={tmp_path / 'shown'}"], env=environment)
    try:
        tags = "/data/plugin/scalars/tags"
        deadline = time.monotonic() + 120
        while len(found := answer(port, tags)) < 2:
            assert time.monotonic() < deadline, found
            time.sleep(0.2)
        assert {run: sorted(of_run) for run, of_run in found.items()} == {
            "3/train": ["epoch_accuracy"],
            "3/validation": ["epoch_accuracy"],
        }
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert b"nobody's business" not in Path(f"/proc/{child}/environ").read_bytes()
        assert answer(port, "/data/environment")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
