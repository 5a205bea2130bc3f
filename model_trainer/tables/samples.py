"""Held-out rows that travel from training to export, to compare the exported model with the trained one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
        cells: dict[str, Any] = {f"column_{place}": _fixed(cells) for place, cells in enumerate(self.cells)}
        np.savez(path, answers=self.answers, **cells)

    @classmethod
    def load(cls, path: Path, columns: tuple[Column, ...]) -> RowSamples:
        """Read samples.npz."""
        with np.load(path, allow_pickle=False) as saved:
            cells = tuple(
                saved[f"column_{place}"].astype(np.float32 if column.kind is Kind.NUMERIC else object)
                for place, column in enumerate(columns)
            )
            return cls(columns, tuple(map(_as_bytes, cells)), saved["answers"])


def _fixed(cells: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Texts of one length instead of objects, which an .npz could only pickle."""
    return np.array([cell.decode() for cell in cells], dtype=np.str_) if cells.dtype == object else cells


def _as_bytes(cells: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.array([cell.encode() for cell in cells], dtype=object) if cells.dtype == object else cells


def choose_rows(model: Any, table: Table, part: Indices) -> RowSamples:
    """Up to 256 rows of `part`, spread evenly over it, with what `model`, the trained one, answers."""
    chosen = part[np.unique(np.linspace(0, len(part) - 1, MOST_SAMPLES, dtype=np.int64))]
    answers = np.asarray(model.predict_on_batch(encoded_inputs(table, chosen)), dtype=np.float32)
    return RowSamples(table.columns, tuple(table.raw(chosen)), answers)
