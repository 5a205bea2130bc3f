"""Rows in TFRecord files: each record's features are the columns of a table.

As in other tables a row is known by the SHA-256 of its features.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterable

import numpy as np
from keras_operator.api import Data, TargetKind
from keras_operator.api import Table as Wanted

from model_trainer import machine
from model_trainer.context import Context
from model_trainer.data.cache import MEMORY_SHARE
from model_trainer.data.split import Split
from model_trainer.failure import BadData
from model_trainer.tables.columns import Cells, Column, Kind
from model_trainer.tables.lines import named
from model_trainer.tables.rows import BYTES_OF_A_BYTE, BYTES_OF_A_ROW, Row, RowsRead, no_such_column, table_of
from model_trainer.tables.table import Table
from model_trainer.tfrecord.examples import BYTES, FLOAT, INT, Example, Feature
from model_trainer.tfrecord.files import Record, records_of
from model_trainer.tfrecord.labels import class_of, order_of

_FIELD = "spec.training.data.table"
_FLOAT_MAX = float(np.finfo(np.float32).max)
# While rows are read and split: the array that grows, the part that is learned from, and its variance.
_BYTES_OF_A_NUMBER = 16


def read_record_rows(data: Data, endpoint: str | None, context: Context) -> tuple[Table, Split]:
    """Find, read and split the rows.

    Raises:
        BadData, OneClass: nothing can be learned from what is there, with file and record.
        StoreError: the store failed for longer than the context's patience, or for good.
    """
    if data.table is None:
        raise BadData(f"{_FIELD} is missing: it names the feature that is to be learned.")
    reader = _Reader(data.table)
    for record in records_of(data, endpoint, context):
        reader.take(record)
    return reader.split(data)


class _Reader:
    """Takes one record after the other; the first one says what the columns are."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._memory = machine.memory_bytes() * MEMORY_SHARE
        self._columns: tuple[Column, ...] = ()
        self._first = ""
        self._files: set[str] = set()
        self._numbers = array("f")
        self._cells: dict[str, Cells] = {}
        self._values = array("d") if wanted.target_kind is TargetKind.NUMERIC else None
        self._rows: list[Row] = []

    def take(self, record: Record) -> None:
        example = record.example
        if not self._columns:
            self._learn_columns(example)
        self._check_names(example)
        known: list[str] = []
        for column in self._columns:
            feature = example.feature(column.name, f"{_FIELD}.{column.kind}")
            if column.kind is Kind.NUMERIC:
                numbers = self._take_numbers(example, column, feature)
                known.append(f"{column.name}\0{' '.join(map(repr, numbers))}")
            else:
                cell = (_text if column.kind is Kind.TEXT else _word)(example, column, feature)
                known.append(f"{column.name}\0{self._cells[column.name].add(cell, example.where)}")
        sha256 = hashlib.sha256("\0".join(known).encode()).hexdigest()
        self._rows.append(Row(record.key, self._target(example), sha256, record.part))
        self._files.add(record.file)
        self._check_memory()

    def _learn_columns(self, example: Example) -> None:
        wanted, names = self._wanted, example.names
        asked = [("target", wanted.target)]
        asked += [(kind, name) for kind in (*Kind, "ignored") for name in getattr(wanted, kind)]
        for field, name in asked:
            if name not in names:
                raise example.bad(f"has no column {no_such_column(name, field, names)[:-1]}")
        kinds = {name: kind for kind in Kind for name in getattr(wanted, kind)}
        columns = []
        for name in names:
            if name == wanted.target or name in wanted.ignored:
                continue
            feature = example.feature(name, _FIELD)
            kind = kinds.get(name, Kind.CATEGORICAL if feature.kind == BYTES else Kind.NUMERIC)
            size = len(feature.values) if len(feature.values) > 1 and kind is Kind.NUMERIC else None
            columns.append(Column(name, kind, size))
        if not columns:
            raise example.bad(
                f"has no feature to learn from beside the target {wanted.target!r}. Add one, or take one out of "
                f"{_FIELD}.ignored"
            )
        self._columns = tuple(columns)
        self._cells = {
            column.name: Cells(column.name, column.kind) for column in columns if column.kind is not Kind.NUMERIC
        }
        self._first = example.where

    def _check_names(self, example: Example) -> None:
        names = set(example.names)
        expected = {self._wanted.target, *(column.name for column in self._columns)}
        missing = sorted(expected - names)
        strange = sorted(names - expected - set(self._wanted.ignored))
        if missing or strange:
            what = f"lacks {named(missing)}" if missing else f"has {named(strange)} too"
            raise example.bad(f"{what}, unlike {self._first}. All records need the same features")

    def _take_numbers(self, example: Example, column: Column, feature: Feature) -> list[float]:
        if feature.kind not in {INT, FLOAT} or len(feature.values) != (column.size or 1):
            wanted = "one number" if column.size is None else f"{column.size} numbers"
            raise example.bad(
                f"has {feature.said} in the numeric column {column.name!r}, and {self._first} has {wanted}. Write as "
                f"many, or name the column in {_FIELD}.categorical or ignored"
                if self._first != example.where
                else f"has {feature.said} in the numeric column {column.name!r}. Write numbers, or name the column in "
                f"{_FIELD}.categorical or ignored"
            )
        numbers = [float(value) for value in feature.values]
        _check_numbers(example, column.name, numbers)
        self._numbers.extend(numbers)
        return numbers

    def _target(self, example: Example) -> str:
        name = self._wanted.target
        if self._values is None:
            return class_of(example, name, f"{_FIELD}.target")
        feature = example.feature(name, f"{_FIELD}.target")
        if feature.kind not in {INT, FLOAT} or len(feature.values) != 1:
            raise example.bad(
                f"has {feature.said} in the target {name!r}, which is numeric. Write one number; to learn classes, "
                f"remove {_FIELD}.targetKind"
            )
        numbers = [float(value) for value in feature.values]
        _check_numbers(example, name, numbers)
        self._values.extend(numbers)
        return ""

    def _check_memory(self) -> None:
        needed = len(self._rows) * BYTES_OF_A_ROW + _BYTES_OF_A_NUMBER * len(self._numbers)
        needed += BYTES_OF_A_BYTE * sum(cells.bytes for cells in self._cells.values())
        if needed > self._memory:
            raise BadData(
                f"The records do not fit into memory: the first {len(self._rows):,} take half of it. Raise "
                "spec.training.resources.limits.memory, or learn from fewer records or features."
            )

    def split(self, data: Data) -> tuple[Table, Split]:
        """The table, and which of its rows are in which part."""
        rows = len(self._rows)
        categorical = [self._cells[column.name] for column in self._columns if column.kind is Kind.CATEGORICAL]
        texts = [self._cells[column.name].texts for column in self._columns if column.kind is Kind.TEXT]
        codes = [cells.codes for cells in categorical]
        read = RowsRead(
            rows=self._rows,
            columns=self._columns,
            numbers=np.frombuffer(self._numbers, dtype=np.float32).reshape(rows, len(self._numbers) // rows),
            codes=np.column_stack([np.empty((rows, 0)), *codes]).astype(np.int32),
            words=tuple(cells.words for cells in categorical),
            texts=np.column_stack([np.empty((rows, 0), dtype=object), *texts]),
            values=None if self._values is None else np.array(self._values, dtype=np.float64),
            files=len(self._files),
        )
        return table_of(read, self._wanted, data, order_of({row.target for row in self._rows}))


def _word(example: Example, column: Column, feature: Feature) -> str:
    if len(feature.values) != 1 or feature.kind not in {INT, BYTES}:
        raise example.bad(
            f"has {feature.said} in the categorical column {column.name!r}, and it takes one word or one whole number. "
            f"Write that, or name the column in {_FIELD}.numeric or ignored"
        )
    (value,) = feature.values
    if not isinstance(value, bytes):
        return str(value)
    return _decoded(example, column, value, "Write a word")


def _text(example: Example, column: Column, feature: Feature) -> str:
    if len(feature.values) != 1 or feature.kind != BYTES:
        raise example.bad(
            f"has {feature.said} in the text column {column.name!r}, and it takes one text. Write that, or name the "
            f"column in {_FIELD}.numeric or ignored"
        )
    (value,) = feature.values
    assert isinstance(value, bytes)
    return _decoded(example, column, value, "Write a text")


def _decoded(example: Example, column: Column, value: bytes, remedy: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise example.bad(
            f"has bytes in the {column.kind} column {column.name!r} that are no UTF-8. {remedy}, or name the column in "
            f"{_FIELD}.ignored; of images, remove the table"
        ) from error


def _check_numbers(example: Example, name: str, numbers: Iterable[float]) -> None:
    for place, number in enumerate(numbers):
        if not math.isfinite(number) or abs(number) > _FLOAT_MAX:
            raise example.bad(f"has {number:g} in {name!r}[{place}]. Write a number there, or leave the record out")
