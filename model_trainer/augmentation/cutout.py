"""Cutout: a black rectangle in each image.

DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout" (2017), section 3.2: the
centre is anywhere in the picture, so that part of the rectangle may lie outside. Their square becomes a rectangle of
the picture's proportions, which is the same where pictures are square.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from keras_operator.api import Augmentation

from model_trainer.augmentation.rectangles import Rectangles, draw_rectangles, inside


def draw_holes(
    augmentation: Augmentation, batch: int, height: int, width: int, random: np.random.Generator
) -> Rectangles:
    """The rectangle of each of `batch` images."""
    heights, widths = (np.full(batch, round(augmentation.cutout * side)) for side in (height, width))
    return draw_rectangles(heights, widths, height, width, random)


def cut_out(images: Any, holes: Any) -> Any:
    """Blacken `holes` in float32 images [batch, height, width, channels]."""
    _, height, width, _ = images.shape
    return tf.where(inside(holes, height, width), 0.0, images)
