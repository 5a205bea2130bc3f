"""Writes the SavedModels that the server's tests use, and what TensorFlow itself answers for them.

Run as a program of its own, `build_models.py FOLDER`: TensorFlow takes seconds to import, and the server's tests are
about a server without it.
"""

from __future__ import annotations

import base64
import os
import shutil
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


def build_types(folder: Path) -> None:
    """For each element type and kind of shape a signature that gives back what it gets; and some of two inputs."""
    v1 = tf.compat.v1
    shapes = {"scalar": [], "vector": [None], "matrix": [None, None], "pairs": [None, 2], "fixed": [2], "any": None}
    types = [*ECHOED.values(), tf.uint16, tf.float16, tf.bfloat16, tf.complex64, tf.complex128]
    info = v1.saved_model.build_tensor_info
    definition = v1.saved_model.build_signature_def
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = {}
        for dtype in types:
            for name, shape in shapes.items():
                given = v1.placeholder(dtype, shape)
                signatures[f"{dtype.name}_{name}"] = ({"x": given}, {"y": tf.identity(given)})
        signatures["serving_default"] = signatures["float32_vector"]
        raw = v1.placeholder(tf.string, [None])
        signatures["raw"] = ({"raw": raw}, {"raw_bytes": tf.identity(raw)})
        a, b = v1.placeholder(tf.float32, [None, 2]), v1.placeholder(tf.int64, [None])
        signatures["two"] = ({"a": a, "b": b}, {"a": tf.identity(a), "b": tf.identity(b)})
        signatures["two_to_one"] = ({"a": a, "b": b}, {"y": a * tf.cast(b, tf.float32)[:, tf.newaxis]})
        signatures["one_to_two"] = ({"b": b}, {"double": 2 * b, "text_bytes": tf.strings.as_string(b)})
        signatures["two_batches"] = ({"a": a, "b": b}, {"rows": tf.identity(a), "all": tf.identity(b)})
        signatures["flat"] = ({"b": b}, {"total": tf.reduce_sum(b)})
        signatures["none"] = ({}, {"one": tf.constant([1.0])})
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                name: definition(
                    {k: info(t) for k, t in ins.items()},
                    {k: info(t) for k, t in outs.items()},
                    "tensorflow/serving/predict",
                )
                for name, (ins, outs) in signatures.items()
            },
        )
        builder.save()


def build_examples(folder: Path) -> None:
    """Signatures on serialized examples that share one input, as estimators export them, and some of wrong forms."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, [None], "serialized")
        features = tf.io.parse_example(
            serialized,
            {
                "x": tf.io.FixedLenFeature([2], tf.float32),
                "k": tf.io.FixedLenFeature([1], tf.int64, [0]),
                "name": tf.io.FixedLenFeature([1], tf.string, ["nobody"]),
            },
        )
        rows = tf.shape(features["x"])[0]
        scores = tf.nn.softmax(features["x"] @ tf.constant([[1.0, 2.0, -1.0], [0.5, -0.5, 1.0]]))
        labels = tf.tile([["cat", "dog", "owl"]], [rows, 1])
        value = tf.reduce_sum(features["x"], axis=1) + tf.cast(features["k"][:, 0], tf.float32)
        inputs, other = {"inputs": serialized}, {"inputs": v1.placeholder(tf.string, [None], "other")}
        classify, regress, predict = (f"tensorflow/serving/{name}" for name in ("classify", "regress", "predict"))
        forms: dict[str, tuple[Any, Any, str]] = {
            "serving_default": (inputs, {"classes": labels, "scores": scores}, classify),
            "scores_only": (inputs, {"scores": scores}, classify),
            "classes_only": (inputs, {"classes": labels}, classify),
            "names": (inputs, {"classes": features["name"]}, classify),
            "not_numbers": (inputs, {"scores": tf.math.log(features["x"])}, classify),
            "tensorflow_2": (inputs, {"classes": labels, "scores": scores}, predict),
            "value": (inputs, {"outputs": value}, regress),
            "value_column": (inputs, {"outputs": value[:, tf.newaxis]}, regress),
            "other_input": (other, {"outputs": tf.cast(tf.strings.length(other["inputs"]), tf.float32)}, regress),
            "flat_scores": (inputs, {"scores": value}, classify),
            "double_scores": (inputs, {"scores": tf.cast(scores, tf.float64)}, classify),
            "number_classes": (inputs, {"classes": scores}, classify),
            "more_scores": (inputs, {"classes": labels, "scores": features["x"]}, classify),
            "one_row": (inputs, {"scores": scores[:1]}, classify),
            "wrong_outputs": (inputs, {"probabilities": scores}, classify),
            "three_outputs": (inputs, {"classes": labels, "scores": scores, "value": value}, classify),
            "wrong_input": ({"examples": serialized}, {"scores": scores}, classify),
            "two_inputs": ({"inputs": serialized, "more": other["inputs"]}, {"scores": scores}, classify),
            "wide_value": (inputs, {"outputs": features["x"]}, regress),
            "double_value": (inputs, {"outputs": tf.cast(value, tf.float64)}, regress),
            "one_value": (inputs, {"outputs": value[:1]}, regress),
            "wrong_value": (inputs, {"value": value}, regress),
            "two_values": (inputs, {"outputs": value, "more": value}, regress),
        }
        info = v1.saved_model.build_tensor_info
        definition = v1.saved_model.build_signature_def
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                name: definition({k: info(t) for k, t in ins.items()}, {k: info(t) for k, t in outs.items()}, method)
                for name, (ins, outs, method) in forms.items()
            },
        )
        builder.save()
        x = np.random.default_rng(3).normal(size=(4, 2)).astype(np.float32)
        k = np.array([0, -1, 7, 2**20])
        examples = [_example(row, int(number)).SerializeToString() for row, number in zip(x, k, strict=True)]
        found = session.run({"scores": scores, "value": value}, {serialized: examples})
        np.savez(folder.parent / f"expected-{folder.name}.npz", x=x, k=k, **found)


class Runaway(tf.Module):  # type: ignore[misc]  # TensorFlow ships no types
    """Signatures that never end, or need `x` GiB; for another x they answer at once."""

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32, "x")])
    def loop(self, x: Any) -> dict[str, Any]:
        """Loops for ever for a negative number."""
        return {"y": x + 0 * _endless(tf.reduce_max(x))}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32, "x")])
    def compiled(self, x: Any) -> dict[str, Any]:
        """The same, as one operation of XLA's."""
        return {"y": x + 0 * tf.function(_endless, jit_compile=True)(tf.reduce_max(x))}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32, "x")])
    def memory(self, x: Any) -> dict[str, Any]:
        gibibytes = tf.fill([tf.cast(tf.reduce_max(x), tf.int64) * 2**28], 1.0)
        return {"y": x + tf.cast(gibibytes[0], tf.int32)}


def _endless(number: Any) -> Any:
    """The rounds of a loop: 0, or no end for a negative number. XLA leaves out one whose result does not matter."""
    (rounds,) = tf.while_loop(lambda i: number + 0 * i < 0, lambda i: [i + 1], [tf.constant(0)])
    return rounds


def build_runaway(folder: Path) -> None:
    module = Runaway()
    signatures = {"serving_default": module.loop, "compiled": module.compiled, "memory": module.memory}
    tf.saved_model.save(module, str(folder), signatures=signatures)


def _example(x: Any, k: int) -> Any:
    feature = {
        "x": tf.train.Feature(float_list=tf.train.FloatList(value=x)),
        "k": tf.train.Feature(int64_list=tf.train.Int64List(value=[k])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature))


def _predict_log(shape: tuple[int, ...]) -> Any:
    request = predict_pb2.PredictRequest()
    request.inputs["image"].CopyFrom(tf.make_tensor_proto(np.zeros(shape, np.float32)))
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))


def _endless_log() -> Any:
    request = predict_pb2.PredictRequest()
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([-1], tf.int32))
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))


def _example_logs() -> list[Any]:
    logs = [prediction_log_pb2.PredictionLog() for _ in range(3)]
    requests = [log.request for log in (logs[0].classify_log, logs[1].regress_log, logs[2].multi_inference_log)]
    requests[1].model_spec.signature_name = "value"
    requests[2].tasks.add(method_name="tensorflow/serving/regress").model_spec.name = "examples"
    requests[2].tasks[0].model_spec.signature_name = "value_column"
    for request in requests:
        request.input.example_list.examples.append(_example([0.5, 0.5], 1))
    return logs


def write_warmup(folder: Path, logs: list[Any]) -> None:
    (folder / "assets.extra").mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def main() -> None:
    root = Path(sys.argv[1])
    for number in (1, 2):
        build_digits(root / "digits" / str(number), seed=number)
    write_warmup(root / "digits" / "2", [_predict_log((1, SIZE, SIZE, 1))] * 2)
    (root / "digits" / "2" / "assets.extra" / "classes.json").write_text('["nought", "<b>one</b>", "zwö"]', "utf-8")
    build_kinds(root / "kinds" / "1")
    build_examples(root / "examples" / "1")
    build_types(root / "types" / "1")
    write_warmup(root / "examples" / "1", _example_logs())
    build_runaway(root / "runaway" / "1")
    shutil.copytree(root / "runaway" / "1", root / "runaway" / "2")
    write_warmup(root / "runaway" / "2", [_endless_log()])


if __name__ == "__main__":
    main()
