"""Precision, recall and F1 of each class, and their mean."""

from __future__ import annotations

import msgspec
import numpy as np

from model_trainer.evaluation.answers import Integers


class ClassScore(msgspec.Struct, frozen=True, rename="camel"):
    """One class: of those called it, the part that is (precision); of those that are it, the part called so (recall).

    Both are 0 where nothing was called it, or nothing is; `images` is how many are.
    """

    name: str
    precision: float
    recall: float
    f1: float
    images: int


def class_scores(confusion: Integers, names: tuple[str, ...]) -> tuple[ClassScore, ...]:
    """The score of each class, in their order, from counts [true class, predicted class]."""
    hits = np.diag(confusion).astype(float)
    called, true = confusion.sum(axis=0), confusion.sum(axis=1)
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    recall = np.divide(hits, true, out=np.zeros_like(hits), where=true > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(hits), where=both > 0)
    return tuple(
        ClassScore(name, float(precision[i]), float(recall[i]), float(f1[i]), int(true[i]))
        for i, name in enumerate(names)
    )


def macro_f1(confusion: Integers) -> float:
    """The mean F1 of the classes that have images here or were answered; the others say nothing of the model."""
    seen = (confusion.sum(axis=0) > 0) | (confusion.sum(axis=1) > 0)
    scores = class_scores(confusion, tuple(str(index) for index in range(len(confusion))))
    return float(np.mean([score.f1 for score, counts in zip(scores, seen, strict=True) if counts]))
