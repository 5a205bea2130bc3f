"""The rows of a run: found, read, and split by content, as `spec.training.data` describes them.

A row is known by the SHA-256 of its features, so that the same features are always in the same part, whatever file they
stand in and whatever else does, and also where two rows give them different targets.
"""

from __future__ import annotations

import hashlib
from array import array

import numpy as np
from keras_operator.api import Data, ProgressStage, TargetKind
from keras_operator.api import Table as Wanted

from model_trainer import machine
from model_trainer.context import Context
from model_trainer.data.files import DataFile, files_at
from model_trainer.data.split import Part, Split
from model_trainer.failure import BadData
from model_trainer.tables.columns import Cells, Column, Kind, number_of
from model_trainer.tables.lines import TABLES, named, rows_of
from model_trainer.tables.rows import BYTES_OF_A_BYTE, BYTES_OF_A_ROW, Row, RowsRead, no_such_column, table_of
from model_trainer.tables.table import Table

_BYTES_OF_A_CELL = 16
# The rest is for TensorFlow, see `data.cache`.
_MEMORY_SHARE = 0.5
_ROWS_BETWEEN_LOOKS = 10_000
_TEXT_BETWEEN_LOOKS = 16 * 1024 * 1024
# Of a cell in a sentence.
_SHOWN = 60


def read_table(data: Data, endpoint: str | None, context: Context) -> tuple[Table, Split]:
    """Find, read and split the rows.

    Raises:
        BadData, OneClass: nothing can be learned from what is there, with file and line.
        StoreError: the store failed for longer than the context's patience, or for good.
    """
    if data.table is None:
        raise BadData("spec.training.data.table is missing: it names the column that is to be learned.")
    reader = _Reader(data.table, context)
    uris = ((None, data.uri), (Part.VALIDATION, data.validation_uri), (Part.TEST, data.test_uri))
    for part, uri in uris:
        if uri is None:
            continue
        context.board.enter(ProgressStage.FETCHING, f"looking for tables under {uri}")
        before = len(reader.rows)
        for file in files_at(uri, TABLES, endpoint, context, "data" if part is None else part.name.lower()):
            reader.read(file, part)
        if len(reader.rows) == before:
            raise BadData(f"{uri} has a header line and nothing below it. Each row is an example to learn from.")
    return reader.split(data)


class _Reader:
    """Takes the rows of one file after the other."""

    def __init__(self, wanted: Wanted, context: Context) -> None:
        self._wanted = wanted
        self._context = context
        self._memory = machine.memory_bytes() * _MEMORY_SHARE
        self._first: tuple[str, list[str]] | None = None
        self._files = 0
        self._values = array("d") if wanted.target_kind is TargetKind.NUMERIC else None
        self.features: list[Cells] = []
        self._texts: list[Cells] = []
        self._text_seen = 0
        self.rows: list[Row] = []

    def read(self, file: DataFile, part: Part | None) -> None:
        rows = rows_of(file, self._context.scratch / "table", self._context)
        line, header = next(rows)
        self._take_header(header, f"The header in line {line} of {file.address}")
        self._files += 1
        target = header.index(self._wanted.target)
        # By name, so that a file may have its columns in another order.
        places = [(cells, header.index(cells.name)) for cells in self.features]
        in_order = sorted(range(len(places)), key=lambda place: self.features[place].name)
        for line, row in rows:
            where = f"Line {line} of {file.address}"
            if not row[target]:
                raise BadData(f"{where} has nothing in the target {self._wanted.target!r}. Fill it in, or remove it.")
            if self._values is not None:
                self._values.append(self._number(row[target], where))
            known = [cells.add(row[place], where) for cells, place in places]
            text = "\0".join(f"{self.features[place].name}\0{known[place]}" for place in in_order)
            sha256 = hashlib.sha256(text.encode()).hexdigest()
            self.rows.append(Row(f"{file.key}:{line}", row[target], sha256, part))
            if len(self.rows) % _ROWS_BETWEEN_LOOKS == 0 or self._text - self._text_seen > _TEXT_BETWEEN_LOOKS:
                self._look()

    def _number(self, text: str, where: str) -> float:
        number = number_of(text)
        if number is None:
            raise BadData(
                f"{where} has {text[:_SHOWN]!r} in the target {self._wanted.target!r}, which is numeric. Write a "
                "number there, or remove the line; to learn classes, remove spec.training.data.table.targetKind."
            )
        return number

    @property
    def _text(self) -> int:
        """Bytes of all texts."""
        return sum(cells.bytes for cells in self._texts)

    def _look(self) -> None:
        self._context.interruption.check()
        self._context.board.say(f"read {len(self.rows):,} rows")
        self._text_seen = self._text
        needed = len(self.rows) * (BYTES_OF_A_ROW + _BYTES_OF_A_CELL * len(self.features))
        needed += BYTES_OF_A_BYTE * self._text_seen
        if needed > self._memory:
            raise BadData(
                f"The table does not fit into memory: its first {len(self.rows):,} rows take half of it. Raise "
                "spec.training.resources.limits.memory, or learn from fewer rows or columns."
            )

    def _take_header(self, header: list[str], where: str) -> None:
        wanted = self._wanted
        if self._first is not None:
            other, features = self._first
            missing = [name for name in [wanted.target, *features] if name not in header]
            strange = [name for name in header if name not in {wanted.target, *features, *wanted.ignored}]
            if missing or strange:
                what = f"lacks {named(missing)}" if missing else f"has {named(strange)} too"
                raise BadData(f"{where} {what}, unlike {other}. All files need the same columns.")
            return
        asked = [("target", wanted.target)]
        asked += [(kind, name) for kind in (*Kind, "ignored") for name in getattr(wanted, kind)]
        for field, name in asked:
            if name not in header:
                raise BadData(f"{where} has no column {no_such_column(name, field, header)}")
        kinds = {name: kind for kind in Kind for name in getattr(wanted, kind)}
        features = [name for name in header if name != wanted.target and name not in wanted.ignored]
        if not features:
            raise BadData(
                f"{where} has no column to learn from beside the target {wanted.target!r}. Add one, or take one out of "
                "spec.training.data.table.ignored."
            )
        self._first = (where[0].lower() + where[1:], features)
        self.features = [Cells(name, kinds.get(name)) for name in features]
        self._texts = [cells for cells in self.features if kinds.get(cells.name) is Kind.TEXT]

    def split(self, data: Data) -> tuple[Table, Split]:
        """The table, and which of its rows are in which part."""
        columns = tuple(Column(cells.name, cells.kind) for cells in self.features)
        numeric, categorical, texts = (
            [cells for cells, column in zip(self.features, columns, strict=True) if column.kind is kind]
            for kind in (Kind.NUMERIC, Kind.CATEGORICAL, Kind.TEXT)
        )
        empty = np.empty((len(self.rows), 0))
        read = RowsRead(
            rows=self.rows,
            columns=columns,
            numbers=np.column_stack([empty, *(cells.numbers for cells in numeric)]).astype(np.float32),
            codes=np.column_stack([empty, *(cells.codes for cells in categorical)]).astype(np.int32),
            words=tuple(cells.words for cells in categorical),
            texts=np.column_stack([empty.astype(object), *(cells.texts for cells in texts)]),
            values=None if self._values is None else np.array(self._values, dtype=np.float64),
            files=self._files,
        )
        return table_of(read, self._wanted, data)
