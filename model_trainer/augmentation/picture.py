"""Pillow's ImageOps and ImageEnhance on batches of float32 images [batch, height, width, channels], levels 0 to 255.

Formulas are those of Pillow 11 (PIL/ImageOps.py, PIL/ImageEnhance.py, libImaging/Convert.c and Filter.c), to a level:
what Pillow rounds to 8 bits after each step is not rounded here where nothing needs whole levels.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

# Rec. ITU-R BT.601, as Pillow's conversion to "L" weighs the channels.
_LUMA = (0.299, 0.587, 0.114)


def autocontrast(images: Any) -> Any:
    """Stretch each channel of each image from its darkest to its brightest level over 0 to 255."""
    low = tf.reduce_min(images, axis=(1, 2), keepdims=True)
    high = tf.reduce_max(images, axis=(1, 2), keepdims=True)
    return tf.where(high > low, (images - low) * tf.math.divide_no_nan(255.0, high - low), images)


def equalize(images: Any) -> Any:
    """Spread each channel of each image evenly over the levels, by its histogram."""
    count, (height, width, channels) = tf.shape(images)[0], images.shape[1:]
    levels = tf.cast(tf.round(images), tf.int32)
    # [batch, channels, pixels], each channel's levels in a range of 256 of their own.
    flat = tf.reshape(tf.transpose(levels, [0, 3, 1, 2]), [count * channels, height * width])
    histogram = tf.math.bincount(flat, minlength=256, maxlength=256, axis=-1)
    histogram = tf.reshape(histogram, [count * channels, 256])
    last = tf.reduce_max(flat, axis=1, keepdims=True)
    step = (height * width - tf.gather(histogram, last, batch_dims=1)) // 255
    # Level i becomes (step // 2 + the pixels below i) // step.
    table = (step // 2 + tf.cumsum(histogram, axis=1, exclusive=True)) // tf.maximum(step, 1)
    table = tf.where(step > 0, tf.minimum(table, 255), tf.range(256)[None])
    equal = tf.reshape(tf.gather(table, flat, batch_dims=1), [count, channels, height, width])
    return tf.cast(tf.transpose(equal, [0, 2, 3, 1]), tf.float32)


def solarize(images: Any, threshold: int) -> Any:
    """Invert every level from `threshold` on."""
    return tf.where(tf.round(images) < threshold, images, 255.0 - images)


def posterize(images: Any, bits: int) -> Any:
    """Keep the highest `bits` bits of each level, 1 to 8."""
    unit = 2.0 ** (8 - bits)
    return tf.floor(tf.round(images) / unit) * unit


def brightness(images: Any, factor: Any) -> Any:
    """`factor` [batch, 1, 1, 1] times each level."""
    return _between(tf.zeros_like(images), images, factor)


def color(images: Any, factor: Any) -> Any:
    """From grey (0) over the image (1) to stronger colours; a grey image stays as it is."""
    return _between(_grey(images), images, factor)


def contrast(images: Any, factor: Any) -> Any:
    """From the image's mean grey (0) over the image (1) to a stronger contrast."""
    mean = tf.floor(tf.reduce_mean(tf.round(_grey(images)), axis=(1, 2, 3), keepdims=True) + 0.5)
    return _between(mean, images, factor)


def sharpness(images: Any, factor: Any) -> Any:
    """From a smoothed image (0), whose outermost pixels stay as they are, over the image (1) to a sharper one."""
    height, width = images.shape[1:3]
    around = [
        images[:, down : height - 2 + down, across : width - 2 + across] for down in range(3) for across in range(3)
    ]
    # PIL.ImageFilter.SMOOTH: the middle counts five times, its neighbours once.
    inner = (tf.add_n(around) + 4.0 * around[4]) / 13.0
    core = tf.pad(tf.ones_like(inner, tf.bool), [[0, 0], [1, 1], [1, 1], [0, 0]])
    smooth = tf.where(core, tf.pad(inner, [[0, 0], [1, 1], [1, 1], [0, 0]]), images)
    return _between(smooth, images, factor)


def _grey(images: Any) -> Any:
    """[batch, height, width, 1]."""
    if images.shape[3] == 1:
        return images
    return tf.reduce_sum(images * tf.constant(_LUMA), axis=3, keepdims=True)


def _between(start: Any, images: Any, factor: Any) -> Any:
    """ImageEnhance's blend: `start` at 0, `images` at 1, and beyond, within the levels that there are."""
    return tf.clip_by_value(start + factor * (images - start), 0.0, 255.0)
