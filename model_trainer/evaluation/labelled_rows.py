"""Rows of arrays or of a table that a source is evaluated on: read as a servable takes them, and asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from keras_operator.api import Data, DataFormat, EvaluationData, EvaluationFormat, TargetKind, Training
from keras_operator.api import Table as Wanted

from model_trainer.context import Context
from model_trainer.data.split import Indices, Split
from model_trainer.evaluation.asked_rows import AskedRows, inputs_of_rows
from model_trainer.evaluation.labelled_images import FIELD
from model_trainer.evaluation.measuring import AnyAnswers, answers_of
from model_trainer.evaluation.rows_way import STRING
from model_trainer.evaluation.source_record import RowsWay
from model_trainer.npz.labelled import LabelledArrays
from model_trainer.samples import MOST_SAMPLES, PREDICT_BATCH
from model_trainer.tables.labelled import LabelledTable
from model_trainer.tables.table import Table

LabelledRows = LabelledArrays | LabelledTable
_NONE = np.array([], dtype=np.int64)


def labelled_rows(test: EvaluationData, endpoint: str | None, context: Context) -> LabelledRows:
    """What lies under the address of a test set of rows. Raises BadData, StoreError."""
    kind = LabelledArrays if test.format is EvaluationFormat.NPZ else LabelledTable
    return kind(test, endpoint, context, FIELD)


@dataclass(frozen=True)
class RowsRead:
    """The test rows as `way` takes them; all of them are one part. `shape` is of a row of an array, None of a table."""

    table: Table
    way: RowsWay
    shape: tuple[int, ...] | None
    training: Training

    @property
    def split(self) -> Split:
        """Nothing to learn from, and everything to test on."""
        return Split(_NONE, _NONE, np.arange(len(self.table.examples), dtype=np.int64))

    def ask(self, directory: Path, refuse: Callable[[str], Exception], order: Indices | None = None) -> AnyAnswers:
        """What the servable in a folder says to each of the rows; see AskedRows."""
        table = self.table
        keys = [example.key for example in table.examples]
        asked = AskedRows(directory, self.way, len(table.classes), self.shape, keys, refuse, order)
        return answers_of(asked, table, self.split.test, self.training, served=True)

    def samples(self) -> Iterator[Mapping[str, Any]] | None:
        """Up to 256 of the rows as the signature takes them, a few at a time; None where it takes words."""
        if any(taken.dtype == STRING for taken in self.way.inputs):
            return None
        return self._samples()

    def _samples(self) -> Iterator[Mapping[str, Any]]:
        count = len(self.table.examples)
        chosen = np.unique(np.linspace(0, count - 1, MOST_SAMPLES, dtype=np.int64))
        for start in range(0, len(chosen), PREDICT_BATCH):
            cells = self.table.raw(chosen[start : start + PREDICT_BATCH])
            inputs = inputs_of_rows(self.way, cells, self.shape)
            yield {name: tensor.numpy() for name, tensor in inputs.items()}


def read_rows(
    rows: LabelledRows, test: EvaluationData, way: RowsWay, names: tuple[str, ...], outputs: int, what: str
) -> RowsRead:
    """Read what `way` takes of the rows; see `LabelledTable.read`."""
    table = rows.read(way, names, outputs, what)
    target = Wanted(target=table.target.name, target_kind=TargetKind.NUMERIC) if table.target else None
    # What is measured is what every training measures that asks for nothing more.
    training = Training(data=Data(uri=test.uri, format=DataFormat(test.format), table=target))
    return RowsRead(table, way, rows.shape, training)
