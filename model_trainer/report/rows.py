"""Rows of a table in words."""

from __future__ import annotations

import numpy as np

from model_trainer.tables.table import Table

_CELLS_SHOWN = 8


def in_words(table: Table, row: int) -> str:
    """A row as far as it can be taken in: `age 39, town x`."""
    cells = [cells[0] for cells in table.raw(np.array([row]))]
    (first, *_) = table.columns
    if first.size is not None:
        numbers = ", ".join(f"{number:g}" for number in np.asarray(cells[0], np.float64)[:_CELLS_SHOWN])
        return f"{first.name} {numbers}" + (
            f" and {first.size - _CELLS_SHOWN} more" if first.size > _CELLS_SHOWN else ""
        )
    said = [
        f"{column.name} {cell.decode() if isinstance(cell, bytes) else f'{cell:g}'}"
        for column, cell in zip(table.columns[:_CELLS_SHOWN], cells, strict=False)
    ]
    more = len(table.columns) - len(said)
    return ", ".join(said) + (f" and {more} more" if more > 0 else "")
