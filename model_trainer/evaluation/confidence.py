"""How much an accuracy may owe to the choice of test images: a bootstrap confidence interval.

Efron and Tibshirani: An Introduction to the Bootstrap, 1993, chapter 13, the percentile interval: the test images are
drawn again with replacement, as many as there are, a thousand times; the middle 95 % of the accuracies are the
interval. The hits among n images drawn from n, of which k are hits, are binomially distributed with n and k/n, so they
are drawn as such, in no time for any n.
"""

from __future__ import annotations

import msgspec
import numpy as np

LEVEL = 0.95
RESAMPLES = 1000


class Interval(msgspec.Struct, frozen=True, rename="camel"):
    """The values between which 95 % of the resamples lie, and the seed that they are drawn from."""

    low: float
    high: float
    level: float
    resamples: int
    seed: int


def accuracy_interval(hits: int, images: int, seed: int) -> Interval:
    """The interval for `hits` of `images`. It is a point where all or none were right: resamples show nothing else."""
    drawn = np.random.default_rng(seed).binomial(images, hits / images, RESAMPLES) / images
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), LEVEL, RESAMPLES, seed)
