"""How good a trained model is on images that it never learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import msgspec
import numpy as np
import numpy.typing as npt
from keras_operator.api import Loss

from model_trainer.data.dataset import Dataset
from model_trainer.data.pipeline import Batches, encode
from model_trainer.data.split import Indices


class ClassScore(msgspec.Struct, frozen=True, rename="camel"):
    """One class: of those called it, the part that is (precision); of those that are it, the part called so (recall).

    Both are 0 where nothing was called it, or nothing is; `images` is how many are.
    """

    name: str
    precision: float
    recall: float
    f1: float
    images: int


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """What evaluation.json says of the test part.

    `confusion_matrix[i][j]` counts the images of class i that were taken for class j, in the order of `per_class`.
    """

    accuracy: float
    loss: float
    images: int
    per_class: tuple[ClassScore, ...]
    confusion_matrix: list[list[int]]


@dataclass(frozen=True)
class Scores:
    """Mean loss, and counts [true class, predicted class]."""

    loss: float
    confusion: npt.NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """Part of the images that got their own class."""
        return float(np.trace(self.confusion) / self.confusion.sum())


def score(model: Any, dataset: Dataset, part: Indices, *, loss: Loss, batch_size: int) -> Scores:
    """Run the images of `part` through the model, a batch at a time."""
    classes = len(dataset.classes)
    measure = keras.losses.get(str(loss))
    confusion = np.zeros((classes, classes), dtype=np.int64)
    total = 0.0
    batches = Batches(dataset.pixels, dataset.rows(part), dataset.labels(part), batch_size=batch_size)
    for images, labels in batches.dataset(classes, Loss.SPARSE_CATEGORICAL_CROSSENTROPY):
        probabilities = model.predict_on_batch(images)
        total += float(np.sum(np.asarray(measure(encode(labels, classes, loss), probabilities))))
        np.add.at(confusion, (labels.numpy(), probabilities.argmax(axis=1)), 1)
    return Scores(total / len(part), confusion)


def report(scores: Scores, classes: tuple[str, ...]) -> Report:
    """The test part's scores, class by class."""
    hits = np.diag(scores.confusion).astype(float)
    called, true = scores.confusion.sum(axis=0), scores.confusion.sum(axis=1)
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    recall = np.divide(hits, true, out=np.zeros_like(hits), where=true > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(hits), where=both > 0)
    return Report(
        accuracy=scores.accuracy,
        loss=scores.loss,
        images=int(scores.confusion.sum()),
        per_class=tuple(
            ClassScore(name, float(precision[i]), float(recall[i]), float(f1[i]), int(true[i]))
            for i, name in enumerate(classes)
        ),
        confusion_matrix=scores.confusion.tolist(),
    )
