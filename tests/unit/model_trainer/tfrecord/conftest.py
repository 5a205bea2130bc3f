"""Records as people write them: by TensorFlow's own writer."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from keras_operator.api import (
    Architecture,
    ArchitectureName,
    ColorMode,
    Data,
    DataFormat,
    Records,
    RunSpec,
    Store,
    Table,
    Training,
)
from sklearn.datasets import load_digits

from model_trainer.tfrecord.images import read_record_images
from model_trainer.tfrecord.rows import read_record_rows
from tests.unit.model_trainer.conftest import Trained, encode, run_stage

Features = Mapping[str, Any]


def example(features: Features) -> bytes:
    """A tf.train.Example of numbers, texts, bytes, or lists of one kind; None is a feature that holds nothing."""

    def feature(value: Any) -> Any:
        values = list(value) if isinstance(value, list | tuple | np.ndarray) else [value]
        if value is None:
            return tf.train.Feature()
        if isinstance(values[0], str | bytes):
            texts = [each.encode() if isinstance(each, str) else each for each in values]
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))
        if isinstance(values[0], int | np.integer):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    named = {name: feature(value) for name, value in features.items()}
    data: bytes = tf.train.Example(features=tf.train.Features(feature=named)).SerializeToString()
    return data


def write(path: Path, rows: Iterable[Features | bytes], packed: str = "") -> Path:
    """Write the rows to a file that is packed by nothing, "GZIP" or "ZLIB"."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(packed)) as writer:
        for row in rows:
            writer.write(row if isinstance(row, bytes) else example(row))
    return path


def image(shade: int, side: int = 10) -> bytes:
    """A small PNG of its own content."""
    return encode(np.full((side, side, 3), shade, np.uint8))


def images(count: int = 40) -> list[dict[str, Any]]:
    """Records of two classes."""
    return [{"image/encoded": image(shade), "image/class/label": shade % 2} for shade in range(count)]


def numbers(count: int = 40) -> list[dict[str, Any]]:
    """Records of rows: an array, a number, a word and a class."""
    return [{"x": [i / 7.0, i / 3.0, -1.0], "age": i, "town": f"town {i % 3}", "y": i % 2} for i in range(count)]


def data_of(uri: Path, **fields: Any) -> Data:
    sized = {} if fields.get("table") else {"image_size": (10, 10), "color_mode": ColorMode.GRAYSCALE}
    return Data(uri=uri.as_uri(), format=DataFormat.TFRECORD, **{**sized, **fields})


def record_spec(uri: Path, store: Path, /, *, data: dict[str, Any], number: int = 1, **training: Any) -> RunSpec:
    network = training.pop("network", {"name": ArchitectureName.SIMPLE_CNN})
    return RunSpec(
        model_name="digits",
        model="people/digits",
        number=number,
        owner="uid-1",
        store=Store(uri=store.as_uri()),
        training=Training(data=data_of(uri, **data), architecture=Architecture(**network), **{"epochs": 1, **training}),
    )


Y = Table(target="y")
MLP = {"name": ArchitectureName.MLP, "hidden_units": (32,)}


@pytest.fixture
def read_images(context: Any) -> Callable[..., Any]:
    """Read images in this process: (folder or file, more fields of data)."""
    return lambda uri, **data: read_record_images(data_of(uri, **data), None, context)


@pytest.fixture
def read_rows(context: Any) -> Callable[..., Any]:
    """Read rows in this process: (folder or file, more fields of data)."""
    return lambda uri, **data: read_record_rows(data_of(uri, **{"table": Y, **data}), None, context)


def digits() -> tuple[Any, Any]:
    """uint8 [1797, 8, 8] and int64 [1797]."""
    data = load_digits()
    return (data.images * 255 / 16).round().astype(np.uint8), data.target.astype(np.int64)


@pytest.fixture(scope="session")
def trained_images(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """SimpleCNN on 300 digits in shards, with a test part of its own; costs some seconds, once."""
    folder = tmp_path_factory.mktemp("record-images")
    pixels, labels = digits()
    rows = [
        {"image/encoded": encode(each), "image/class/label": int(label), "image/height": 8}
        for each, label in zip(pixels[:400], labels[:400], strict=True)
    ]
    for shard in range(3):
        name = f"digits-{shard:05}-of-00003"
        write(folder / "train" / name, rows[100 * shard : 100 * shard + 100], "GZIP" if shard == 1 else "")
    write(folder / "test" / "digits.tfrecord", rows[300:])
    data = {
        "test_uri": (folder / "test").as_uri(),
        "records": Records(classes=tuple(f"digit {n}" for n in range(10))),
    }
    run = record_spec(folder / "train", folder / "store", data=data, epochs=2)
    return Trained(folder / "store", run, run_stage("train", run, folder))


@pytest.fixture(scope="session")
def trained_rows(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """An MLP on digits as arrays of 64 numbers, beside a number and a word; costs some seconds, once."""
    folder = tmp_path_factory.mktemp("record-rows")
    pixels, labels = digits()
    rows = [
        {"pixels": each.reshape(-1) / 255.0, "ink": int(each.sum()), "hand": f"hand {i % 3}", "y": int(label), "id": i}
        for i, (each, label) in enumerate(zip(pixels[:600], labels[:600], strict=True))
    ]
    write(folder / "digits.tfrecord.gz", rows, "GZIP")
    run = record_spec(
        folder / "digits.tfrecord.gz",
        folder / "store",
        data={"table": Table(target="y", ignored=("id",))},
        network=MLP,
        epochs=6,
    )
    return Trained(folder / "store", run, run_stage("train", run, folder))
