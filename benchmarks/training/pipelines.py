"""Images a second through augmentation alone: this project's pipeline, ImageDataGenerator, and Keras' layers.

All three rotate by up to 20 degrees, shift, shear and zoom by up to a fifth, flip sideways, fill with the nearest
pixel, and give batches of 32 float32 images in [0, 1] with one-hot labels. What Keras' two read are JPEG files, as
their users have them; this project has decoded the files before, once, and keeps the pixels in memory or in a file.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SIDE = 224
BATCH = 32
# Of 2,000 images: enough for a steady rate, and not minutes with the slow ones.
_SLOW_BATCHES = 20
_WARM_BATCHES = 2


def image_data_generator(folder: str) -> dict[str, float]:
    """Images a second of `flow_from_directory`."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator  # noqa: PLC0415

    generator = ImageDataGenerator(
        rescale=1 / 255,
        rotation_range=20,
        width_shift_range=0.2,
        height_shift_range=0.2,
        shear_range=20,
        zoom_range=0.2,
        horizontal_flip=True,
        fill_mode="nearest",
    )
    flow = generator.flow_from_directory(folder, target_size=(SIDE, SIDE), batch_size=BATCH)
    return {"images/s": _rate(flow[index] for index in range(_WARM_BATCHES + _SLOW_BATCHES))}


def keras_layers(folder: str) -> dict[str, float]:
    """Images a second of Keras' preprocessing layers, mapped over `image_dataset_from_directory`."""
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    changes = keras.Sequential(
        [
            keras.layers.Rescaling(1 / 255),
            keras.layers.RandomRotation(20 / 360, fill_mode="nearest"),
            keras.layers.RandomTranslation(0.2, 0.2, fill_mode="nearest"),
            keras.layers.RandomShear(0.2, 0.2, fill_mode="nearest"),
            keras.layers.RandomZoom((-0.2, 0.2), (-0.2, 0.2), fill_mode="nearest"),
            keras.layers.RandomFlip("horizontal"),
        ]
    )
    files = keras.utils.image_dataset_from_directory(
        folder, image_size=(SIDE, SIDE), batch_size=BATCH, label_mode="categorical", verbose=False
    )
    batches = files.map(lambda images, labels: (changes(images, training=True), labels), tf.data.AUTOTUNE)
    return {"images/s": _rate(iter(batches.prefetch(2).take(_WARM_BATCHES + _SLOW_BATCHES)))}


def this_project(folder: str, *, on_disk: bool) -> dict[str, float]:
    """Images a second of this project's pipeline over one epoch, after another one.

    Args:
        folder: the images.
        on_disk: keep decoded images in the scratch file, of which nothing is in memory when the epoch begins.
    """
    import tensorflow as tf  # noqa: PLC0415
    from keras_operator.api import Augmentation, Loss  # noqa: PLC0415

    from benchmarks.training.decoded import decoded, forget  # noqa: PLC0415
    from model_trainer.data.pipeline import Batches, Shuffling  # noqa: PLC0415

    asked = Augmentation(rotation=20, width_shift=0.2, height_shift=0.2, shear=20, zoom=0.2, horizontal_flip=True)
    with tempfile.TemporaryDirectory(dir=Path(folder).parent) as scratch:
        began = time.monotonic()
        dataset = decoded(folder, SIDE, Path(scratch), memory=0 if on_disk else 1 << 40)
        decoding = time.monotonic() - began
        rows = tf.range(len(dataset.examples)).numpy().astype("int64")
        batches = Batches(
            dataset.pixels, rows, dataset.labels(rows), batch_size=BATCH, shuffling=Shuffling(7, asked)
        ).dataset(len(dataset.classes), Loss.CATEGORICAL_CROSSENTROPY)
        rates = []
        for _ in range(2):
            if on_disk:
                forget(dataset.pixels)
            began = time.monotonic()
            for _batch in batches:
                pass
            rates.append(len(rows) / (time.monotonic() - began))
        return {"images/s": rates[-1], "decoded images/s": len(rows) / decoding}


def _rate(batches: Iterable[Any]) -> float:
    """Images a second after the first two batches."""
    began, seen = 0.0, 0
    for index, (images, _) in enumerate(batches):
        if index >= _WARM_BATCHES:
            seen += len(images)
        if index == _WARM_BATCHES - 1:
            began = time.monotonic()
    return seen / (time.monotonic() - began)


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))
