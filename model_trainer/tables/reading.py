"""The rows of a run: found, read, and split by content, as `spec.training.data` describes them.

A row is known by the SHA-256 of its features, so that the same features are always in the same part, whatever file they
stand in and whatever else does, and also where two rows give them different targets.
"""

from __future__ import annotations

import difflib
import hashlib
import logging
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras_operator.api import Data, ProgressStage, TargetKind
from keras_operator.api import Table as Wanted

from model_trainer import machine
from model_trainer.context import Context
from model_trainer.data.dataset import Example
from model_trainer.data.split import Part, Split, split_with_own_parts
from model_trainer.failure import BadData, OneClass
from model_trainer.tables.columns import MOST_WORDS, Cells, Column, Kind, number_of
from model_trainer.tables.encoding import learn_encoding
from model_trainer.tables.lines import TableFile, files_of, named, rows_of
from model_trainer.tables.table import Table
from model_trainer.tables.target import learn_target

log = logging.getLogger(__name__)

# Of memory while rows are read and split: an Example with its key and hash, and its places in the split's sets.
_BYTES_OF_A_ROW = 1200
_BYTES_OF_A_CELL = 16
# The rest is for TensorFlow, see `data.cache`.
_MEMORY_SHARE = 0.5
_ROWS_BETWEEN_LOOKS = 10_000
# Of a cell in a sentence.
_SHOWN = 60


@dataclass(frozen=True)
class _Row:
    key: str
    target: str
    sha256: str
    part: Part | None


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
        for file in files_of(uri, endpoint, context, "data" if part is None else part.name.lower()):
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
        self.rows: list[_Row] = []

    def read(self, file: TableFile, part: Part | None) -> None:
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
            self.rows.append(_Row(f"{file.key}:{line}", row[target], sha256, part))
            if len(self.rows) % _ROWS_BETWEEN_LOOKS == 0:
                self._look()

    def _number(self, text: str, where: str) -> float:
        number = number_of(text)
        if number is None:
            raise BadData(
                f"{where} has {text[:_SHOWN]!r} in the target {self._wanted.target!r}, which is numeric. Write a "
                "number there, or remove the line; to learn classes, remove spec.training.data.table.targetKind."
            )
        return number

    def _look(self) -> None:
        self._context.interruption.check()
        self._context.board.say(f"read {len(self.rows):,} rows")
        needed = len(self.rows) * (_BYTES_OF_A_ROW + _BYTES_OF_A_CELL * len(self.features))
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
        asked += [(kind, name) for kind in ("numeric", "categorical", "ignored") for name in getattr(wanted, kind)]
        for field, name in asked:
            if name not in header:
                near = difflib.get_close_matches(name, header, n=1)
                hint = f"; the nearest is {near[0]!r}" if near else ""
                raise BadData(
                    f"{where} has no column {name!r}; its columns are {named(header)}{hint}. Correct "
                    f"spec.training.data.table.{field}."
                )
        kinds = dict.fromkeys(wanted.numeric, Kind.NUMERIC) | dict.fromkeys(wanted.categorical, Kind.CATEGORICAL)
        features = [name for name in header if name != wanted.target and name not in wanted.ignored]
        if not features:
            raise BadData(
                f"{where} has no column to learn from beside the target {wanted.target!r}. Add one, or take one out of "
                "spec.training.data.table.ignored."
            )
        self._first = (where[0].lower() + where[1:], features)
        self.features = [Cells(name, kinds.get(name)) for name in features]

    def split(self, data: Data) -> tuple[Table, Split]:
        """The table, and which of its rows are in which part."""
        columns = tuple(Column(cells.name, cells.kind) for cells in self.features)
        numeric, categorical = (
            [cells for cells, column in zip(self.features, columns, strict=True) if column.kind is kind]
            for kind in (Kind.NUMERIC, Kind.CATEGORICAL)
        )
        empty = np.empty((len(self.rows), 0))
        numbers = np.column_stack([empty, *(cells.numbers for cells in numeric)]).astype(np.float32)
        codes = np.column_stack([empty, *(cells.codes for cells in categorical)]).astype(np.int32)
        words = tuple(cells.words for cells in categorical)
        classes = self._classes() if self._values is None else ()
        labels = {name: label for label, name in enumerate(classes)}
        # The one label of all rows whose target is a number: there is no class of which some must be learned from.
        examples = tuple(
            Example(place, row.key, labels.get(row.target, 0), row.sha256, part=row.part)
            for place, row in enumerate(self.rows)
        )
        split = split_with_own_parts(
            [example.sha256 for example in examples],
            [example.label for example in examples],
            [example.part for example in examples],
            validation_fraction=data.validation_fraction,
            test_fraction=data.test_fraction,
        )
        _check_parts(data, examples, classes, split)
        values = np.array(self._values or (), dtype=np.float64)
        table = Table(
            classes=classes,
            columns=columns,
            numbers=numbers,
            codes=codes,
            words=words,
            examples=examples,
            encoding=learn_encoding(numbers[split.train], codes[split.train], words),
            ignored=self._wanted.ignored,
            files=self._files,
            target=learn_target(self._wanted.target, values, values[split.train]) if len(values) else None,
            values=values,
        )
        _log(table, split)
        return table, split

    def _classes(self) -> tuple[str, ...]:
        """The classes of the rows that are to be split, in the order of their code points."""
        target = self._wanted.target
        found = {row.target for row in self.rows if row.part is None}
        for row in self.rows:
            if row.target not in found:
                raise BadData(
                    f"{row.key} has the class {row.target!r} in the target {target!r}, which no row under "
                    "spec.training.data.uri has, so no model could ever get it right. Name the classes alike, or "
                    "remove the row."
                )
        if len(found) == 1:
            raise OneClass(
                f"All {len(self.rows)} rows have {next(iter(found))!r} in the target {target!r}; a classifier needs at "
                "least two classes. Add rows of another class, or correct spec.training.data.table.target."
            )
        if len(found) > MOST_WORDS:
            raise BadData(
                f"The target {target!r} has {len(found):,} different values, and {MOST_WORDS:,} classes are the most. "
                "Correct spec.training.data.table.target, or write targetKind: numeric to learn a number."
            )
        return tuple(sorted(found))


def _check_parts(data: Data, examples: Sequence[Example], classes: tuple[str, ...], split: Split) -> None:
    learned = {examples[index].label for index in split.train}
    for label, name in enumerate(classes):
        if label not in learned:
            raise BadData(
                f"Every row of the class {name!r} under {data.uri} is also in the part that was split off, so none is "
                "left to learn from. Add other rows of it."
            )
    if not len(split.test) or not len(split.validation):
        needed = "each class needs one, and two more are needed in all" if classes else "at least three are needed"
        raise BadData(
            f"{data.uri} has {len({example.sha256 for example in examples})} different rows, too few for a train, a "
            f"validation and a test part. Add rows: {needed}."
        )


def _log(table: Table, split: Split) -> None:
    sizes = {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)}
    kinds = {kind.value: list(table.named(kind)) for kind in Kind}
    log.info("the table is read", extra={"classes": len(table.classes), "rows": sizes, "columns": kinds})
