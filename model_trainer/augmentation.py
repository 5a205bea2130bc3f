"""Random geometry for training images: one affine map for each image, applied to a whole batch by one operation.

Rotation, shear, zoom, shifts and flips are multiplied into one 3x3 matrix, so every image is interpolated once
(bilinear, with the nearest pixel beyond the edge). What is drawn follows `ImageDataGenerator`: angle and shear uniform
in [-a, a] degrees, zoom uniform in [1 - z, 1 + z] for each axis, shifts uniform in [-s, s] of the side, flips with
probability one half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras_operator.api import Augmentation

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """What happens to each image of a batch; every field has the shape [batch].

    Attributes:
        rotation: radians, counter-clockwise as one looks at the picture.
        shear: radians.
        zoom_x: 2 makes the picture twice as wide.
        zoom_y: 2 makes it twice as high.
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


def is_off(augmentation: Augmentation) -> bool:
    """Whether nothing would be changed."""
    return augmentation == Augmentation()


def draw(augmentation: Augmentation, batch: int, random: np.random.Generator) -> Geometry:
    """Draw what happens to each of `batch` images."""

    def within(limit: float) -> Floats:
        return random.uniform(-limit, limit, batch)

    def sign(flip: bool) -> Floats:
        return random.choice([1.0, -1.0], batch) if flip else np.ones(batch)

    return Geometry(
        rotation=np.radians(within(augmentation.rotation)),
        shear=np.radians(within(augmentation.shear)),
        zoom_x=1.0 + within(augmentation.zoom),
        zoom_y=1.0 + within(augmentation.zoom),
        shift_x=within(augmentation.width_shift),
        shift_y=within(augmentation.height_shift),
        flip_x=sign(augmentation.horizontal_flip),
        flip_y=sign(augmentation.vertical_flip),
    )


def transforms(geometry: Geometry, height: int, width: int) -> npt.NDArray[np.float32]:
    """The operation's eight numbers for each image, shape [batch, 8]: where in the input each output pixel comes from.

    x' = a0 x + a1 y + a2 and y' = a3 x + a4 y + a5 in pixels; the last two (projection) are 0.
    """
    cos, sin = np.cos(geometry.rotation), np.sin(geometry.rotation)
    # The inverse of flip · zoom · shear · rotation about the centre, y downwards: output to input.
    scale_x, scale_y = geometry.flip_x / geometry.zoom_x, geometry.flip_y / geometry.zoom_y
    sheared_x, sheared_y = -np.sin(geometry.shear), np.cos(geometry.shear)
    a0, a1 = cos * scale_x, (cos * sheared_x - sin * sheared_y) * scale_y
    a3, a4 = sin * scale_x, (sin * sheared_x + cos * sheared_y) * scale_y
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    from_x = -centre_x - geometry.shift_x * width
    from_y = -centre_y - geometry.shift_y * height
    a2 = centre_x + a0 * from_x + a1 * from_y
    a5 = centre_y + a3 * from_x + a4 * from_y
    zero = np.zeros_like(a0)
    return np.stack([a0, a1, a2, a3, a4, a5, zero, zero], axis=1).astype(np.float32)


def warp(images: tf.Tensor, matrices: tf.Tensor) -> tf.Tensor:
    """Apply `transforms` to a batch: float32 or uint8 [batch, height, width, channels], the same comes out."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=matrices,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
