"""The data of a training, in whichever format it lies."""

from __future__ import annotations

from dataclasses import dataclass

from keras_operator.api import DataFormat, Training

from model_trainer.batching import AnyDataset
from model_trainer.context import Context
from model_trainer.data.reading import Origin, places_of, read_data
from model_trainer.data.split import Split
from model_trainer.npz.reading import read_npz
from model_trainer.tables.reading import read_table
from model_trainer.tables.table import Table
from model_trainer.tables.target import check_loss
from model_trainer.tfrecord.images import read_record_images
from model_trainer.tfrecord.rows import read_record_rows


@dataclass(frozen=True)
class Learnable:
    """Images or rows, the parts that they are split into, and where an image can be read again; None: it is no file."""

    dataset: AnyDataset
    split: Split
    places: Origin | None = None


def read_dataset(training: Training, endpoint: str | None, context: Context) -> Learnable:
    """Find, fetch and split what a training learns from.

    Raises:
        RunFailure, StoreError: there is none, or it cannot be used; see `failure_of`.
    """
    learnable = _read(training, endpoint, context)
    table = learnable.dataset
    if isinstance(table, Table) and table.target is not None:
        check_loss(training, table.target.name, table.values)
    if context.cache is not None:
        context.cache.settle()
    return learnable


def _read(training: Training, endpoint: str | None, context: Context) -> Learnable:
    data = training.data
    match data.format:
        case DataFormat.CSV:
            return Learnable(*read_table(data, endpoint, context))
        case DataFormat.NPZ:
            return Learnable(*read_npz(training, endpoint, context))
        case DataFormat.TFRECORD if data.table is not None:
            return Learnable(*read_record_rows(data, endpoint, context))
        case DataFormat.TFRECORD:
            return Learnable(*read_record_images(data, endpoint, context))
        case DataFormat.IMAGE_FOLDER:
            places = places_of(data, endpoint, context)
            return Learnable(*read_data(data, places, context), places)
