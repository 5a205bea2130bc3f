"""Rows of a table in words."""

from __future__ import annotations

import numpy as np

from model_trainer.tables.table import Table

_CELLS_SHOWN = 8
_LETTERS_SHOWN = 200


def in_words(table: Table, row: int) -> str:
    """A row as far as it can be taken in: `age 39, town x`."""
    cells = [cells[0] for cells in table.raw(np.array([row]))]
    said = [f"{column.name} {_cell(cell)}" for column, cell in zip(table.columns[:_CELLS_SHOWN], cells, strict=False)]
    more = len(table.columns) - len(said)
    return ", ".join(said) + (f" and {more} more" if more > 0 else "")


def _cell(cell: object) -> str:
    if isinstance(cell, bytes):
        text = cell.decode()
        return f"{text[:_LETTERS_SHOWN]}…" if len(text) > _LETTERS_SHOWN else text
    numbers = np.atleast_1d(np.asarray(cell, np.float64))
    more = len(numbers) - _CELLS_SHOWN
    return ", ".join(f"{number:g}" for number in numbers[:_CELLS_SHOWN]) + (f" and {more} more" if more > 0 else "")
