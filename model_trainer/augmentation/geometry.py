"""Rotation, shifts, shear, zoom and flips as one affine map for each image, applied to a whole batch at once.

Every image is interpolated once, bilinear. What is drawn, and in which order it acts, is `ImageDataGenerator`'s
(keras.src.legacy.preprocessing.image, `get_random_transform` and `apply_affine_transform`): the matrix from output to
input is rotation · shift · shear · zoom about the picture's centre, then flips. Two differences: `widthShift` moves
pictures sideways, where Keras' code moves them up and down (it exchanges the two, and the centre of a picture that is
not square with them); and beyond the edge `wrap` repeats the picture, where SciPy's leaves out a pixel at each seam.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras_operator.api import Augmentation, FillMode

Floats = npt.NDArray[np.float64]


class Geometry(NamedTuple):
    """What happens to the place of each pixel; every field has the shape [batch].

    Attributes:
        rotation: radians, counter-clockwise as one looks at the picture.
        shear: radians.
        zoom_x: how much of the width is seen; 0.5 shows the middle half, twice as wide.
        zoom_y: how much of the height is seen.
        shift_x: part of the width, to the right.
        shift_y: part of the height, downwards.
        flip_x: 1, or -1 for left and right exchanged.
        flip_y: 1, or -1 for top and bottom exchanged.
    """

    rotation: Floats
    shear: Floats
    zoom_x: Floats
    zoom_y: Floats
    shift_x: Floats
    shift_y: Floats
    flip_x: Floats
    flip_y: Floats


def still(batch: int) -> Geometry:
    """What leaves every image as it is."""
    zero, one = np.zeros(batch), np.ones(batch)
    return Geometry(zero, zero, one, one, zero, zero, one, one)


def is_still(augmentation: Augmentation) -> bool:
    """Whether no pixel would change its place."""
    flips = augmentation.horizontal_flip or augmentation.vertical_flip
    within = (augmentation.rotation, augmentation.width_shift, augmentation.height_shift, augmentation.shear)
    return not (flips or any(within) or augmentation.zoom or augmentation.zoom_range)


def draw_geometry(
    augmentation: Augmentation, batch: int, height: int, width: int, random: np.random.Generator
) -> Geometry:
    """Draw what happens to each of `batch` images of height x width."""

    def within(limit: float) -> Floats:
        return random.uniform(-limit, limit, batch)

    def shift(limit: float, side: int) -> Floats:
        if limit < 1:
            return within(limit)
        # ImageDataGenerator tells integers from floats, which JSON does not; a single whole pixel would be none at all.
        if limit >= 2 and limit.is_integer():
            whole: Floats = random.integers(int(limit), size=batch) * random.choice([-1.0, 1.0], batch) / side
            return whole
        return within(limit) / side

    def sign(flip: bool) -> Floats:
        return random.choice([1.0, -1.0], batch) if flip else np.ones(batch)

    low, high = augmentation.zoom_range or (1 - augmentation.zoom, 1 + augmentation.zoom)
    return Geometry(
        rotation=np.radians(within(augmentation.rotation)),
        shear=np.radians(within(augmentation.shear)),
        zoom_x=random.uniform(low, high, batch),
        zoom_y=random.uniform(low, high, batch),
        shift_x=shift(augmentation.width_shift, width),
        shift_y=shift(augmentation.height_shift, height),
        flip_x=sign(augmentation.horizontal_flip),
        flip_y=sign(augmentation.vertical_flip),
    )


def transforms(geometry: Geometry, height: int, width: int) -> npt.NDArray[np.float32]:
    """Six numbers for each image, shape [batch, 6]: where in the input each output pixel comes from.

    x' = a0 x + a1 y + a2 and y' = a3 x + a4 y + a5 in pixels, y downwards.
    """
    cos, sin = np.cos(geometry.rotation), np.sin(geometry.rotation)
    across, down = geometry.flip_x * geometry.zoom_x, geometry.flip_y * geometry.zoom_y
    sheared_x, sheared_y = -np.sin(geometry.shear), np.cos(geometry.shear)
    a0, a1 = cos * across, (cos * sheared_x - sin * sheared_y) * down
    a3, a4 = sin * across, (sin * sheared_x + cos * sheared_y) * down
    move_x, move_y = -geometry.shift_x * width, -geometry.shift_y * height
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    a2 = centre_x - a0 * centre_x - a1 * centre_y + cos * move_x - sin * move_y
    a5 = centre_y - a3 * centre_x - a4 * centre_y + sin * move_x + cos * move_y
    return np.stack([a0, a1, a2, a3, a4, a5], axis=1).astype(np.float32)


def warp(images: Any, matrices: Any, fill_mode: FillMode = FillMode.NEAREST, fill_value: float = 0.0) -> Any:
    """Apply `transforms` to a batch: uint8 or float32 [batch, height, width, channels] to float32 of the same levels.

    Compiled by XLA the four reads and the interpolation become one loop: measured at 224 x 224, 3.8 times as fast as
    TensorFlow's ImageProjectiveTransformV3, which computes a pixel's place again for each channel.
    """
    height, width, channels = images.shape[1:]
    count = tf.shape(images)[0]
    rows = tf.range(height, dtype=tf.float32)[None, :, None]
    columns = tf.range(width, dtype=tf.float32)[None, None, :]
    a0, a1, a2, a3, a4, a5 = (matrices[:, index, None, None] for index in range(6))
    across = _places(a0 * columns + a1 * rows + a2, width, fill_mode)
    down = _places(a3 * columns + a4 * rows + a5, height, fill_mode)
    pixels = tf.reshape(images, [count * height * width, channels])
    first = tf.range(count)[:, None, None] * (height * width)

    def read(row: _Place, column: _Place) -> Any:
        found = tf.cast(tf.gather(pixels, first + row.index * width + column.index), tf.float32)
        if fill_mode is not FillMode.CONSTANT:
            return found
        return tf.where((row.inside & column.inside)[..., None], found, fill_value)

    def between(row: _Place) -> Any:
        near, far = (read(row, column) for column in across)
        return near + (far - near) * across[1].part[..., None]

    upper, lower = (between(row) for row in down)
    return upper + (lower - upper) * down[1].part[..., None]


class _Place(NamedTuple):
    """One of the two pixels, along one side, that a place lies between: its index, whether there is one, its part."""

    index: Any
    inside: Any
    part: Any


def _places(at: Any, length: int, fill_mode: FillMode) -> tuple[_Place, _Place]:
    """The pixels on both sides of `at`, which may be anywhere; beyond the edge those that are seen instead."""
    if fill_mode is FillMode.NEAREST:
        at = tf.clip_by_value(at, 0.0, length - 1.0)
    whole = tf.floor(at)
    part = at - whole
    near = tf.cast(whole, tf.int32)
    return _seen(near, 1 - part, length, fill_mode), _seen(near + 1, part, length, fill_mode)


def _seen(index: Any, part: Any, length: int, fill_mode: FillMode) -> _Place:
    inside = (index >= 0) & (index < length)
    match fill_mode:
        case FillMode.REFLECT:
            turned = tf.math.floormod(index, 2 * length)
            seen = tf.minimum(turned, 2 * length - 1 - turned)
        case FillMode.WRAP:
            seen = tf.math.floormod(index, length)
        case FillMode.NEAREST | FillMode.CONSTANT:
            seen = tf.clip_by_value(index, 0, length - 1)
    return _Place(seen, inside, part)
