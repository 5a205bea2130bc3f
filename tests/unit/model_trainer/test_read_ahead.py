import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from keras_operator.api import Data, RunStage, Training

from model_store import NotFound, TooLarge, open_store
from model_trainer import main
from model_trainer.data import read_ahead
from model_trainer.data.read_ahead import ReadAhead, reading_ahead


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for name in ("cat/1.png", "cat/2.jpg", "dog/1.png", "dog/notes.txt"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 10)
    return folder


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_what_was_read_ahead_is_not_asked_of_the_store_again(images: Path, tmp_path: Path):
    ahead = ReadAhead(images.as_uri(), None, tmp_path / "ahead")
    wait_until(lambda: len([one for one in (tmp_path / "ahead").iterdir() if not one.suffix]) == 3)
    store = ahead.before(open_store(images.as_uri()))
    (images / "cat/1.png").unlink()
    assert store.read("cat/1.png", limit=1000) == b"cat/1.png" * 10
    assert store.read("dog/notes.txt", limit=1000) == b"dog/notes.txt" * 10
    with pytest.raises(NotFound):
        store.read("cat/9.png", limit=1000)
    with pytest.raises(TooLarge):
        store.read("cat/2.jpg", limit=10)
    assert {entry.key for entry in store.list()} == {"cat/2.jpg", "dog/1.png", "dog/notes.txt"}


def test_the_first_reader_ends_the_process_however_far_it_was(images: Path, tmp_path: Path):
    ahead = ReadAhead(images.as_uri(), None, tmp_path / "ahead")
    store = ahead.before(open_store(images.as_uri()))
    assert store.read("dog/1.png", limit=1000) == b"dog/1.png" * 10
    assert ahead.ended


def test_only_so_many_bytes_are_read_ahead(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(read_ahead, "MOST_BYTES", 185)
    folder = tmp_path / "ahead"
    folder.mkdir()
    read_ahead.read_ahead(images.as_uri(), None, folder)
    found = {path.name for path in folder.iterdir()}
    assert found == {hashlib.sha256(key.encode()).hexdigest() for key in ("cat/1.png", "cat/2.jpg")}


def test_another_store_is_left_as_it_is(images: Path, tmp_path: Path):
    ahead = ReadAhead(images.as_uri(), None, tmp_path / "ahead")
    other = open_store(tmp_path.as_uri())
    assert ahead.before(other) is other
    ahead.stop()


def test_a_store_that_cannot_be_read_ahead_is_read_in_its_time(images: Path, tmp_path: Path):
    with reading_ahead("s3://nowhere", "http://127.0.0.1:1", tmp_path / "ahead") as ahead:
        assert ahead is not None
    assert ahead.ended


def test_what_was_read_is_forgotten_once_it_is_decoded(images: Path, tmp_path: Path):
    ahead = ReadAhead(images.as_uri(), None, tmp_path / "ahead")
    store = ahead.before(open_store(images.as_uri()))
    ahead.forget()
    assert not (tmp_path / "ahead").exists()
    assert store.read("dog/1.png", limit=1000) == b"dog/1.png" * 10


@pytest.mark.parametrize(
    ("stage", "uri", "wanted"),
    [
        (RunStage.TRAIN, "s3://data/photos", "s3://data/photos"),
        (RunStage.TRAIN, "s3://data/photos.zip", None),
        (RunStage.TRAIN, "file:///data/photos", None),
        (RunStage.EXPORT, "s3://data/photos", None),
    ],
)
def test_only_images_in_a_store_are_read_ahead_and_only_to_train(
    stage: RunStage, uri: str, wanted: str | None, spec: Any
):
    run = msgspec.structs.replace(spec(None, Path("/store")), training=Training(data=Data(uri=uri)))
    assert main.readable_ahead(stage, run) == wanted
