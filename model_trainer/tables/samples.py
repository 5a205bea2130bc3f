"""Held-out rows that travel from training to export, to compare the exported model with the trained one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model_trainer.data.split import Indices
from model_trainer.samples import MOST_SAMPLES
from model_trainer.tables.batches import encoded_inputs
from model_trainer.tables.columns import Column, Kind
from model_trainer.tables.table import Table


@dataclass(frozen=True)
class RowSamples:
    """Rows of the test part.

    Attributes:
        columns: the features.
        cells: an array [samples] for each column: float32, or the bytes of UTF-8; of a column of arrays float32
            [samples, size].
        answers: float32 [samples, outputs], what the model answered when it had been trained.
    """

    columns: tuple[Column, ...]
    cells: tuple[npt.NDArray[Any], ...]
    answers: npt.NDArray[np.float32]

    def first(self, count: int) -> dict[str, npt.NDArray[Any]]:
        """The first so many rows, as a request names them."""
        return {column.name: cells[:count] for column, cells in zip(self.columns, self.cells, strict=True)}

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row after the other: number or bytes by column."""
        for row in zip(*self.cells, strict=True):
            yield {column.name: cell for column, cell in zip(self.columns, row, strict=True)}

    def save(self, path: Path) -> None:
        """Write samples.npz: `answers`, and each column's cells by its place."""
        cells: dict[str, Any] = {}
        for place, of_column in enumerate(self.cells):
            cells |= stored_cells(f"column_{place}", of_column)
        np.savez(path, answers=self.answers, **cells)

    @classmethod
    def load(cls, path: Path, columns: tuple[Column, ...]) -> RowSamples:
        """Read samples.npz."""
        with np.load(path, allow_pickle=False) as saved:
            cells = tuple(saved_cells(saved, f"column_{place}", column.kind) for place, column in enumerate(columns))
            return cls(columns, cells, saved["answers"])


def stored_cells(name: str, cells: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Of texts all bytes and where each one ends, instead of objects, which an .npz could only pickle."""
    if cells.dtype != object:
        return {name: cells}
    ends = np.cumsum([len(cell) for cell in cells], dtype=np.int64)
    return {name: np.frombuffer(b"".join(cells), dtype=np.uint8), f"{name}_ends": ends}


def saved_cells(saved: Any, name: str, kind: Kind) -> npt.NDArray[Any]:
    """What `stored_cells` made of a column's cells, in an .npz that is open."""
    cells = saved[name]
    if kind is Kind.NUMERIC:
        return np.asarray(cells, dtype=np.float32)
    ends = [0, *saved[f"{name}_ends"].tolist()]
    return np.array([cells[start:end].tobytes() for start, end in itertools.pairwise(ends)], dtype=object)


def choose_rows(model: Any, table: Table, part: Indices, *, raw: bool = False) -> RowSamples:
    """Up to 256 rows of `part`, spread evenly over it, with what `model`, the trained one, answers.

    `raw` says that it takes the raw columns.
    """
    chosen = part[np.unique(np.linspace(0, len(part) - 1, MOST_SAMPLES, dtype=np.int64))]
    cells = tuple(table.raw(chosen))
    inputs = [tf.constant(of_column) for of_column in cells] if raw else encoded_inputs(table, chosen)
    answers = np.asarray(model.predict_on_batch(inputs), dtype=np.float32)
    return RowSamples(table.columns, cells, answers)
