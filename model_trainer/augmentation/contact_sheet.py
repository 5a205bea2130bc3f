"""A contact sheet: how augmented training images look, for whoever reads a version's report."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras_operator.api import Augmentation

from model_trainer.augmentation.batch import augment, draw

Pixels = npt.NDArray[np.uint8]

# Levels of what separates the images.
_PAPER = 255


def augmented_samples(images: Pixels, augmentation: Augmentation, *, variants: int, seed: int) -> Pixels:
    """Each image and beside it `variants` of what training makes of it.

    Args:
        images: uint8 [n, height, width, channels]; where images are mixed, they are mixed with each other.
        augmentation: what training does.
        variants: how many for each image.
        seed: what decides the draws.

    Returns:
        uint8 [n, 1 + variants, height, width, channels], the image itself first.
    """
    count, height, width, channels = images.shape
    columns = [images]
    for variant in range(variants):
        drawn = draw(augmentation, count, height, width, np.random.default_rng([seed, variant]))
        changed, _ = augment(
            tf.ensure_shape(images, [None, height, width, channels]), tf.zeros([count, 1]), drawn, augmentation
        )
        columns.append(np.round(changed.numpy() * 255).clip(0, 255).astype(np.uint8))
    return np.stack(columns, axis=1)


def contact_sheet(
    images: Pixels, augmentation: Augmentation, *, variants: int = 7, seed: int = 0, gap: int = 4
) -> bytes:
    """A PNG: a row for each of `images` (uint8 [n, height, width, channels]), itself and `variants` of it.

    The same images, augmentation and seed give the same sheet.
    """
    samples = augmented_samples(images, augmentation, variants=variants, seed=seed)
    framed = np.pad(samples, [(0, 0), (0, 0), (0, gap), (0, gap), (0, 0)], constant_values=_PAPER)
    rows, columns, height, width, channels = framed.shape
    sheet = framed.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)
    png: bytes = tf.io.encode_png(sheet[: -gap or None, : -gap or None]).numpy()
    return png
