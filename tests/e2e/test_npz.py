"""Arrays of NumPy, and records of TensorFlow, become a model that is asked with images, or with rows."""

from __future__ import annotations

import base64
import io
import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.e2e.api_server import MODEL, VERSION, ApiServer
from tests.e2e.conftest import MakeNamespace
from tests.e2e.models import is_ready, is_stalled, message, model_url, quick_model, store_prefix
from tests.e2e.object_store import ObjectStore

ARRAYS = {"uri": "s3://datasets/digits.npz", "format": "NPZ", "imageSize": None, "colorMode": None}


@pytest.fixture(scope="module")
def digits(s3: ObjectStore) -> tuple[Any, Any]:
    """The bucket has the digits as images and as rows, and one file of objects; these are the held-out ones."""
    data = load_digits()
    images, labels = (data.images * 255 / 16).round().astype(np.uint8), data.target
    kept = {"y_train": labels[:1500], "y_test": labels[1500:]}

    def put(key: str, **arrays: Any) -> None:
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)
        s3.put("datasets", key, file.getvalue())

    put("digits.npz", x_train=images[:1500], x_test=images[1500:], **kept)
    put("digit-rows.npz", x_train=data.data[:1500] / 16, x_test=data.data[1500:] / 16, **kept)
    put("objects.npz", x_train=np.array([images[0], "a digit"], dtype=object), y_train=labels[:2])
    return images[1500:], labels[1500:]


def predictions(url: str, body: Any) -> Any:
    request = urllib.request.Request(f"{url}:predict", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return np.array(json.load(answer)["predictions"])


def png(image: Any) -> dict[str, str]:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return {"b64": base64.b64encode(file.getvalue()).decode()}


def test_images_and_rows_are_learned_and_asked_and_rows_test_a_source(
    api: ApiServer, make_namespace: MakeNamespace, digits: tuple[Any, Any], s3: ObjectStore
) -> None:
    images, labels = digits
    namespace = make_namespace("arrays")
    api.apply(quick_model(namespace, "images", {"training": {"data": ARRAYS}}))
    of_rows = {"data": ARRAYS | {"uri": "s3://datasets/digit-rows.npz"}, "architecture": {"name": "MLP"}}
    api.apply(quick_model(namespace, "rows", {"training": of_rows}))

    api.wait_for(MODEL, namespace, "images", is_ready, "a model of images in an .npz file that serves")
    url = model_url(api, namespace, "images")
    floats = predictions(url, {"instances": (images[:50, ..., None] / 255).tolist()})
    files = predictions(url, {"signature_name": "serving_bytes", "instances": [png(image) for image in images[:50]]})
    assert np.abs(floats - files).max() <= 1e-4
    assert (floats.argmax(axis=1) == labels[:50]).mean() >= 0.6

    api.wait_for(MODEL, namespace, "rows", is_ready, "a model of rows in an .npz file that serves")
    url = model_url(api, namespace, "rows")
    rows = np.round(images.reshape(len(images), -1) / 255 * 16) / 16
    answers = predictions(url, {"instances": rows.tolist()})
    assert (answers.argmax(axis=1) == labels).mean() >= 0.8
    for name, inputs in (("images", "serving_default images float32 [-1,8,8,1]"),
                         ("rows", "serving_default features float32 [-1,64]")):  # fmt: skip
        version = api.get(VERSION, namespace, f"{name}-1")
        assert version is not None
        assert inputs in version["status"]["servable"]["inputs"]
        assert (version["status"]["classes"], version["status"]["images"]["test"]) == (10, len(labels))

    # The model of rows once more, as one that somebody brings: tested on the same rows, as arrays and as a table.
    columns = [f"pixel_{place}" for place in range(64)]
    lines = [",".join([*map(repr, row.tolist()), str(label)]) for row, label in zip(rows, labels, strict=True)]
    s3.put("datasets", "digit-rows-test.csv", "\n".join([",".join([*columns, "digit"]), *lines]).encode())
    tests: dict[str, Any] = {
        "on-arrays": {"uri": "s3://datasets/digit-rows.npz", "format": "NPZ"},
        "on-a-table": {"uri": "s3://datasets/digit-rows-test.csv", "format": "CSV", "table": {"target": "digit"}},
    }
    theirs = f"s3://models/{store_prefix(namespace, 'rows')}/1"
    for name, test in tests.items():
        source = {"training": None, "source": {"uri": theirs, "testData": test}}
        api.apply(quick_model(namespace, name, source, {"evaluation": {"gates": [{"metric": "accuracy", "min": 0.8}]}}))
    trained = api.get(VERSION, namespace, "rows-1")
    assert trained is not None
    for name in tests:
        api.wait_for(MODEL, namespace, name, is_ready, f"a source tested {name.replace('-', ' ')} that serves")
        version = api.get(VERSION, namespace, f"{name}-1")
        assert version is not None
        assert version["status"]["images"] == {"train": 0, "validation": 0, "test": len(labels)}
        assert version["status"]["metrics"]["accuracy"] == trained["status"]["metrics"]["accuracy"]


def records(path: Path, examples: list[dict[str, Any]], packed: str = "") -> bytes:
    """A TFRecord file of features that are bytes, whole numbers, or floats."""
    # Importing TensorFlow takes seconds: other tests need not wait for it.
    import tensorflow as tf

    lists = {
        bytes: lambda value: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])),
        int: lambda value: tf.train.Feature(int64_list=tf.train.Int64List(value=[value])),
        list: lambda value: tf.train.Feature(float_list=tf.train.FloatList(value=value)),
    }
    with tf.io.TFRecordWriter(str(path), packed) as writer:
        for example in examples:
            features = {name: lists[type(value)](value) for name, value in example.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return path.read_bytes()


def test_records_are_learned_and_asked(
    api: ApiServer, make_namespace: MakeNamespace, digits: tuple[Any, Any], s3: ObjectStore, tmp_path: Path
) -> None:
    data = load_digits()
    known = list(zip((data.images * 255 / 16).round().astype(np.uint8)[:1500], data.target[:1500], strict=True))
    files = [
        {"image/encoded": base64.b64decode(png(image)["b64"]), "image/class/label": int(label)}
        for image, label in known
    ]
    for shard in range(2):
        key = f"digit-records/digits-{shard:05}-of-00002"
        s3.put("datasets", key, records(tmp_path / "shard", files[shard::2], "GZIP" if shard else ""))
    rows = [{"pixels": (image.reshape(-1) / 255).tolist(), "digit": int(label)} for image, label in known]
    s3.put("datasets", "digit-rows.tfrecord", records(tmp_path / "rows", rows))
    namespace = make_namespace("records")
    of_images = {"uri": "s3://datasets/digit-records", "format": "TFRecord"}
    api.apply(quick_model(namespace, "images", {"training": {"data": of_images}}))
    of_rows = {"uri": "s3://datasets/digit-rows.tfrecord", "format": "TFRecord", "table": {"target": "digit"}}
    rows_alone = {"data": of_rows | {"imageSize": None, "colorMode": None}, "architecture": {"name": "MLP"}}
    api.apply(quick_model(namespace, "rows", {"training": rows_alone}))

    held_out, labels = digits
    api.wait_for(MODEL, namespace, "images", is_ready, "a model of images in TFRecord files that serves")
    url = model_url(api, namespace, "images")
    answers = predictions(
        url, {"signature_name": "serving_bytes", "instances": [png(image) for image in held_out[:50]]}
    )
    assert (answers.argmax(axis=1) == labels[:50]).mean() >= 0.6

    api.wait_for(MODEL, namespace, "rows", is_ready, "a model of rows in a TFRecord file that serves")
    url = model_url(api, namespace, "rows")
    asked = [{"pixels": (image.reshape(-1) / 255).tolist()} for image in held_out]
    assert (predictions(url, {"instances": asked}).argmax(axis=1) == labels).mean() >= 0.8
    for name, inputs in (("images", "serving_default images float32 [-1,8,8,1]"),
                         ("rows", "serving_default pixels float32 [-1,64]")):  # fmt: skip
        version = api.get(VERSION, namespace, f"{name}-1")
        assert version is not None
        assert inputs in version["status"]["servable"]["inputs"]
        assert version["status"]["classes"] == 10


def test_objects_are_not_unpickled(api: ApiServer, make_namespace: MakeNamespace, digits: tuple[Any, Any]) -> None:
    assert len(digits[1])
    namespace = make_namespace("objects")
    api.apply(quick_model(namespace, "objects", {"training": {"data": ARRAYS | {"uri": "s3://datasets/objects.npz"}}}))
    stalled = api.wait_for(MODEL, namespace, "objects", is_stalled, "a model that says what is wrong")
    assert "x_train in s3://datasets/objects.npz holds Python objects (dtype object), which only pickle" in message(
        stalled
    )
