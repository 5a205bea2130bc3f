"""RandAugment: a few operations for each image, each drawn from the same fourteen.

Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space" (2019). Strengths are
those of AutoAugment's ranges (Cubuk et al. 2018, table 6), linear in the magnitude from 0 to 10, and stronger with it
for every operation; a coin decides the direction where there are two. What moves a picture fills what is beyond its
edge as `fillMode` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras_operator.api import Augmentation, RandAugment

from model_trainer.augmentation import picture
from model_trainer.augmentation.geometry import warp

MOST = 10

# AutoAugment shifts by up to 150 pixels of an image of 331.
_FURTHEST = 150 / 331

# Images of levels 0 to 255 [batch, height, width, channels], signs [batch, 1, 1, 1], strength from 0 to 1: the images.
_Operation = Callable[[Any, Any, float], Any]

# What changes levels. What moves pixels is in `_matrix`.
_LEVELS: dict[str, _Operation] = {
    "autocontrast": lambda images, signs, strength: picture.autocontrast(images),
    "equalize": lambda images, signs, strength: picture.equalize(images),
    "solarize": lambda images, signs, strength: picture.solarize(images, 256 - int(256 * strength)),
    "color": lambda images, signs, strength: picture.color(images, 1 + 0.9 * strength * signs),
    "posterize": lambda images, signs, strength: picture.posterize(images, 8 - round(4 * strength)),
    "contrast": lambda images, signs, strength: picture.contrast(images, 1 + 0.9 * strength * signs),
    "brightness": lambda images, signs, strength: picture.brightness(images, 1 + 0.9 * strength * signs),
    "sharpness": lambda images, signs, strength: picture.sharpness(images, 1 + 0.9 * strength * signs),
}
NAMES = ("identity", "rotate", "shear x", "shear y", "shift x", "shift y", *_LEVELS)


class Operations(NamedTuple):
    """What is done to each image.

    Attributes:
        which: int32 [batch, layers], indices into `NAMES`.
        signs: float32 [batch, layers], 1 or -1.
        matrices: float32 [batch, layers, 6], see `geometry.transforms`; those that change nothing where nothing moves.
    """

    which: npt.NDArray[np.int32]
    signs: npt.NDArray[np.float32]
    matrices: npt.NDArray[np.float32]


def draw_operations(
    asked: RandAugment | None, batch: int, height: int, width: int, random: np.random.Generator
) -> Operations:
    """Draw operations for each of `batch` images of height x width; none where none are asked for."""
    layers = 0 if asked is None else asked.layers
    which = random.integers(len(NAMES), size=(batch, layers)).astype(np.int32)
    return operations_of(which, random.choice([1.0, -1.0], (batch, layers)), asked, height, width)


def operations_of(
    which: npt.NDArray[np.int32], signs: npt.NDArray[Any], asked: RandAugment | None, height: int, width: int
) -> Operations:
    """These operations, in these directions."""
    strength = 0.0 if asked is None else asked.magnitude / MOST
    matrices = np.empty((*which.shape, 6), np.float32)
    for place, operation in np.ndenumerate(which):
        matrices[place] = _matrix(NAMES[operation], float(signs[place]) * strength, height, width)
    return Operations(which, signs.astype(np.float32), matrices)


def rand_augment(images: Any, operations: Operations, augmentation: Augmentation) -> Any:
    """Carry `operations` out on float32 images [batch, height, width, channels] of levels 0 to 255."""
    asked = augmentation.rand_augment
    assert asked is not None
    shape = [None, *images.shape[1:]]
    move = tf.function(warp, autograph=False, jit_compile=True)
    # One part more for the images whose levels stay as they are.
    parts = len(_LEVELS) + 1
    for layer in range(asked.layers):
        images = move(images, operations.matrices[:, layer], augmentation.fill_mode, augmentation.fill_value)
        which = tf.maximum(operations.which[:, layer] - (len(NAMES) - parts), 0)
        # Images of the same operation go through it together, and back to their places.
        places = tf.dynamic_partition(tf.range(tf.shape(images)[0]), which, parts)
        same, *others = (tf.ensure_shape(part, shape) for part in tf.dynamic_partition(images, which, parts))
        _, *signs = tf.dynamic_partition(operations.signs[:, layer, None, None, None], which, parts)
        changed = [
            operation(part, sign, asked.magnitude / MOST)
            for operation, part, sign in zip(_LEVELS.values(), others, signs, strict=True)
        ]
        images = tf.ensure_shape(tf.dynamic_stitch(places, [same, *changed]), shape)
    return images


def _matrix(name: str, strength: float, height: int, width: int) -> tuple[float, ...]:
    """From output to input, as `geometry.transforms`; `strength` from -1 to 1."""
    match name:
        case "rotate":
            angle = np.radians(30 * strength)
            cos, sin, x, y = np.cos(angle), np.sin(angle), (width - 1) / 2, (height - 1) / 2
            return cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y
        case "shear x":
            return 1.0, 0.3 * strength, 0.0, 0.0, 1.0, 0.0
        case "shear y":
            return 1.0, 0.0, 0.0, 0.3 * strength, 1.0, 0.0
        case "shift x":
            return 1.0, 0.0, _FURTHEST * strength * width, 0.0, 1.0, 0.0
        case "shift y":
            return 1.0, 0.0, 0.0, 0.0, 1.0, _FURTHEST * strength * height
    return 1.0, 0.0, 0.0, 0.0, 1.0, 0.0
