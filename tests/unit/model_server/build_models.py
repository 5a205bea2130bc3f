"""Writes the SavedModels that the server's tests use, and what TensorFlow itself answers for them.

Run as a program of its own, `build_models.py FOLDER`: TensorFlow takes seconds to import, and the server's tests are
about a server without it.
"""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

SIZE = 8
ECHOED = {
    "f32": tf.float32,
    "f64": tf.float64,
    "i8": tf.int8,
    "i16": tf.int16,
    "i32": tf.int32,
    "i64": tf.int64,
    "u8": tf.uint8,
    "u32": tf.uint32,
    "u64": tf.uint64,
    "flag": tf.bool,
    "text": tf.string,
}


def build_digits(folder: Path, seed: int) -> None:
    """A Keras CNN as the trainer exports one: floats in, or image files in."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )

    def decode(image: Any) -> Any:
        pixels = tf.io.decode_image(image, channels=1, expand_animations=False)
        return tf.ensure_shape(tf.image.resize(pixels, (SIZE, SIZE)) / 255.0, (SIZE, SIZE, 1))

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default", lambda image: {"scores": model(image)}, [tf.TensorSpec((None, SIZE, SIZE, 1), name="image")]
    )
    archive.add_endpoint(
        "serving_bytes",
        lambda image: {"scores": model(tf.map_fn(decode, image, fn_output_signature=tf.float32))},
        [tf.TensorSpec((None,), tf.string, name="image")],
    )
    archive.write_out(folder, verbose=False)
    pixels = np.random.default_rng(7).integers(0, 255, (5, SIZE, SIZE, 1), np.uint8)
    files = [base64.b64encode(tf.io.encode_png(image).numpy()).decode() for image in pixels]
    floats = pixels.astype(np.float32) / 255
    np.savez(
        folder.parent / f"expected-{folder.name}.npz",
        image=floats,
        scores=model(floats).numpy(),
        files=np.array(files),
    )


class Kinds(tf.Module):  # type: ignore[misc]  # TensorFlow ships no types
    """Signatures of every form that a request can have to deal with."""

    @tf.function
    def echo(self, **values: Any) -> dict[str, Any]:
        return {f"{name}_out": tf.identity(value) for name, value in values.items()}

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, "a"), tf.TensorSpec((None,), tf.int32, "b")])
    def two(self, a: Any, b: Any) -> dict[str, Any]:
        return {
            "sum": a + tf.cast(b, tf.float32)[:, tf.newaxis],
            "label": tf.strings.as_string(b),
            "code_bytes": tf.io.serialize_tensor(tf.constant(1)) + tf.strings.as_string(b),
        }

    @tf.function(input_signature=[tf.TensorSpec((), tf.float32, "x")])
    def scalar(self, x: Any) -> dict[str, Any]:
        return {"double": 2 * x}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, "x")])
    def total(self, x: Any) -> dict[str, Any]:
        return {"total": tf.reduce_sum(x)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, "x")])
    def logarithm(self, x: Any) -> dict[str, Any]:
        return {"y": tf.math.log(x)}

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.float32, "x")])
    def invert(self, x: Any) -> dict[str, Any]:
        return {"y": tf.linalg.inv(x)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32, "rounds")])
    def slow(self, rounds: Any) -> dict[str, Any]:
        """About a millisecond a round."""
        matrix = tf.ones((160, 160)) / 160.0
        for _ in tf.range(tf.reduce_max(rounds)):
            matrix = tf.matmul(matrix, tf.matmul(matrix, matrix))
        return {"rows": tf.fill(tf.shape(rounds), tf.size(rounds)), "y": tf.cast(rounds, tf.float32) + matrix[0, 0]}


def build_kinds(folder: Path) -> None:
    module = Kinds()
    specs = {name: tf.TensorSpec((None,), dtype, name) for name, dtype in ECHOED.items()}
    half = {"half": tf.TensorSpec((None,), tf.float16, "half"), "c64": tf.TensorSpec((None,), tf.complex64, "c64")}
    signatures: dict[str, Any] = {
        "echo": module.echo.get_concrete_function(**specs),
        "rare": module.echo.get_concrete_function(**half),
        "serving_default": module.two,
        "scalar": module.scalar,
        "total": module.total,
        "logarithm": module.logarithm,
        "invert": module.invert,
        "slow": module.slow,
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)


def write_warmup(folder: Path, shape: tuple[int, ...]) -> None:
    request = predict_pb2.PredictRequest()
    request.inputs["image"].CopyFrom(tf.make_tensor_proto(np.zeros(shape, np.float32)))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    (folder / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(folder / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())
        writer.write(log.SerializeToString())


def main() -> None:
    root = Path(sys.argv[1])
    for number in (1, 2):
        build_digits(root / "digits" / str(number), seed=number)
    write_warmup(root / "digits" / "2", (1, SIZE, SIZE, 1))
    build_kinds(root / "kinds" / "1")


if __name__ == "__main__":
    main()
