"""Channel shift, contrast and brightness: changes to the levels of pixels, which stay where they are.

Channel shift and brightness are `ImageDataGenerator`'s, in its units and its order; contrast is the formula of Keras'
layer RandomContrast.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras_operator.api import Augmentation

Floats = npt.NDArray[np.float32]


class Levels(NamedTuple):
    """What happens to the levels of each image; every field has the shape [batch].

    Attributes:
        channel_shift: levels that are added, from -255 to 255.
        contrast: factor of the distance from the channel's mean.
        brightness: factor of every level.
    """

    channel_shift: Floats
    contrast: Floats
    brightness: Floats


def draw_levels(augmentation: Augmentation, batch: int, random: np.random.Generator) -> Levels:
    """Draw what happens to each of `batch` images."""

    def between(low: float, high: float) -> Floats:
        return random.uniform(low, high, batch).astype(np.float32)

    return Levels(
        channel_shift=between(-augmentation.channel_shift, augmentation.channel_shift),
        contrast=between(1 - augmentation.contrast, 1 + augmentation.contrast),
        brightness=between(*(augmentation.brightness or (1.0, 1.0))),
    )


def relevel(images: Any, levels: Levels, augmentation: Augmentation) -> Any:
    """Apply `levels` to float32 images [batch, height, width, channels] of levels 0 to 255, as `augmentation` asks."""
    if augmentation.channel_shift:
        low = tf.reduce_min(images, axis=(1, 2, 3), keepdims=True)
        high = tf.reduce_max(images, axis=(1, 2, 3), keepdims=True)
        images = tf.clip_by_value(images + _each(levels.channel_shift), low, high)
    if augmentation.contrast:
        mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
        images = tf.clip_by_value((images - mean) * _each(levels.contrast) + mean, 0.0, 255.0)
    if augmentation.brightness is not None:
        images = tf.clip_by_value(images * _each(levels.brightness), 0.0, 255.0)
    return images


def _each(values: Any) -> Any:
    """[batch] to [batch, 1, 1, 1]."""
    return tf.reshape(values, [-1, 1, 1, 1])
