"""Batches of rows on their way into a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from keras_operator.api import Loss

from model_trainer.data.pipeline import Batched, Shuffling, encode
from model_trainer.data.split import Indices
from model_trainer.tables.columns import Kind
from model_trainer.tables.mlp import IDS, NUMBERS, text_input
from model_trainer.tables.table import Table
from model_trainer.workers.place import Shard


class RowBatches(Batched):
    """Rows of a table, in batches; which ones a batch has is decided as for images.

    `raw` gives them as a client sends them, a list of columns, for a model that was served.
    """

    def __init__(
        self,
        table: Table,
        part: Indices,
        *,
        batch_size: int,
        shuffling: Shuffling | None = None,
        shard: Shard | None = None,
        raw: bool = False,
    ) -> None:
        super().__init__(table.rows(part), table.labels(part), batch_size=batch_size, shuffling=shuffling, shard=shard)
        self._table = table
        self._raw = raw

    def dataset(self, classes: int, loss: Loss) -> Any:
        """A tf.data.Dataset of (what the network takes, labels), the labels as `loss` takes them.

        Where a number is learned, the labels are that: float32 [batch, 1].
        """
        table, rows = self._table, self._rows
        numeric = table.target is not None
        labels = table.values[rows].astype(np.float32) if numeric else self._labels
        if self._raw:
            kinds = [tf.float32 if column.kind is Kind.NUMERIC else tf.string for column in table.columns]
            shapes: list[list[int | None]] = [[None, *column.shape] for column in table.columns]
        else:
            kinds = [tf.float32, tf.int32, *(tf.int32 for _ in table.read)]
            shapes = [[None, table.numbers.shape[1]], [None, table.codes.shape[1]]]
            shapes += [[None, None] for _ in table.read]

        def read(chosen: Indices) -> list[Any]:
            chosen = chosen[self._computed(len(chosen))]
            places = rows[chosen]
            cells = table.raw(places) if self._raw else _encoded(table, places)
            return [*cells, labels[chosen]]

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator] # tensorflow has no types
        def prepare(epoch: Any, step: Any, chosen: Any) -> tuple[Any, Any]:
            del epoch, step
            *cells, of_rows = tf.numpy_function(read, [chosen], [*kinds, labels.dtype], stateful=False)
            shaped = [tf.ensure_shape(cell, shape) for cell, shape in zip(cells, shapes, strict=True)]
            of_rows = tf.ensure_shape(of_rows, [None])
            encoded = of_rows[:, tf.newaxis] if numeric else encode(of_rows, classes, loss)
            return (tuple(shaped) if self._raw else inputs_of(*shaped)), encoded

        return self._chosen().map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def _encoded(table: Table, rows: Indices) -> list[Any]:
    return [table.numbers[rows], np.ascontiguousarray(table.ids[rows]), *table.padded(rows)]


def inputs_of(numbers: Any, ids: Any, *texts: Any) -> dict[str, Any]:
    """The inputs of the network by name; without those of a kind that the table does not have."""
    inputs = {name: cells for name, cells in ((NUMBERS, numbers), (IDS, ids)) if cells.shape[1]}
    return inputs | {text_input(place): tokens for place, tokens in enumerate(texts)}


def encoded_inputs(table: Table, rows: Indices) -> dict[str, Any]:
    """The network's inputs for these rows."""
    return inputs_of(*_encoded(table, rows))
