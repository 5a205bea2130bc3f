"""From a trained model to a SavedModel with two signatures: float images in, and files' bytes in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from model_trainer.data.decoding import decode, rescale

FLOAT_SIGNATURE = "serving_default"
BYTES_SIGNATURE = "serving_bytes"
IMAGES = "images"
IMAGE_BYTES = "image_bytes"
PROBABILITIES = "probabilities"

CLASSES_FILE = "classes.json"
EXTRA_ASSETS = "assets.extra"


def export_saved_model(model: Any, classes: tuple[str, ...], directory: Path) -> None:
    """Write the SavedModel of `model` to `directory`.

    `serving_default`: `images` float32 [batch, height, width, channels] in [0, 1] -> `probabilities` float32
    [batch, classes]. `serving_bytes`: `image_bytes` string [batch], the bytes of JPEG, PNG, GIF or BMP files of any
    size -> the same; WebP is read in training alone (see `model_trainer.data.decoding`). The classes' names, in the
    order of the probabilities, are in `assets.extra/classes.json`.
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
        return from_images(rescale(pixels))

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        FLOAT_SIGNATURE,
        from_images,
        input_signature=[tf.TensorSpec([None, height, width, channels], tf.float32, name=IMAGES)],
    )
    archive.add_endpoint(
        BYTES_SIGNATURE, from_bytes, input_signature=[tf.TensorSpec([None], tf.string, name=IMAGE_BYTES)]
    )
    archive.write_out(str(directory), verbose=False)
    extra = directory / EXTRA_ASSETS
    extra.mkdir(exist_ok=True)
    (extra / CLASSES_FILE).write_text(json.dumps(classes, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
