"""The rows of a table on their way past the team's container: two parts as CSV files, and all of it kept from it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from keras_operator.api import RunSpec
from keras_operator.api import Table as Wanted

from model_trainer.data.dataset import Example
from model_trainer.data.split import Indices, Split
from model_trainer.failure import BadData
from model_trainer.own_image.folders import CELLS, DESCRIPTION, PREPARED, ROWS, Folders
from model_trainer.tables.columns import Column, Kind
from model_trainer.tables.rows import RowsRead, described
from model_trainer.tables.samples import saved_cells, stored_cells
from model_trainer.tables.table import Table

# Rows that are written at a time: all of them would be as many strings as there are cells.
_BLOCK = 4096


class PreparedRows(msgspec.Struct, frozen=True):
    """prepared.json: everything of the table but its numbers and texts.

    Attributes:
        classes, columns, words, examples, files: see Table.
        train, validation, test: indices into `examples`.
        times: when what happened before the team's container began.
    """

    classes: tuple[str, ...]
    columns: tuple[Column, ...]
    words: tuple[tuple[str, ...], ...]
    examples: tuple[Example, ...]
    files: int
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    times: dict[str, datetime]


def hand_over_rows(
    table: Table, split: Split, wanted: Wanted, times: Mapping[str, datetime], spec: RunSpec, folders: Folders
) -> None:
    """Write what the team's container learns from, and beside it, unseen, all that is needed to go on after it.

    Raises:
        BadData: a column has arrays, which no cell of a CSV file holds.
        OSError: ENOSPC, a volume is full.
    """
    if arrays := [column.name for column in table.columns if column.size is not None]:
        raise BadData(
            f"The column {arrays[0]!r} has an array in each row, and an image of your own is given tables of one "
            "number, word or text a cell. Name it in spec.training.data.table.ignored, write its numbers as columns "
            "of their own, or remove spec.training.container."
        )
    for part, rows in (("train", split.train), ("validation", split.validation)):
        _write_rows(folders.data / ROWS.format(part=part), table, rows, wanted.target)
    about = {
        "model": spec.model,
        "target": wanted.target,
        "classes": table.classes,
        "columns": [{"name": column.name, "kind": column.kind} for column in table.columns],
        "train": len(split.train),
        "validation": len(split.validation),
    }
    (folders.data / DESCRIPTION).write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=1))

    texts: dict[str, Any] = {}
    for place in range(table.texts.shape[1]):
        texts |= stored_cells(f"text_{place}", table.texts[:, place])
    np.savez(folders.prepared / CELLS, numbers=table.numbers, codes=table.codes, values=table.values, **texts)
    train, validation, test = (tuple(part.tolist()) for part in (split.train, split.validation, split.test))
    prepared = PreparedRows(
        classes=table.classes,
        columns=table.columns,
        words=table.words,
        examples=table.examples,
        files=table.files,
        train=train,
        validation=validation,
        test=test,
        times=dict(times),
    )
    (folders.prepared / PREPARED).write_bytes(msgspec.json.encode(prepared))


def taken_up_rows(wanted: Wanted, folders: Folders) -> tuple[Table, Split, PreparedRows]:
    """The table as it was handed over."""
    prepared = msgspec.json.decode((folders.prepared / PREPARED).read_bytes(), type=PreparedRows)
    split = Split(*(np.array(part, dtype=np.int64) for part in (prepared.train, prepared.validation, prepared.test)))
    with np.load(folders.prepared / CELLS, allow_pickle=False) as saved:
        count = sum(column.kind is Kind.TEXT for column in prepared.columns)
        texts = [saved_cells(saved, f"text_{place}", Kind.TEXT) for place in range(count)]
        read = RowsRead(
            rows=(),
            columns=prepared.columns,
            numbers=saved["numbers"],
            codes=saved["codes"],
            words=prepared.words,
            texts=np.column_stack([np.empty((len(prepared.examples), 0), dtype=object), *texts]),
            values=None if prepared.classes else saved["values"],
            files=prepared.files,
        )
    return described(read, wanted, prepared.classes, prepared.examples, split), split, prepared


def _write_rows(path: Path, table: Table, rows: Indices, target: str) -> None:
    """A CSV file in UTF-8 with a header line: the features in their order, and the target last."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(column.name for column in table.columns), target])
        for start in range(0, len(rows), _BLOCK):
            chosen = rows[start : start + _BLOCK]
            cells = [_spelled(of_column) for of_column in table.raw(chosen)]
            if table.target is None:
                targets = [table.classes[label] for label in table.labels(chosen).tolist()]
            else:
                targets = [repr(value) for value in table.values[chosen].tolist()]
            writer.writerows(zip(*cells, targets, strict=True))


def _spelled(cells: npt.NDArray[np.generic]) -> list[str]:
    """A float32 in the fewest digits that name it, or a text."""
    return [cell.decode() if isinstance(cell, bytes) else str(cell) for cell in cells]
