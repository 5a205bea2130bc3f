"""A network of the team's own, and weights that somebody trained years ago or a version before."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import image_sets, predictions
from tests.e2e.api_server import MODEL, VERSION, ApiServer
from tests.e2e.models import is_ready, is_stalled, message, model_url, quick_model, serves, store_prefix
from tests.e2e.object_store import ObjectStore

NET = """\
import keras

class Scale(keras.layers.Layer):
    def call(self, images):
        return images * 2.0

def build_model(input_shape, num_classes, units):
    layers = [keras.Input(input_shape), Scale(), keras.layers.Flatten(), keras.layers.Dense(units, activation="relu")]
    return keras.Sequential([*layers, keras.layers.Dense(num_classes, activation="softmax")])
"""
BUILDER = {"configMapKeyRef": {"name": "my-net", "key": "net.py"}, "params": {"units": 32}}


def config_map(namespace: str, **data: str) -> dict[str, Any]:
    metadata = {"name": "my-net", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_a_builder_waits_for_its_config_map_and_is_then_served(api: ApiServer, s3: ObjectStore, namespace: str) -> None:
    api.apply(quick_model(namespace, "own", {"training": {"architecture": None, "builder": BUILDER}}))
    waiting = api.wait_for(MODEL, namespace, "own", is_stalled, "a sentence about the ConfigMap")
    assert f"ConfigMap my-net is not in namespace {namespace}: create it there" in message(waiting)

    api.apply(config_map(namespace, **{"net.py": NET}))
    api.wait_for(MODEL, namespace, "own", is_ready, "a network of its own that serves")
    version = api.get(VERSION, namespace, "own-1")
    assert version is not None
    assert version["status"]["builder"].startswith("sha256:")
    assert s3.read("models", f"{store_prefix(namespace, 'own')}/.runs/1/builder.py").decode() == NET
    digits = image_sets.quick_digits()
    found = predictions.by_files(model_url(api, namespace, "own"), digits)
    assert predictions.accuracy(found, digits) > 0.5


def test_a_builder_that_fails_is_named_with_its_line(api: ApiServer, namespace: str) -> None:
    api.apply(
        config_map(namespace, **{"net.py": "import keras\n\ndef build_model(input_shape, num_classes):\n    oops\n"})
    )
    own = {"configMapKeyRef": BUILDER["configMapKeyRef"]}
    api.apply(quick_model(namespace, "wrong", {"training": {"architecture": None, "builder": own}}))
    model = api.wait_for(MODEL, namespace, "wrong", is_stalled, "a sentence about the source")
    assert "net.py, line 4: NameError: name 'oops' is not defined" in message(model)
    assert len(api.objects("Pod", namespace)) == 1, "it was not tried again"


@pytest.fixture(scope="module")
def of_keras_2() -> bytes:
    """SimpleCNN for ten classes, as Keras 2 saves it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tf_keras

    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            layers.Conv2D(32, (3, 3), activation="relu", input_shape=(10, 10, 1)),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "old.h5"
        model.save(path)
        return path.read_bytes()


def test_a_keras_2_file_is_fine_tuned_and_then_the_version_that_came_of_it(
    api: ApiServer, s3: ObjectStore, namespace: str, of_keras_2: bytes
) -> None:
    key = f"{store_prefix(namespace, 'uploads')}/old.h5"
    s3.put("models", key, of_keras_2)
    training = {
        "data": {"imageSize": [10, 10]},
        "architecture": {"name": "SimpleCNN"},
        "initialWeights": {"uri": f"s3://models/{key}"},
    }
    api.apply(quick_model(namespace, "tuned", {"training": training}))
    api.wait_for(MODEL, namespace, "tuned", serves(1), "three classes from a file of ten")

    training["initialWeights"] = {"uri": None, "version": 9}
    api.apply(quick_model(namespace, "tuned", {"training": training}))
    model = api.wait_for(MODEL, namespace, "tuned", is_stalled, "a sentence about version 9")
    assert "there is no such version before version 2: name a published version that was trained (1)" in message(model)

    training["initialWeights"] = {"uri": None, "version": 1}
    api.apply(quick_model(namespace, "tuned", {"training": training}))
    api.wait_for(MODEL, namespace, "tuned", serves(3), "a version from version 1")
    version = api.get(VERSION, namespace, "tuned-3")
    assert version is not None
    assert version["spec"]["training"]["initialWeights"] == {"version": 1}
