"""Writes a network that is served, what clients send to it, and what TensorFlow answers. A program of its own.

FOLDER/servable/1/      the SavedModel
FOLDER/model.keras      the same network as Keras' own file, where it has one
FOLDER/input.npy, .jpg  one input: an array with a batch of 1, or a picture
FOLDER/predict.bin      a PredictRequest for TensorFlow Serving's gRPC API, predict.protoset its service
FOLDER/instances.json   the same for its REST API
FOLDER/infer.bin        a ModelInferRequest of the Open Inference Protocol, infer.protoset its service
FOLDER/infer.json       the same over REST
FOLDER/expected.json    the numbers that TensorFlow answers, flat
"""

from __future__ import annotations

import io
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2

from benchmarks.protosets import protoset
from model_server.runtime.open_inference_proto import FILE, SERVICE, message
from model_trainer.export import BYTES_SIGNATURE, FLOAT_SIGNATURE, export_saved_model

_SIDE = 224
_WIDTH = 4096
MODEL = "default"


def _small() -> Any:
    """Two blocks of convolution for 28 x 28 images."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1), name="images"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )


class _Thin(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """Takes a large image and does next to nothing with it: every 32nd pixel into a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self._weights = tf.Variable(tf.random.Generator.from_seed(1).normal((147, 10), stddev=0.1))

    @tf.function(input_signature=[tf.TensorSpec((None, _SIDE, _SIDE, 3), tf.float32, name="images")])  # type: ignore[untyped-decorator]
    def serve(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities of shape (batch, 10)."""
        pixels = tf.reshape(images[:, ::32, ::32, :], (-1, 147))
        return {"probabilities": tf.nn.softmax(pixels @ self._weights)}


def _wide() -> Any:
    """Large matrices, which one image has to read as a batch does: a batch of 64 is far cheaper for each image."""
    layers = keras.layers
    hidden = [layers.Dense(_WIDTH, activation="relu") for _ in range(3)]
    return keras.Sequential([keras.Input((64,), name="images"), *hidden, layers.Dense(10, activation="softmax")])


def _export_small(folder: Path) -> None:
    network = _small()
    network.export(folder / "servable" / "1", verbose=False)
    network.save(folder / "model.keras")


def _export_thin(folder: Path) -> None:
    network = _Thin()
    tf.saved_model.save(network, str(folder / "servable" / "1"), {FLOAT_SIGNATURE: network.serve})


def _export_wide(folder: Path) -> None:
    _wide().export(folder / "servable" / "1", verbose=False)


def _export_picture(folder: Path) -> None:
    """MobileNetV2 as a version of this project: `serving_bytes` takes JPEG files."""
    network = keras.applications.MobileNetV2((_SIDE, _SIDE, 3), weights=None, classes=10)
    export_saved_model(network, tuple(f"class {number}" for number in range(10)), folder / "servable" / "1")


_SHAPES = {"small": (28, 28, 1), "thin": (_SIDE, _SIDE, 3), "wide": (64,)}
_EXPORTS: dict[str, Callable[[Path], None]] = {
    "small": _export_small,
    "thin": _export_thin,
    "wide": _export_wide,
    "picture": _export_picture,
}


# ghz reads every request, binary ones too, as a template in Go's language.
_TEMPLATE = b"{{"


def _numbers(shape: tuple[int, ...]) -> Any:
    """A batch of one with values from 0 to 1, none of which looks like a template."""
    numbers = np.random.default_rng(2).random((1, *shape), np.float32)
    while (at := numbers.tobytes().find(_TEMPLATE)) >= 0:
        numbers.flat[at // numbers.itemsize] = 0.5
    return numbers


def _jpeg() -> bytes:
    """A picture like a photograph, which does not look like a template either."""
    return next(file for file in map(_photograph, itertools.count(3)) if _TEMPLATE not in file)


def _photograph(seed: int) -> bytes:
    """Smooth, with some noise; 224 x 224."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 255, (9, 9, 3), np.uint8)).resize(
        (_SIDE, _SIDE), Image.Resampling.BICUBIC
    )
    pixels = np.clip(np.asarray(coarse, np.float32) + random.normal(0, 6, (_SIDE, _SIDE, 3)), 0, 255)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def _infer_request(name: str, image: Any) -> bytes:
    request = message("ModelInferRequest")(model_name=MODEL)
    tensor = request.inputs.add(name=name, datatype="FP32", shape=image.shape)
    assert tensor is not None
    request.raw_input_contents.append(image.tobytes())
    return bytes(request.SerializeToString())


def _infer_protoset() -> bytes:
    """The protocol's messages and, of its service, the one method that is called."""
    file = descriptor_pb2.FileDescriptorProto()
    file.CopyFrom(FILE)
    package, _, service = SERVICE.rpartition(".")
    method = file.service.add(name=service).method.add(name="ModelInfer")
    method.input_type, method.output_type = f".{package}.ModelInferRequest", f".{package}.ModelInferResponse"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return protoset(pool.FindFileByName(file.name))


def _write_arrays(folder: Path, signature: Any, shape: tuple[int, ...]) -> Any:
    image = _numbers(shape)
    (name,) = signature.structured_input_signature[1]
    np.save(folder / "input.npy", image)
    (folder / "instances.json").write_text(json.dumps({"instances": image.tolist()}))
    tensor = {"name": name, "shape": image.shape, "datatype": "FP32", "data": image.ravel().tolist()}
    (folder / "infer.json").write_text(json.dumps({"inputs": [tensor]}))
    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL
    request.inputs[name].CopyFrom(tf.make_tensor_proto(image))
    (folder / "predict.bin").write_bytes(request.SerializeToString())
    (folder / "infer.bin").write_bytes(_infer_request(name, image))
    return signature(**{name: tf.constant(image)})


def _write_picture(folder: Path, signature: Any) -> Any:
    file = _jpeg()
    (name,) = signature.structured_input_signature[1]
    (folder / "input.jpg").write_bytes(file)
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = MODEL, BYTES_SIGNATURE
    request.inputs[name].CopyFrom(tf.make_tensor_proto([file]))
    (folder / "predict.bin").write_bytes(request.SerializeToString())
    return signature(**{name: tf.constant([file])})


def main() -> None:
    """`python -m benchmarks.serving.networks NAME FOLDER`."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    keras.utils.set_random_seed(1)
    folder.mkdir(parents=True)
    _EXPORTS[name](folder)
    loaded = tf.saved_model.load(str(folder / "servable" / "1"))
    if name == "picture":
        answer = _write_picture(folder, loaded.signatures[BYTES_SIGNATURE])
    else:
        answer = _write_arrays(folder, loaded.signatures[FLOAT_SIGNATURE], _SHAPES[name])
    (outputs,) = answer.values()
    (folder / "expected.json").write_text(json.dumps(outputs.numpy().ravel().tolist()))
    (folder / "predict.protoset").write_bytes(protoset(prediction_service_pb2.DESCRIPTOR))
    (folder / "infer.protoset").write_bytes(_infer_protoset())


if __name__ == "__main__":
    main()
