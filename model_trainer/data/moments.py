"""Means and deviations of images, of whole numbers summed: every worker and every later pod finds the very same."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from model_trainer.data.decoding import Pixels
from model_trainer.data.split import Indices

# Rows that are summed at a time, so that a set on the scratch volume is never in memory as a whole.
_ROWS = 256


@dataclass(frozen=True)
class Moments:
    """What images have in common.

    Attributes:
        mean_image: the mean of each pixel, rounded.
        means: of each channel, from 0 to 1.
        deviations: standard deviation of each channel, from 0 to 1.
    """

    mean_image: Pixels
    means: tuple[float, ...]
    deviations: tuple[float, ...]


def moments_of(pixels: Pixels, rows: Indices) -> Moments:
    """Of `rows` of `pixels`, each of which is read once."""
    total = np.zeros(pixels.shape[1:], dtype=np.uint64)
    squares = [0] * pixels.shape[-1]
    for start in range(0, len(rows), _ROWS):
        block = pixels[rows[start : start + _ROWS]]
        total += block.sum(axis=0, dtype=np.uint64)
        # Whole numbers below 2^53, which a float holds exactly.
        of_block = np.einsum("nhwc,nhwc->c", block, block, dtype=np.float64)
        squares = [before + int(more) for before, more in zip(squares, of_block, strict=True)]
    count = len(rows) * total.size // len(squares)
    sums = [int(one) for one in total.sum(axis=(0, 1))]
    return Moments(
        np.round(total / len(rows)).astype(np.uint8),
        tuple(one / (count * 255) for one in sums),
        tuple(sqrt(count * square - one * one) / (count * 255) for square, one in zip(squares, sums, strict=True)),
    )
