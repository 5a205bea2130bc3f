"""Batches on their way into a network: float32 images in [0, 1] and labels, shuffled and augmented for training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from keras_operator.api import Augmentation, Loss

from model_trainer.augmentation import draw, is_off, transforms, warp
from model_trainer.data.dataset import Labels
from model_trainer.data.decoding import Pixels, rescale
from model_trainer.data.split import Indices


@dataclass(frozen=True)
class Shuffling:
    """What makes training batches random; everything is drawn from `seed` and the epoch, so a run can be repeated."""

    seed: int
    augmentation: Augmentation


class Batches:
    """The images in `rows` of `pixels`, in batches; each iteration of `dataset` is one epoch."""

    def __init__(
        self, pixels: Pixels, rows: Indices, labels: Labels, *, batch_size: int, shuffling: Shuffling | None = None
    ) -> None:
        self._pixels = pixels
        self._rows = rows
        self._labels = labels
        self._batch_size = batch_size
        self._shuffling = shuffling
        self._epoch = 0

    @property
    def steps(self) -> int:
        """Batches in an epoch; the last one may be smaller."""
        return -(-len(self._rows) // self._batch_size)

    def dataset(self, classes: int, loss: Loss) -> Any:
        """A tf.data.Dataset of (images [batch, height, width, channels], labels), the labels as `loss` takes them."""
        height, width, channels = self._pixels.shape[1:]
        spec = (
            tf.TensorSpec([None, height, width, channels], tf.uint8),
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None, 8], tf.float32),
        )
        augment = self._shuffling is not None and not is_off(self._shuffling.augmentation)

        def prepare(pixels: Any, labels: Any, matrices: Any) -> tuple[Any, Any]:
            images = rescale(pixels)
            return (warp(images, matrices) if augment else images), encode(labels, classes, loss)

        batches = tf.data.Dataset.from_generator(self._batches, output_signature=spec)
        batches = batches.apply(tf.data.experimental.assert_cardinality(self.steps))
        return batches.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)

    def _batches(self) -> Iterator[tuple[Pixels, Labels, Any]]:
        height, width = self._pixels.shape[1:3]
        self._epoch += 1
        order = np.arange(len(self._rows))
        random = np.random.default_rng([self._shuffling.seed if self._shuffling else 0, self._epoch])
        if self._shuffling:
            random.shuffle(order)
        for start in range(0, len(order), self._batch_size):
            chosen = order[start : start + self._batch_size]
            augmentation = self._shuffling.augmentation if self._shuffling else Augmentation()
            matrices = transforms(draw(augmentation, len(chosen), random), height, width)
            yield self._pixels[self._rows[chosen]], self._labels[chosen], matrices


def encode(labels: Any, classes: int, loss: Loss) -> Any:
    """Labels as `loss` takes them: class indices for the sparse one, else one-hot float32 [batch, classes]."""
    if loss is Loss.SPARSE_CATEGORICAL_CROSSENTROPY:
        return labels
    return tf.one_hot(labels, classes, dtype=tf.float32)
