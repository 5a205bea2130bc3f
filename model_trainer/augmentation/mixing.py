"""mixup and CutMix: each image, and its label, becomes a mixture with another one of its batch.

mixup (Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2017): x = λ x_i + (1 - λ) x_j and the same for the
labels, λ from Beta(α, α). CutMix (Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with
Localizable Features", 2019): a rectangle with the sides W √(1 - λ) and H √(1 - λ), its centre anywhere, comes from
x_j; the labels are mixed by the area that is left. λ and the rectangle are drawn for each image, not once for a batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras_operator.api import Augmentation

from model_trainer.augmentation.rectangles import Rectangles, area, draw_rectangles, inside, none


class Mixture(NamedTuple):
    """What each image is mixed with.

    Attributes:
        partners: int32 [batch], the other image's place in the batch.
        blend: float32 [batch], the image's own part of every pixel; 1 where it is not blended.
        patches: where the partner is seen instead; without area where it is not.
        kept: float32 [batch], the image's own part of the label.
    """

    partners: npt.NDArray[np.int32]
    blend: npt.NDArray[np.float32]
    patches: Rectangles
    kept: npt.NDArray[np.float32]


def draw_mixture(
    augmentation: Augmentation, batch: int, height: int, width: int, random: np.random.Generator
) -> Mixture:
    """Draw a partner and a mixture for each of `batch` images; where both kinds are asked for, one of them for each."""
    partners = random.permutation(batch).astype(np.int32)
    if augmentation.mixup and augmentation.cutmix:
        blended = random.random(batch) < 0.5
    else:
        blended = np.full(batch, bool(augmentation.mixup))
    blend, patches, kept = np.ones(batch), none(batch), np.ones(batch)
    if augmentation.mixup:
        weight = random.beta(augmentation.mixup, augmentation.mixup, batch)
        blend = kept = np.where(blended, weight, 1.0)
    if augmentation.cutmix:
        side = np.sqrt(1 - random.beta(augmentation.cutmix, augmentation.cutmix, batch))
        heights, widths = ((side * whole).astype(np.int64) for whole in (height, width))
        patches = np.where(blended[:, None], none(batch), draw_rectangles(heights, widths, height, width, random))
        kept = np.where(blended, kept, 1 - area(patches) / (height * width))
    return Mixture(partners, blend.astype(np.float32), patches.astype(np.int32), kept.astype(np.float32))


def mix(images: Any, labels: Any, mixture: Mixture, augmentation: Augmentation) -> tuple[Any, Any]:
    """Mix float32 images [batch, height, width, channels] and labels [batch, classes], as `augmentation` asks."""
    _, height, width, _ = images.shape
    others = tf.gather(images, mixture.partners)
    mixed = images
    if augmentation.mixup:
        blend = tf.reshape(mixture.blend, [-1, 1, 1, 1])
        mixed = blend * images + (1.0 - blend) * others
    if augmentation.cutmix:
        mixed = tf.where(inside(mixture.patches, height, width), others, mixed)
    kept = mixture.kept[:, None]
    return mixed, kept * labels + (1.0 - kept) * tf.gather(labels, mixture.partners)
