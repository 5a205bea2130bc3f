"""The second training takes its data from a volume: counted at a real MinIO, whatever format the data has."""

from __future__ import annotations

import dataclasses
import io
import logging
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from keras_operator.api import (
    Architecture,
    ArchitectureName,
    ColorMode,
    Data,
    DataFormat,
    Labels,
    OwnContainer,
    Store,
    Table,
    Training,
)

from benchmarks.training.minio import Minio, minio
from model_store import Store as AnyStore
from model_store import open_store
from model_trainer.context import Context
from model_trainer.data.cached_reads import DataCache, cache_of
from model_trainer.data.read_ahead import ReadAhead
from model_trainer.data.stand_in import StandIn
from model_trainer.datasets import read_dataset
from tests.unit.model_trainer.conftest import write_digits
from tests.unit.model_trainer.counted_gets import CountedGets, counted_gets

BUCKET = "datasets"
IRISES = "length,kind\n" + "".join(f"{number / 10},{'ab'[number % 2]}\n" for number in range(60))


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    """Images in folders, in an archive and beside a table; a table; arrays."""
    folder = tmp_path_factory.mktemp("data")
    images = write_digits(folder / "digits", 12)
    with zipfile.ZipFile(folder / "digits.zip", "w") as archive:
        for path in images.rglob("*.png"):
            archive.write(path, path.relative_to(folder))
    shutil.copytree(images, folder / "labelled")
    names = [path.relative_to(images).as_posix() for path in images.rglob("*.png")]
    (folder / "labelled" / "labels.csv").write_text("file,class\n" + "".join(f"{name},{name[0]}\n" for name in names))
    (folder / "irises").mkdir()
    for name in ("1.csv", "2.csv"):
        (folder / "irises" / name).write_text(IRISES)
    arrays = io.BytesIO()
    np.savez(arrays, x_train=np.arange(60 * 100, dtype=np.uint8).reshape(60, 10, 10), y_train=np.arange(60) % 3)
    (folder / "digits.npz").write_bytes(arrays.getvalue())
    with minio() as running:
        running.upload(folder, BUCKET)
        yield running


@pytest.fixture
def way(storage: Minio, monkeypatch: pytest.MonkeyPatch) -> Iterator[CountedGets]:
    for name, value in storage.environment.items():
        monkeypatch.setenv(name, value)
    with counted_gets(storage.endpoint) as way:
        yield way


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


@pytest.fixture
def read(way: CountedGets, context: Context, volume: Path) -> Callable[..., Any]:
    """Read what a training learns from, past the volume, as another pod: (training, writes=True)."""

    def once(training: Training, *, writes: bool = True) -> Any:
        shutil.rmtree(context.scratch)
        context.scratch.mkdir()
        cache = DataCache(volume, 1, writes=writes)
        return read_dataset(training, way.endpoint, dataclasses.replace(context, cache=cache)).dataset

    return once


def images(uri: str = f"s3://{BUCKET}/digits", **more: Any) -> Training:
    data = Data(uri=uri, image_size=(10, 10), color_mode=ColorMode.GRAYSCALE, **more)
    return Training(data=data, architecture=Architecture(name=ArchitectureName.SIMPLE_CNN))


def rows(uri: str) -> Training:
    data = Data(uri=uri, format=DataFormat.CSV, table=Table(target="kind"))
    return Training(data=data, architecture=Architecture(name=ArchitectureName.MLP))


TRAININGS = {
    "images": (images(), 120),
    "an archive": (images(f"s3://{BUCKET}/digits.zip"), 1),
    "images and their table": (
        images(f"s3://{BUCKET}/labelled", labels=Labels(file="labels.csv", file_column="file", class_column="class")),
        121,
    ),
    "tables in a folder": (rows(f"s3://{BUCKET}/irises"), 2),
    "one table": (rows(f"s3://{BUCKET}/irises/1.csv"), 1),
    "arrays": (images(f"s3://{BUCKET}/digits.npz", format=DataFormat.NPZ), 1),
}


@pytest.mark.parametrize(("training", "objects"), TRAININGS.values(), ids=TRAININGS.keys())
def test_a_second_training_reads_no_object(
    training: Training, objects: int, read: Any, way: CountedGets, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "model_trainer.data.cached_reads")
    first = read(training)
    assert len(set(way.taken())) == objects
    second = read(training)
    assert way.taken() == []
    assert second.examples == first.examples
    said = [one for one in caplog.messages if "bytes of the data came from the cache" in one]
    assert [one.startswith("0 bytes") for one in said] == [True, False]
    assert said[1].endswith(" 0 from the store")


def test_what_was_replaced_in_the_store_is_read_again(read: Any, way: CountedGets, storage: Minio):
    training = images()
    first = read(training)
    way.taken()
    keys = [one.key for one in first.examples[:2]]
    store = open_store(f"s3://{BUCKET}/digits", endpoint=storage.endpoint)
    datas = [store.read(key, limit=10_000) for key in keys]
    # Of the same size, too: the two change places.
    for key, data in zip(keys, reversed(datas), strict=True):
        store.write(key, data)
    second = read(training)
    assert way.taken() == [f"digits/{key}" for key in keys]
    assert [one.sha256 for one in second.examples[:2]] == [one.sha256 for one in first.examples[1::-1]]
    assert read(training).examples == second.examples
    assert way.taken() == []
    for key, data in zip(keys, datas, strict=True):
        store.write(key, data)


def test_damage_is_said_and_costs_only_time(
    read: Any, way: CountedGets, volume: Path, caplog: pytest.LogCaptureFixture
):
    first = read(images())
    (pack,) = [path for path in volume.glob("packs/*/*") if path.is_file()]
    data = bytearray(pack.read_bytes())
    data[len(data) // 3] ^= 1
    pack.write_bytes(data)
    way.taken()
    assert read(images()).examples == first.examples
    assert f"{pack} in the cache is removed: " in caplog.text
    assert 0 < len(way.taken()) < 120
    # What was read before the damage was met is not on the volume any more, either.
    read(images())
    assert 0 < len(way.taken()) < 120
    assert read(images()).examples == first.examples
    assert way.taken() == []


def test_a_volume_that_takes_nothing_costs_only_time(
    read: Any, way: CountedGets, volume: Path, caplog: pytest.LogCaptureFixture
):
    (volume / "packs").write_bytes(b"a file where a folder should be")
    assert len(read(images()).examples) == 120
    assert len(set(way.taken())) == 120
    assert len([said for said in caplog.messages if "all goes on without" in said]) == 1


def test_of_several_workers_the_first_one_writes_and_all_read(read: Any, way: CountedGets, volume: Path):
    read(images(), writes=False)
    assert list(volume.iterdir()) == []
    read(images())
    way.taken()
    read(images(), writes=False)
    assert way.taken() == []


@pytest.mark.parametrize(("index", "writes"), [(None, True), ("0", True), ("1", False)])
def test_the_job_says_where_the_cache_is_and_who_writes(index: str | None, writes: bool, volume: Path):
    environment = {"KERAS_CACHE": str(volume), "KERAS_CACHE_GIGABYTES": "1"}
    cache = cache_of(environment | ({} if index is None else {"JOB_COMPLETION_INDEX": index}))
    assert cache is not None
    assert cache._writes is writes
    assert cache_of({"KERAS_CACHE_GIGABYTES": "1"}) is None


class Replaced(StandIn):
    """A store of which an object is replaced right after it was listed."""

    def __init__(self, store: AnyStore, key: str) -> None:
        super().__init__(store)
        self._key = key

    def list(self, prefix: str = "") -> Iterator[Any]:
        found = [*super().list(prefix)]
        self._store.write(self._key, b"new")
        return iter(found)


def test_what_was_replaced_since_it_was_listed_is_not_kept_as_what_it_was(
    way: CountedGets, volume: Path, tmp_path: Path
):
    there = open_store(f"s3://{BUCKET}/changing", endpoint=way.endpoint)
    there.write("1.png", b"old")
    cache = DataCache(volume, 1)
    store = cache.before(Replaced(there, "1.png"), way.endpoint)
    assert [entry.size for entry in store.list()] == [3]
    assert store.read("1.png", limit=10) == b"new"
    store.download("1.png", tmp_path / "1.png")
    assert (tmp_path / "1.png").read_bytes() == b"new"
    cache.settle()
    assert list(volume.glob("packs/*/*")) == []


def test_what_is_read_ahead_is_kept_and_not_read_ahead_again(
    context: Context, way: CountedGets, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KERAS_CACHE", str(volume))
    for name, objects in (("first", 120), ("second", 0)):
        ahead = ReadAhead(f"s3://{BUCKET}/digits", way.endpoint, tmp_path / name)
        while not ahead.ended:
            time.sleep(0.01)
        assert (len(set(way.taken())), len([*(tmp_path / name).iterdir()])) == (objects, objects)
        shutil.rmtree(context.scratch)
        context.scratch.mkdir()
        read_dataset(images(), way.endpoint, dataclasses.replace(context, ahead=ahead, cache=cache_of()))
        assert way.taken() == []


def test_what_was_read_ahead_before_it_was_replaced_is_not_kept(
    way: CountedGets, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KERAS_CACHE", str(volume))
    there = open_store(f"s3://{BUCKET}/ahead", endpoint=way.endpoint)
    there.write("1.png", b"old")
    ahead = ReadAhead(there.uri, way.endpoint, tmp_path / "ahead")
    while not ahead.ended:
        time.sleep(0.01)
    there.write("1.png", b"new")
    store = DataCache(volume).before(ahead.before(there), way.endpoint)
    assert [entry.key for entry in store.list()] == ["1.png"]
    assert store.read("1.png", limit=10) == b"new"


def test_a_whole_training_asks_the_store_for_no_image_again(
    spec: Any, stage: Any, way: CountedGets, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KERAS_CACHE", str(volume))
    hashes = []
    for number in (1, 2):
        run = spec(tmp_path, tmp_path / "store", number=number)
        data = images().data
        run = msgspec.structs.replace(run, training=msgspec.structs.replace(run.training, data=data))
        run = msgspec.structs.replace(run, store=Store(uri="s3://models/trained", endpoint=way.endpoint))
        ended = stage("train", run)
        assert ended.code == 0, ended.message
        hashes.append(ended.result.data_hash)
        read = {key for key in way.taken() if key.startswith("digits/")}
        assert len(read) == (120 if number == 1 else 0)
    assert hashes[0] == hashes[1]


def test_what_is_handed_to_an_own_image_comes_from_the_volume_too(
    spec: Any, stage: Any, way: CountedGets, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KERAS_CACHE", str(volume))
    for number, objects in ((1, 120), (2, 0)):
        for name in ("data", "output", "prepared"):
            folder = tmp_path / f"pod-{number}" / name
            folder.mkdir(parents=True)
            monkeypatch.setenv(f"KERAS_{name.upper()}", str(folder))
        run = spec(tmp_path, tmp_path / "store", number=number)
        training = msgspec.structs.replace(images(), container=OwnContainer(image="vision/net:1"))
        store = Store(uri="s3://models/handed", endpoint=way.endpoint)
        ended = stage("train", msgspec.structs.replace(run, training=training, store=store), "--prepare")
        assert ended.code == 0, ended.message
        assert len({key for key in way.taken() if key.startswith("digits/")}) == objects
