"""Batches of whatever a run learns from."""

from __future__ import annotations

from model_trainer.data.dataset import Dataset
from model_trainer.data.pipeline import Batched, Batches, Shuffling
from model_trainer.data.split import Indices
from model_trainer.tables.batches import RowBatches
from model_trainer.tables.table import Table
from model_trainer.workers.place import Shard

AnyDataset = Dataset | Table


def batches_of(
    dataset: AnyDataset,
    part: Indices,
    *,
    batch_size: int,
    shuffling: Shuffling | None = None,
    shard: Shard | None = None,
    raw: bool = False,
) -> Batched:
    """The images or rows of `part` in batches, or one worker's `shard` of each batch.

    Rows come `raw`, as a served model takes them, or encoded.
    """
    if isinstance(dataset, Table):
        return RowBatches(dataset, part, batch_size=batch_size, shuffling=shuffling, shard=shard, raw=raw)
    rows, labels = dataset.rows(part), dataset.labels(part)
    return Batches(dataset.pixels, rows, labels, batch_size=batch_size, shuffling=shuffling, shard=shard)
