"""From a file's bytes to pixels: the very same TensorFlow operations in training and in the exported signature.

PNG, JPEG, BMP and the first frame of a GIF become RGB (alpha is dropped, palettes and grey are expanded, 16 bits become
8), are resized without keeping their proportions, bilinear with an antialiasing filter (what Pillow calls BILINEAR),
are turned to grey by ITU-R 601 where that is asked for, and rounded to 8 bits. EXIF orientation is not applied.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model_trainer.data.formats import BadImage, read_header

Pixels = npt.NDArray[np.uint8]

# Rec. ITU-R BT.601-7, 2.5.1; sums to 1, so that an image that is grey already keeps its values.
_LUMA = (0.299, 0.587, 0.114)

CHANNELS = {"rgb": 3, "grayscale": 1}


def decode(image: Any, height: int, width: int, channels: int) -> Any:
    """Graph operations: a scalar string tensor to a uint8 tensor [height, width, channels].

    The operation fails with InvalidArgumentError for anything that is not a whole image.
    """
    pixels = tf.io.decode_image(image, channels=3, expand_animations=False)
    pixels.set_shape([None, None, 3])
    # Rounding is part of the contract: training reads cached 8-bit pixels, so serving must round as well.
    resized = tf.image.resize(pixels, [height, width], method="bilinear", antialias=True)
    if channels == 1:
        resized = tf.tensordot(resized, tf.constant(_LUMA, shape=[3, 1]), axes=1)
    return tf.ensure_shape(
        tf.cast(tf.round(tf.clip_by_value(resized, 0.0, 255.0)), tf.uint8), [height, width, channels]
    )


def rescale(pixels: Any) -> Any:
    """uint8 pixels 0..255 to the float32 0..1 that every model here takes."""
    return tf.cast(pixels, tf.float32) / 255.0


class Decoder:
    """Decodes files one at a time; safe to call from many threads, of which a few decode at the same time."""

    def __init__(self, height: int, width: int, channels: int, concurrency: int) -> None:
        self.shape = (height, width, channels)
        # A decoded photo may take 150 MB, so only as many at a time as there are processors to work on them.
        self._slots = threading.Semaphore(concurrency)
        self._decode = tf.function(
            lambda image: decode(image, height, width, channels), input_signature=[tf.TensorSpec([], tf.string)]
        )

    def __call__(self, data: bytes) -> Pixels:
        """Pixels of shape [height, width, channels]. Raises BadImage for anything that is not a whole image."""
        header = read_header(data)
        try:
            with self._slots:
                pixels: Pixels = self._decode(data).numpy()
        except tf.errors.InvalidArgumentError as error:
            raise BadImage(f"a truncated or damaged {header.format}") from error
        return pixels
