"""From a trained model to a SavedModel: float images, files' bytes or tf.Examples in; probabilities or classes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from model_trainer.data.decoding import decode, rescale

FLOAT_SIGNATURE = "serving_default"
BYTES_SIGNATURE = "serving_bytes"
CLASSIFY_SIGNATURE = "serving_classify"
REGRESS_SIGNATURE = "serving_regress"
IMAGES = "images"
IMAGE_BYTES = "image_bytes"
PROBABILITIES = "probabilities"
EXAMPLES = "inputs"
NAMES = "classes"
SCORES = "scores"
# Of a number: the first is ours, the second is the name that TensorFlow Serving's Regress asks for.
PREDICTION = "prediction"
OUTPUTS = "outputs"

# The feature that TensorFlow's own image data sets use (tensorflow/models, research/slim/datasets/dataset_utils.py).
ENCODED_IMAGE = "image/encoded"

# tensorflow/python/saved_model/signature_constants.py; TensorFlow Serving's Classify and Regress ask for them, and
# for the names of the tensors above.
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"

CLASSES_FILE = "classes.json"
EXTRA_ASSETS = "assets.extra"


def export_saved_model(
    model: Any,
    classes: tuple[str, ...],
    directory: Path,
    *,
    archive: Any = None,
    pixel_range: tuple[float, float] = (0.0, 1.0),
) -> None:
    """Write the SavedModel of `model` to `directory`.

    `archive` is an empty ExportArchive of the Keras that the model belongs to (None: Keras 3's), and `pixel_range` what
    the model takes for black and for white.

    `serving_default`: `images` float32 [batch, height, width, channels] in that range -> `probabilities` float32
    [batch, classes]. `serving_bytes`: `image_bytes` string [batch], the bytes of JPEG, PNG, GIF or BMP files of any
    size -> the same; WebP is read in training alone (see `model_trainer.data.decoding`). The classes' names, in the
    order of the probabilities, are in `assets.extra/classes.json`, and in the graph of `serving_classify`, which
    TensorFlow Serving's Classify and `:classify` take: `inputs` string [batch], serialized tf.Examples with the bytes
    of a file in `image/encoded` -> `classes` string and `scores` float32, both [batch, classes]. Without names there is
    no such signature.
    """
    height, width, channels = model.input_shape[1:]

    def from_images(images: Any) -> dict[str, Any]:
        return {PROBABILITIES: model(images, training=False)}

    def from_bytes(image_bytes: Any) -> dict[str, Any]:
        pixels = tf.map_fn(
            lambda image: decode(image, height, width, channels),
            image_bytes,
            fn_output_signature=tf.TensorSpec([height, width, channels], tf.uint8),
        )
        return from_images(low + rescale(pixels) * (high - low))

    def from_examples(inputs: Any) -> dict[str, Any]:
        files = tf.io.parse_example(inputs, {ENCODED_IMAGE: tf.io.FixedLenFeature([], tf.string)})[ENCODED_IMAGE]
        scores = from_bytes(files)[PROBABILITIES]
        names = tf.broadcast_to(tf.constant(classes)[tf.newaxis], [tf.shape(scores)[0], len(classes)])
        return {NAMES: names, SCORES: scores}

    low, high = pixel_range
    archive = archive or keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        FLOAT_SIGNATURE,
        from_images,
        input_signature=[tf.TensorSpec([None, height, width, channels], tf.float32, name=IMAGES)],
    )
    archive.add_endpoint(
        BYTES_SIGNATURE, from_bytes, input_signature=[tf.TensorSpec([None], tf.string, name=IMAGE_BYTES)]
    )
    if classes:
        archive.add_endpoint(
            CLASSIFY_SIGNATURE, from_examples, input_signature=[tf.TensorSpec([None], tf.string, name=EXAMPLES)]
        )
    write_out(archive, directory)
    if classes:
        name_method(directory, CLASSIFY_SIGNATURE, CLASSIFY_METHOD)
        write_classes(classes, directory)


def write_out(archive: Any, directory: Path) -> None:
    """Write an ExportArchive of Keras 3 or of tf-keras, which has no `verbose`."""
    quiet = {"verbose": False} if type(archive).__module__.startswith("keras.") else {}
    archive.write_out(str(directory), **quiet)


def name_method(directory: Path, signature: str, method: str) -> None:
    """Say what a signature is for: TensorFlow 2 calls every one of them a prediction."""
    path = directory / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for graph in saved.meta_graphs:
        graph.signature_def[signature].method_name = method
    path.write_bytes(saved.SerializeToString(deterministic=True))


def write_classes(classes: tuple[str, ...], directory: Path) -> None:
    """Put the names of the classes beside the graph, in the order of the probabilities."""
    extra = directory / EXTRA_ASSETS
    extra.mkdir(exist_ok=True)
    (extra / CLASSES_FILE).write_text(json.dumps(classes, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
