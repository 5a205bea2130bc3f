"""From rows that have been read, whatever they were read from, to a table whose rows are in parts."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from keras_operator.api import MAX_TOKENS, SEQUENCE_LENGTH, Data
from keras_operator.api import Table as Wanted

from model_trainer.data.dataset import Example
from model_trainer.data.split import Part, Split, split_with_own_parts
from model_trainer.failure import BadData, OneClass
from model_trainer.tables.columns import MOST_WORDS, Column, Kind
from model_trainer.tables.encoding import Integers, learn_encoding
from model_trainer.tables.lines import named
from model_trainer.tables.table import Floats, Table
from model_trainer.tables.target import learn_target
from model_trainer.tables.texts import read_words
from model_trainer.tables.vocabulary import learn_vocabulary

log = logging.getLogger(__name__)

# Of memory while rows are read and split: an Example with its key and hash, and its places in the split's sets.
BYTES_OF_A_ROW = 1200
# For each byte of a text: the text, the numbers of its words, and the list of different ones.
BYTES_OF_A_BYTE = 3


@dataclass(frozen=True)
class Row:
    """What is known of a row beside its features: `key` for people, the `target` as text, and the part it came as."""

    key: str
    target: str
    sha256: str
    part: Part | None


@dataclass(frozen=True)
class RowsRead:
    """All rows, and their features as `Table` has them; `values` are of a target that is a number, None of classes."""

    rows: Sequence[Row]
    columns: tuple[Column, ...]
    numbers: Floats
    codes: Integers
    words: tuple[tuple[str, ...], ...]
    texts: npt.NDArray[np.object_]
    values: npt.NDArray[np.float64] | None
    files: int


def table_of(
    read: RowsRead, wanted: Wanted, data: Data, order: Callable[[str], Any] | None = None
) -> tuple[Table, Split]:
    """The table, and which of its rows are in which part; classes are in the `order`, that of their code points.

    Raises:
        BadData, OneClass: nothing can be learned from the rows.
    """
    classes = _classes(read.rows, wanted.target, order) if read.values is None else ()
    labels = {name: label for label, name in enumerate(classes)}
    # The one label of all rows whose target is a number: there is no class of which some must be learned from.
    examples = tuple(
        Example(place, row.key, labels.get(row.target, 0), row.sha256, part=row.part)
        for place, row in enumerate(read.rows)
    )
    split = split_rows(examples, classes, data)
    table = described(read, wanted, classes, examples, split)
    sizes = {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)}
    kinds = {kind.value: list(table.named(kind)) for kind in Kind}
    log.info("the table is read", extra={"classes": len(classes), "rows": sizes, "columns": kinds})
    return table, split


def described(
    read: RowsRead, wanted: Wanted, classes: tuple[str, ...], examples: tuple[Example, ...], split: Split
) -> Table:
    """The table of the rows, with what its train part says of their cells and of a target that is a number.

    Raises:
        BadData: the train part has no word of a text column, or one number alone as its target.
    """
    values = np.empty(0) if read.values is None else read.values
    names = [column.name for column in read.columns if column.kind is Kind.TEXT]
    length = SEQUENCE_LENGTH if wanted.sequence_length is None else wanted.sequence_length
    most = MAX_TOKENS if wanted.max_tokens is None else wanted.max_tokens
    texts = tuple(read_words(read.texts[:, place], length) for place in range(len(names)))
    vocabularies = tuple(
        learn_vocabulary(name, words, split.train, most, length) for name, words in zip(names, texts, strict=True)
    )
    return Table(
        classes=classes,
        columns=read.columns,
        numbers=read.numbers,
        codes=read.codes,
        words=read.words,
        examples=examples,
        encoding=learn_encoding(read.numbers[split.train], read.codes[split.train], read.words, vocabularies),
        ignored=wanted.ignored,
        files=read.files,
        target=learn_target(wanted.target, values, values[split.train]) if len(values) else None,
        values=values,
        texts=read.texts,
        read=texts,
    )


def split_rows(examples: Sequence[Example], classes: tuple[str, ...], data: Data) -> Split:
    """Which row is in which part. Raises BadData where a part, or a class of the train part, would have none."""
    split = split_with_own_parts(
        [example.sha256 for example in examples],
        [example.label for example in examples],
        [example.part for example in examples],
        validation_fraction=data.validation_fraction,
        test_fraction=data.test_fraction,
    )
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
    return split


def no_such_column(name: str, field: str, columns: list[str]) -> str:
    """The rest of a sentence about a column that `table.<field>` names, and that is not among the `columns`."""
    return f"{nearest_column(name, columns)}. Correct spec.training.data.table.{field}."


def nearest_column(name: str, columns: Sequence[str]) -> str:
    """A column that is not among the `columns`, with those that are and the nearest, for a sentence."""
    near = difflib.get_close_matches(name, columns, n=1)
    hint = f"; the nearest is {near[0]!r}" if near else ""
    return f"{name!r}; its columns are {named(columns)}{hint}"


def _classes(rows: Sequence[Row], target: str, order: Callable[[str], Any] | None) -> tuple[str, ...]:
    """The classes of the rows that are to be split."""
    found = {row.target for row in rows if row.part is None}
    for row in rows:
        if row.target not in found:
            raise BadData(
                f"{row.key} has the class {row.target!r} in the target {target!r}, which no row under "
                "spec.training.data.uri has, so no model could ever get it right. Name the classes alike, or "
                "remove the row."
            )
    if len(found) == 1:
        raise OneClass(
            f"All {len(rows)} rows have {next(iter(found))!r} in the target {target!r}; a classifier needs at "
            "least two classes. Add rows of another class, or correct spec.training.data.table.target."
        )
    if len(found) > MOST_WORDS:
        raise BadData(
            f"The target {target!r} has {len(found):,} different values, and {MOST_WORDS:,} classes are the most. "
            "Correct spec.training.data.table.target, or write targetKind: numeric to learn a number."
        )
    return tuple(sorted(found, key=order))
