"""What a model says to each image of a part: everything that is measured afterwards is made of these few numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from keras_operator.api import Loss, Training

from model_trainer.batching import AnyDataset, batches_of
from model_trainer.data.dataset import Labels
from model_trainer.data.pipeline import Batched, encode
from model_trainer.data.split import Indices
from model_trainer.losses import loss_of_each
from model_trainer.measures import measures_of

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """One entry for each image of the part, in its order; 40 bytes an image, however many classes there are.

    Attributes:
        classes: how many there are.
        labels: the image's class.
        predicted: the class that got the highest probability, the first of them where several did.
        rank: how many classes come before the image's own, by probability and then by number; 0 for a hit.
        confidence: the highest probability.
        losses: the loss.
        measured: what Keras' metrics measured of the whole part, by their names.
    """

    classes: int
    labels: Labels
    predicted: Integers
    rank: Integers
    confidence: Floats
    losses: Floats
    measured: Mapping[str, float] = field(default_factory=dict)

    @property
    def hits(self) -> npt.NDArray[np.bool_]:
        """Whether each image got its own class."""
        hits: npt.NDArray[np.bool_] = self.predicted == self.labels
        return hits

    @property
    def accuracy(self) -> float:
        """Part of the images that got their own class."""
        return float(self.hits.mean())

    @property
    def loss(self) -> float:
        """Mean loss."""
        return float(self.losses.mean())

    def top(self, count: int) -> float:
        """Part of the images whose own class is among the `count` most probable ones."""
        return float((self.rank < count).mean())

    @property
    def confusion(self) -> Integers:
        """Counts [true class, predicted class]."""
        counts = np.bincount(self.labels * self.classes + self.predicted, minlength=self.classes**2)
        return counts.reshape(self.classes, self.classes)


def ask(
    model: Any,
    dataset: AnyDataset,
    part: Indices,
    training: Training,
    *,
    served: bool = False,
    batches: Batched | None = None,
) -> Answers:
    """Run the images or rows of `part` through the model, a batch at a time.

    `served` says that the model is one that was kept, which takes the raw columns of a table; `batches` are those of
    `part` where it takes neither pixels nor rows.
    """
    classes, loss, batch_size = len(dataset.classes), training.objective, training.batch_size
    measure = loss_of_each(training)
    measures = measures_of(training.metrics)
    labels_of_part = dataset.labels(part)
    told = []
    batches = batches or batches_of(dataset, part, batch_size=batch_size, raw=served)
    for inputs, labels in batches.dataset(classes, Loss.SPARSE_CATEGORICAL_CROSSENTROPY):
        probabilities = np.asarray(model.predict_on_batch(inputs))
        losses = np.asarray(measure(encode(labels, classes, loss), probabilities), dtype=np.float64)
        for each in measures:
            each.update_state(encode(labels, classes, Loss.CATEGORICAL_CROSSENTROPY), probabilities)
        told.append((*_ranked(probabilities, labels.numpy()), losses))
    predicted, rank, confidence, losses = (np.concatenate(column) for column in zip(*told, strict=True))
    measured = {each.name: float(each.result()) for each in measures}
    return Answers(classes, labels_of_part, predicted, rank, confidence, losses, measured)


def _ranked(probabilities: npt.NDArray[Any], labels: Labels) -> tuple[Integers, Integers, Floats]:
    """Predicted class, rank of the own class, and highest probability of each image of a batch."""
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)
    before = np.arange(probabilities.shape[1]) < labels[:, None]
    rank = ((probabilities > own) | ((probabilities == own) & before)).sum(axis=1)
    return probabilities.argmax(axis=1), rank, probabilities.max(axis=1).astype(np.float64)
