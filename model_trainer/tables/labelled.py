"""The rows of a table that a model which is trained already is tested on."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from keras_operator.api import EvaluationData, EvaluationTable, ProgressStage, TargetKind

from model_trainer import machine
from model_trainer.context import Context
from model_trainer.data.dataset import Example
from model_trainer.data.files import files_at
from model_trainer.evaluation.rows_way import STRING, Found, is_whole, way_of_columns
from model_trainer.evaluation.source_record import RowsWay
from model_trainer.failure import BadData, OneClass
from model_trainer.signatures import Signature
from model_trainer.tables.columns import LARGEST_WHOLE, MOST_WORDS, Column, Kind, number_of
from model_trainer.tables.encoding import NO_ENCODING
from model_trainer.tables.lines import TABLES, named, rows_of
from model_trainer.tables.rows import BYTES_OF_A_ROW, nearest_column
from model_trainer.tables.table import Table
from model_trainer.tables.target import target_of_test
from model_trainer.tfrecord.labels import order_of

_BYTES_OF_A_CELL = 16
_MEMORY_SHARE = 0.5
_ROWS_BETWEEN_LOOKS = 10_000
# Of a cell in a sentence.
_SHOWN = 60
_NAMES = "spec.source.classes"


@dataclass
class _Cells:
    """The cells of a column: numbers, or words of which each different one is kept once."""

    column: Column
    whole: bool
    numbers: array[float] = field(default_factory=lambda: array("f"))
    codes: array[int] = field(default_factory=lambda: array("i"))
    words: dict[str, int] = field(default_factory=dict)

    def add(self, text: str, where: str) -> str:
        """Take a cell; returns it in the spelling that its row is known by. Raises BadData where it is no number."""
        if self.column.kind is not Kind.NUMERIC:
            self.codes.append(self.words.setdefault(text, len(self.words)))
            return text
        number = number_of(text)
        if number is None:
            shown = repr(text[:_SHOWN]) if text else "nothing"
            raise BadData(
                f"{where} has {shown} in the column {self.column.name!r}, and the model takes a number there. Write "
                "one, or remove the line."
            )
        if self.whole and (number % 1 or abs(number) > LARGEST_WHOLE):
            raise BadData(
                f"{where} has {text[:_SHOWN]!r} in the column {self.column.name!r}, and the model takes whole numbers "
                f"there, of which at most {LARGEST_WHOLE:,} is tested. Correct it, or remove the line."
            )
        self.numbers.append(number)
        return repr(number)


class LabelledTable:
    """The table under an address: its header is read at once, its rows as often as a servable takes other columns.

    Args:
        test: where it is, and which columns it has.
        endpoint: of the store.
        field: what describes it.

    Attributes:
        number: whether the target is a number, and no class.
        shape: None, for a row is no array.

    Raises:
        BadData: there is no table, or none with the columns that are named.
        StoreError: the store failed.
    """

    shape: tuple[int, ...] | None = None

    def __init__(self, test: EvaluationData, endpoint: str | None, context: Context, field: str) -> None:
        if test.table is None:
            raise BadData(f"{field}.table is missing: it names the column that holds what should be answered.")
        self._table: EvaluationTable = test.table
        self._uri = test.uri
        self._field = f"{field}.table"
        self._context = context
        self.number = test.table.target_kind is TargetKind.NUMERIC
        context.board.enter(ProgressStage.FETCHING, f"looking for tables under {test.uri}")
        self._files = files_at(test.uri, TABLES, endpoint, context, "test", field)
        self._path = context.scratch / "test-table"
        rows = rows_of(self._files[0], self._path, context)
        line, self._header = next(rows)
        rows.close()
        self._check(self._header, f"The header in line {line} of {self._files[0].address}")

    def way(self, signatures: Mapping[str, Signature]) -> Found | str:
        """How a servable is asked; else why it cannot be, as the end of a sentence."""
        table = self._table
        found = way_of_columns(signatures, self._header, table.target, table.columns, number=self.number)
        if not isinstance(found, str):
            return found
        return f"cannot be asked about the target {table.target!r} under {self._uri}: {found}"

    def misfit(self, way: RowsWay) -> str:
        """Why what is asked in another `way` cannot be asked about these rows; empty where it can."""
        if not way.columns:
            return "it takes arrays, and these are the columns of a table"
        missing = [name for name in way.columns if name not in self._header or name == self._table.target]
        return f"it takes the columns {named(missing)}, which these rows do not have" if missing else ""

    def read(self, way: RowsWay, names: tuple[str, ...], outputs: int, what: str) -> Table:
        """The rows as `way` takes them, of classes by `names` or, where they are empty, by the targets sorted.

        Raises:
            BadData: a cell cannot be given to the model, or a class is none of it.
            OneClass: of all rows.
            StoreError: the store failed.
        """
        kinds = self._columns(way)
        targets: list[str] = []
        keys: list[str] = []
        hashes: list[str] = []
        for file in self._files:
            rows = rows_of(file, self._path, self._context)
            line, header = next(rows)
            self._check(header, f"The header in line {line} of {file.address}", [cells.column.name for cells in kinds])
            target = header.index(self._table.target)
            places = [(cells, header.index(cells.column.name)) for cells in kinds]
            for line, row in rows:
                where = f"Line {line} of {file.address}"
                if not row[target]:
                    raise BadData(
                        f"{where} has nothing in the target {self._table.target!r}. Fill it in, or remove it."
                    )
                known = [f"{cells.column.name}\0{cells.add(row[place], where)}" for cells, place in places]
                targets.append(row[target])
                keys.append(f"{file.key}:{line}")
                hashes.append(hashlib.sha256("\0".join(sorted(known)).encode()).hexdigest())
                if len(keys) % _ROWS_BETWEEN_LOOKS == 0:
                    self._look(len(keys), len(kinds))
        if not keys:
            raise BadData(f"{self._uri} has a header line and nothing below it. Each row is one to test on.")
        values = np.array(self._values(targets, keys) if self.number else [], dtype=np.float64)
        classes = () if self.number else self._classes(targets, keys, names, outputs, what)
        labels = [0] * len(keys) if self.number else self._labels(targets, keys, classes)
        numeric = [cells for cells in kinds if cells.column.kind is Kind.NUMERIC]
        worded = [cells for cells in kinds if cells.column.kind is not Kind.NUMERIC]
        empty = np.empty((len(keys), 0))
        return Table(
            classes=classes,
            columns=tuple(cells.column for cells in kinds),
            numbers=np.column_stack([empty, *(cells.numbers for cells in numeric)]).astype(np.float32),
            codes=np.column_stack([empty, *(cells.codes for cells in worded)]).astype(np.int32),
            words=tuple(tuple(cells.words) for cells in worded),
            examples=tuple(
                Example(place, key, label, sha256)
                for place, (key, label, sha256) in enumerate(zip(keys, labels, hashes, strict=True))
            ),
            encoding=NO_ENCODING,
            ignored=tuple(name for name in self._header if name != self._table.target and name not in way.columns),
            files=len(self._files),
            target=target_of_test(self._table.target, values, self._uri) if self.number else None,
            values=values,
        )

    def _columns(self, way: RowsWay) -> list[_Cells]:
        """The columns in the order in which the model takes them."""
        taken = way.inputs if len(way.inputs) > 1 else [way.inputs[0]] * len(way.columns)
        return [
            _Cells(Column(name, Kind.CATEGORICAL if given.dtype == STRING else Kind.NUMERIC), is_whole(given))
            for name, given in zip(way.columns, taken, strict=True)
        ]

    def _check(self, header: Sequence[str], where: str, others: Sequence[str] = ()) -> None:
        asked = [("target", self._table.target), *(("columns", name) for name in self._table.columns)]
        for of, name in asked:
            if name not in header:
                raise BadData(f"{where} has no column {nearest_column(name, header)}. Correct {self._field}.{of}.")
        if twice := sorted({name for name in self._table.columns if self._table.columns.count(name) > 1}):
            raise BadData(f"{self._field}.columns names {twice[0]!r} twice. Name each column once.")
        if missing := [name for name in others if name not in header]:
            raise BadData(f"{where} lacks {named(missing)}, unlike the first file. All files need the same columns.")

    def _look(self, rows: int, columns: int) -> None:
        self._context.interruption.check()
        self._context.board.say(f"read {rows:,} rows")
        if rows * (BYTES_OF_A_ROW + _BYTES_OF_A_CELL * columns) > machine.memory_bytes() * _MEMORY_SHARE:
            raise BadData(
                f"The table under {self._uri} does not fit into memory: its first {rows:,} rows take half of it. Test "
                "on fewer rows."
            )

    def _values(self, targets: Sequence[str], keys: Sequence[str]) -> list[float]:
        found = []
        for text, key in zip(targets, keys, strict=True):
            number = number_of(text)
            if number is None:
                raise BadData(
                    f"{self._place(key)} has {text[:_SHOWN]!r} in the target {self._table.target!r}, which is numeric. "
                    f"Write a number there, or remove the line; of classes, remove {self._field}.targetKind."
                )
            found.append(number)
        return found

    def _classes(
        self, targets: Sequence[str], keys: Sequence[str], names: tuple[str, ...], outputs: int, what: str
    ) -> tuple[str, ...]:
        found = set(targets)
        if len(found) == 1:
            raise OneClass(
                f"All {len(keys)} rows under {self._uri} have {targets[0][:_SHOWN]!r} in the target "
                f"{self._table.target!r}; a test of a classifier needs at least two classes. Add rows of another "
                f"class, or correct {self._field}.target."
            )
        if len(found) > MOST_WORDS:
            raise BadData(
                f"The target {self._table.target!r} has {len(found):,} different values, and {MOST_WORDS:,} classes "
                f"are the most. Correct {self._field}.target, or write targetKind: numeric where it is a number."
            )
        classes = names or tuple(sorted(found, key=order_of(found)))
        # One number is the probability of the second of two classes.
        if outputs not in {-1, len(classes)} and (outputs, len(classes)) != (1, 2):
            one = "one number, which tells two apart; where it is no class, write targetKind: numeric"
            raise BadData(
                f"The target {self._table.target!r} under {self._uri} has {len(classes)} classes, and {what} answers "
                f"with {one if outputs == 1 else f'{outputs} numbers'}. Name every output of the model, in their "
                f"order, in {_NAMES}, or correct {self._field}.target."
            )
        return classes

    def _labels(self, targets: Sequence[str], keys: Sequence[str], classes: tuple[str, ...]) -> list[int]:
        """Of each row the place of its class: found by the name or, where no target is one, the place itself."""
        places = {name: place for place, name in enumerate(classes)}
        if places.keys().isdisjoint(targets):
            numbers = {str(place): place for place in range(len(classes))}
            places = numbers if numbers.keys() & set(targets) else places
        for text, key in zip(targets, keys, strict=True):
            if text not in places:
                raise BadData(
                    f"{self._place(key)} has the class {text[:_SHOWN]!r} in the target {self._table.target!r}, which "
                    f"{_NAMES} does not name. Name it there, or correct the line."
                )
        return [places[text] for text in targets]

    def _place(self, key: str) -> str:
        file, _, line = key.rpartition(":")
        return f"Line {line} of {next(one.address for one in self._files if one.key == file)}"
