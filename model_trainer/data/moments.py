"""Means and deviations of images, of whole numbers summed: every worker and every later pod finds the very same."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_trainer.data.decoding import Pixels
from model_trainer.data.split import Indices

# Rows that are summed at a time, so that a set on the scratch volume is never in memory as a whole.
_ROWS = 256


# Singular values below this part of the largest one are of directions that no image has: what is there is rounding.
_NOTHING = 2e-6


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
        tuple(math.sqrt(count * square - one * one) / (count * 255) for square, one in zip(squares, sums, strict=True)),
    )


def whitening_of(
    pixels: Pixels, rows: Indices, moments: Moments, *, factor: float, epsilon: float
) -> npt.NDArray[np.float32]:
    """The matrix [levels, levels] by which `ImageDataGenerator` whitens images, flattened and without their mean.

    Args:
        pixels: uint8 images.
        rows: of those that it is made of.
        moments: of the same rows.
        factor: of levels from 0 to 1.
        epsilon: added to each singular value.
    """
    size = math.prod(pixels.shape[1:])
    products = np.zeros((size, size))
    for start in range(0, len(rows), _ROWS):
        block = (pixels[rows[start : start + _ROWS]] / 255.0 - moments.means) * factor
        flat = block.reshape(len(block), size)
        products += flat.T @ flat
    # The singular values of all images are the roots of the eigenvalues of their products, which need no images.
    values, vectors = np.linalg.eigh(products)
    singular = np.sqrt(np.maximum(values, 0.0))
    there = singular > _NOTHING * singular[-1]
    gains = np.where(there, math.sqrt(len(rows)) / (singular + epsilon), 0.0)
    matrix: npt.NDArray[np.float32] = ((vectors * gains) @ vectors.T).astype(np.float32)
    return matrix
