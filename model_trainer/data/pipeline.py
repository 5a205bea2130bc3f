"""Batches on their way into a network: float32 images in [0, 1] and labels, shuffled and augmented for training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from keras_operator.api import OF_CLASS_INDICES, Augmentation, Loss

from model_trainer.augmentation import Drawn, augment, draw, is_off
from model_trainer.data.dataset import Labels
from model_trainer.data.decoding import Pixels, rescale
from model_trainer.data.split import Indices
from model_trainer.workers.place import Shard


@dataclass(frozen=True)
class Shuffling:
    """What makes training batches random; everything is drawn from `seed` and the epoch, so a run can be repeated."""

    seed: int
    augmentation: Augmentation


class Batched(ABC):
    """Examples in batches; each iteration of `dataset` is one epoch, and then comes the next.

    What a batch holds follows from the seed, the epoch and the step alone: a run can go on in the middle of an epoch.

    Args:
        rows: where each example is.
        labels: its class index.
        batch_size: examples in a batch.
        shuffling: what makes training batches random; None for the order of `rows`.
        shard: which part of each batch `dataset` gives; None for all of it.
    """

    def __init__(
        self,
        rows: Indices,
        labels: Labels,
        *,
        batch_size: int,
        shuffling: Shuffling | None = None,
        shard: Shard | None = None,
    ) -> None:
        self._rows = rows
        self._labels = labels
        self._batch_size = batch_size
        self._shuffling = shuffling
        self._shard = shard
        self._next = (0, 0)

    @property
    def steps(self) -> int:
        """Batches in an epoch; the last one may be smaller."""
        return -(-len(self._rows) // self._batch_size)

    def begin_at(self, epoch: int, step: int) -> None:
        """Let the next `dataset` give epoch `epoch`, 0 and up, without its first `step` batches.

        With a `step` above 0 that dataset is for one iteration; ask for another for the epochs after it.
        """
        self._next = (epoch, step)

    def batch(self, epoch: int, step: int) -> Indices:
        """The places in `rows` of the examples of one batch."""
        return self._in_batches(self._order(epoch))[step]

    def size(self, step: int) -> int:
        """Examples in the whole batch of this step of every epoch."""
        return min(self._batch_size, len(self._rows) - step * self._batch_size)

    @abstractmethod
    def dataset(self, classes: int, loss: Loss) -> Any:
        """A tf.data.Dataset of (what a network takes, labels), the labels as `loss` takes them."""

    def _chosen(self) -> Any:
        """A tf.data.Dataset of epoch, step, and places in `rows`, for each batch."""
        spec = tuple(tf.TensorSpec(shape, tf.int64) for shape in ([], [], [None]))
        batches = tf.data.Dataset.from_generator(self._places, output_signature=spec)
        return batches.apply(tf.data.experimental.assert_cardinality(self.steps - self._next[1]))

    def _places(self) -> Iterator[tuple[int, int, Indices]]:
        """Epoch, step, and places in `rows`, for each batch of the next epoch."""
        epoch, first = self._next
        self._next = (epoch + 1, 0)
        for step, chosen in enumerate(self._in_batches(self._order(epoch))[first:], first):
            yield epoch, step, chosen

    def _order(self, epoch: int) -> Indices:
        order = np.arange(len(self._rows))
        if self._shuffling:
            np.random.default_rng([self._seed, epoch]).shuffle(order)
        return order

    def _in_batches(self, order: Indices) -> list[Indices]:
        return [order[start : start + self._batch_size] for start in range(0, len(order), self._batch_size)]

    def _computed(self, count: int) -> slice:
        """What `dataset` gives of a batch of so many examples."""
        return self._shard.computed(count) if self._shard else slice(None)

    @property
    def _seed(self) -> int:
        return self._shuffling.seed if self._shuffling else 0


class Batches(Batched):
    """The images in `rows` of `pixels`, in batches."""

    def __init__(
        self,
        pixels: Pixels,
        rows: Indices,
        labels: Labels,
        *,
        batch_size: int,
        shuffling: Shuffling | None = None,
        shard: Shard | None = None,
    ) -> None:
        super().__init__(rows, labels, batch_size=batch_size, shuffling=shuffling, shard=shard)
        self._pixels = pixels

    def dataset(self, classes: int, loss: Loss) -> Any:
        """A tf.data.Dataset of (images [batch, height, width, channels], labels), the labels as `loss` takes them."""
        # Reading rows is mostly copying, which leaves the interpreter free; where they lie on a disk it is waiting.
        batches = self._chosen().map(self._read, num_parallel_calls=tf.data.AUTOTUNE)

        # Plain Python decides what is asked for, once; there is nothing for AutoGraph to rewrite.
        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator] # tensorflow has no types
        def prepare(pixels: Any, labels: Any, drawn: Any) -> tuple[Any, Any]:
            encoded = encode(labels, classes, loss)
            return (rescale(pixels), encoded) if drawn is None else augment(pixels, encoded, drawn, self._augmentation)

        prepared = batches.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        if self._mixes:
            prepared = prepared.map(self._part, num_parallel_calls=tf.data.AUTOTUNE)
        return prepared.prefetch(2)

    @property
    def _mixes(self) -> bool:
        """Whether what a worker computes with is mixed with images of other workers' parts, and so is cut out last."""
        return self._shard is not None and bool(self._augmentation.mixup or self._augmentation.cutmix)

    def _part(self, images: Any, labels: Any) -> tuple[Any, Any]:
        """Graph operations: a worker's part of a whole batch."""

        def part(images: Any, labels: Any) -> tuple[Any, Any]:
            own = self._computed(len(labels))
            return images[own], labels[own]

        cut = tf.numpy_function(part, [images, labels], [images.dtype, labels.dtype], stateful=False)
        shaped = [
            tf.ensure_shape(one, [None, *whole.shape[1:]]) for one, whole in zip(cut, (images, labels), strict=True)
        ]
        return shaped[0], shaped[1]

    @property
    def _augmentation(self) -> Augmentation:
        return self._shuffling.augmentation if self._shuffling else Augmentation()

    def _read(self, epoch: Any, step: Any, chosen: Any) -> tuple[Any, Any, Any]:
        """Graph operations: a batch's pixels, its class indices, and what was drawn for it, or None."""
        height, width, channels = self._pixels.shape[1:]

        def drawn(epoch: int, step: int, count: int) -> Drawn:
            # Each batch has a generator of its own: none has to be drawn to know what a later one is. Zeros at the end
            # of a seed change nothing, and the order has the shorter one.
            random = np.random.default_rng([self._seed, epoch, step + 1])
            return draw(self._augmentation, count, height, width, random)

        def read(epoch: int, step: int, chosen: Indices) -> list[Any]:
            # What is drawn is drawn for the whole batch: a worker gets what one that is alone would have.
            own = slice(None) if self._mixes else self._computed(len(chosen))
            found = [self._pixels[self._rows[chosen[own]]], self._labels[chosen[own]]]
            return found if off else found + [one[own] for one in tf.nest.flatten(drawn(epoch, step, len(chosen)))]

        off = is_off(self._augmentation)
        first = drawn(0, 0, 1)
        kinds = [tf.uint8, tf.int64] + ([] if off else [array.dtype for array in tf.nest.flatten(first)])
        pixels, labels, *arrays = tf.numpy_function(read, [epoch, step, chosen], kinds, stateful=False)
        pixels.set_shape([None, height, width, channels])
        labels.set_shape([None])
        if off:
            return pixels, labels, None
        shaped = [
            tf.ensure_shape(array, [None, *like.shape[1:]])
            for array, like in zip(arrays, tf.nest.flatten(first), strict=True)
        ]
        return pixels, labels, tf.nest.pack_sequence_as(first, shaped)


def encode(labels: Any, classes: int, loss: Loss) -> Any:
    """Labels as `loss` takes them: class indices for a sparse one, else one-hot float32 [batch, classes]."""
    if loss in OF_CLASS_INDICES:
        return labels
    return tf.one_hot(labels, classes, dtype=tf.float32)
