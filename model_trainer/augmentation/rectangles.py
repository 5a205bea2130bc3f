"""Rectangles in pictures: where Cutout blackens, and where CutMix shows another picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

# [batch, 4] of int32: top, left, bottom, right in pixels; the last two are the first row and column beyond.
Rectangles = npt.NDArray[np.int32]


def none(batch: int) -> Rectangles:
    """Rectangles without area."""
    return np.zeros((batch, 4), np.int32)


def draw_rectangles(
    heights: npt.NDArray[np.int64], widths: npt.NDArray[np.int64], height: int, width: int, random: np.random.Generator
) -> Rectangles:
    """Rectangles of these sides in pictures of height x width, centres anywhere in the picture, cut at its edges.

    A side is twice the half of what is asked for, rounded down, as in the authors' code of both Cutout and CutMix.
    """
    rows = random.integers(height, size=len(heights))
    columns = random.integers(width, size=len(widths))
    down, across = heights // 2, widths // 2
    return np.stack(
        [
            np.clip(rows - down, 0, height),
            np.clip(columns - across, 0, width),
            np.clip(rows + down, 0, height),
            np.clip(columns + across, 0, width),
        ],
        axis=1,
    ).astype(np.int32)


def area(rectangles: Rectangles) -> npt.NDArray[np.int64]:
    """Pixels in each, shape [batch]."""
    top, left, bottom, right = rectangles.T.astype(np.int64)
    pixels: npt.NDArray[np.int64] = (bottom - top) * (right - left)
    return pixels


def inside(rectangles: Any, height: int, width: int) -> Any:
    """A bool tensor [batch, height, width, 1]: which pixels are in the picture's rectangle."""
    top, left, bottom, right = tf.unstack(rectangles[:, None, None, :], axis=-1)
    rows, columns = tf.range(height)[None, :, None], tf.range(width)[None, None, :]
    return ((rows >= top) & (rows < bottom) & (columns >= left) & (columns < right))[..., None]
