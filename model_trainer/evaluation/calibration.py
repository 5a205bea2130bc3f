"""Does a model that says 0.9 get nine of ten right?

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, equations 2 to 4: images are put into
15 bins of equal width by the highest probability, (0, 1/15], (1/15, 2/15] … In a calibrated model a bin's accuracy is
its mean confidence. The expected calibration error is the mean difference of the two, weighted by the bins' images.
"""

from __future__ import annotations

import msgspec
import numpy as np

from model_trainer.evaluation.answers import Answers

BINS = 15


class Bin(msgspec.Struct, frozen=True, rename="camel"):
    """The images whose confidence lies in (low, high]: how many, their mean confidence, the part that was right."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


class Calibration(msgspec.Struct, frozen=True, rename="camel"):
    """The expected calibration error, from 0 to 1, and the bins that have images."""

    ece: float
    bins: tuple[Bin, ...]


def calibration(answers: Answers) -> Calibration:
    """How far the confidence of answers is from how often they are right."""
    edges = np.linspace(0.0, 1.0, BINS + 1)
    # The upper edge belongs to a bin. What rounding puts above 1 belongs to the last one.
    place = np.minimum(np.searchsorted(edges[1:-1], answers.confidence, side="left"), BINS - 1)
    bins = []
    for index in np.unique(place):
        inside = place == index
        bins.append(
            Bin(
                low=float(edges[index]),
                high=float(edges[index + 1]),
                images=int(inside.sum()),
                confidence=float(answers.confidence[inside].mean()),
                accuracy=float(answers.hits[inside].mean()),
            )
        )
    total = len(answers.labels)
    return Calibration(sum(each.images / total * abs(each.accuracy - each.confidence) for each in bins), tuple(bins))
