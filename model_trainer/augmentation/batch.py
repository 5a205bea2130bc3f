"""What happens to a batch: drawn as one value, carried out by operations one after the other.

The order is `ImageDataGenerator`'s where it has one: geometry, channel shift, contrast, brightness; then RandAugment,
Cutout, and last what mixes images.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras_operator.api import Augmentation

from model_trainer.augmentation import geometry, levels, rand_augment
from model_trainer.augmentation.cutout import cut_out, draw_holes
from model_trainer.augmentation.mixing import Mixture, draw_mixture, mix
from model_trainer.augmentation.rectangles import Rectangles


class Drawn(NamedTuple):
    """What happens to each image of a batch, as arrays: a generator gives them to TensorFlow with the images.

    Attributes:
        matrices: float32 [batch, 6], see `geometry.transforms`.
        levels: what happens to levels.
        operations: RandAugment's for each image.
        holes: what Cutout blackens.
        mixture: what each image is mixed with.
    """

    matrices: npt.NDArray[np.float32]
    levels: levels.Levels
    operations: rand_augment.Operations
    holes: Rectangles
    mixture: Mixture


def is_off(augmentation: Augmentation) -> bool:
    """Whether nothing would be changed."""
    return augmentation == Augmentation()


def draw(augmentation: Augmentation, batch: int, height: int, width: int, random: np.random.Generator) -> Drawn:
    """Draw what happens to each of `batch` images of height x width."""
    return Drawn(
        matrices=geometry.transforms(geometry.draw_geometry(augmentation, batch, height, width, random), height, width),
        levels=levels.draw_levels(augmentation, batch, random),
        operations=rand_augment.draw_operations(augmentation.rand_augment, batch, height, width, random),
        holes=draw_holes(augmentation, batch, height, width, random),
        mixture=draw_mixture(augmentation, batch, height, width, random),
    )


def augment(pixels: Any, labels: Any, drawn: Drawn, augmentation: Augmentation) -> tuple[Any, Any]:
    """Graph operations: what `augmentation` asks for, as it was drawn.

    Args:
        pixels: uint8 [batch, height, width, channels]; height and width are known.
        labels: float32 [batch, classes]; of any other kind where nothing mixes images.
        drawn: see `draw`; tensors in the place of arrays.
        augmentation: what is asked for; what is not is no operation at all.

    Returns:
        Images as the network takes them, float32 in [0, 1], and their labels.
    """
    images, mixed_labels = _steps(augmentation)(pixels, labels, drawn)
    return images, mixed_labels


@cache
def _steps(augmentation: Augmentation) -> Callable[[Any, Any, Drawn], tuple[Any, Any]]:
    """The operations, which XLA compiles into a few loops over the batch: once for each size of a batch.

    RandAugment stays between two of them, for its parts have sizes that are only known when they are there.
    """
    # Plain Python decides what is asked for, once; there is nothing for AutoGraph to rewrite.
    compile_ = partial(tf.function, autograph=False, jit_compile=True)
    if augmentation.rand_augment is None:
        compiled: Callable[[Any, Any, Drawn], tuple[Any, Any]] = compile_(
            lambda pixels, labels, drawn: _mixed(_moved(pixels, drawn, augmentation), labels, drawn, augmentation)
        )
        return compiled
    before = compile_(lambda pixels, drawn: _moved(pixels, drawn, augmentation))
    after = compile_(lambda images, labels, drawn: _mixed(images, labels, drawn, augmentation))

    def steps(pixels: Any, labels: Any, drawn: Drawn) -> tuple[Any, Any]:
        images = rand_augment.rand_augment(before(pixels, drawn), drawn.operations, augmentation)
        mixed: tuple[Any, Any] = after(images, labels, drawn)
        return mixed

    return steps


def _moved(pixels: Any, drawn: Drawn, augmentation: Augmentation) -> Any:
    """Levels 0 to 255 as float32, after geometry and changes of levels."""
    if geometry.is_still(augmentation):
        images = tf.cast(pixels, tf.float32)
    else:
        images = geometry.warp(pixels, drawn.matrices, augmentation.fill_mode, augmentation.fill_value)
    return levels.relevel(images, drawn.levels, augmentation)


def _mixed(images: Any, labels: Any, drawn: Drawn, augmentation: Augmentation) -> tuple[Any, Any]:
    """Images in [0, 1] and their labels, after Cutout and what mixes images."""
    if augmentation.cutout:
        images = cut_out(images, drawn.holes)
    if augmentation.mixup or augmentation.cutmix:
        images, labels = mix(images, labels, drawn.mixture, augmentation)
    return images / 255.0, labels
