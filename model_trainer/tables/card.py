"""What a version was trained on, in numbers: data-card.json of a table."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np

from model_trainer.data.data_card import ClassCount, set_hash
from model_trainer.data.split import Split
from model_trainer.tables.columns import Kind
from model_trainer.tables.table import Table

# Of copies and of words: enough to find the cause, few enough to be read.
_NAMED = 100
_COMMON = 10


class ColumnCard(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One feature over the train part: least, mean, greatest and standard deviation, or words and the commonest."""

    name: str
    kind: Kind
    least: float | None = None
    mean: float | None = None
    greatest: float | None = None
    deviation: float | None = None
    words: int | None = None
    common: dict[str, int] = {}


class TableCard(msgspec.Struct, frozen=True, rename="camel"):
    """data-card.json of a table.

    Attributes:
        sha256: of the whole set: of the lines `<SHA-256 of the features> <class>`, sorted, so that neither the order of
            rows and files nor their names count, and any added, removed or changed row does.
        rows: how many there are.
        distinct_rows: those of them whose features differ.
        not_in_a_part: copies of rows of a part that the team had split off, which are not learned from.
        duplicates: the first hundred groups of rows with the same features.
        conflicting_duplicates: groups of rows with the same features and different classes.
        ignored_columns: columns that are no features.
        files: how many there were.
        columns: the features.
        classes: the histogram.
    """

    sha256: str
    rows: int
    distinct_rows: int
    not_in_a_part: int
    duplicates: tuple[tuple[str, ...], ...]
    conflicting_duplicates: int
    ignored_columns: tuple[str, ...]
    files: int
    columns: tuple[ColumnCard, ...]
    classes: tuple[ClassCount, ...]


def table_card(table: Table, split: Split) -> TableCard:
    """Describe the rows that were read."""
    examples = table.examples
    rows_with: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        rows_with.setdefault(example.sha256, []).append(index)
    copies = [group for group in rows_with.values() if len(group) > 1]
    counts = [Counter(table.labels(part).tolist()) for part in (split.train, split.validation, split.test)]
    return TableCard(
        sha256=set_hash(table),
        rows=len(examples),
        distinct_rows=len(rows_with),
        not_in_a_part=len(examples) - len(split.train) - len(split.validation) - len(split.test),
        duplicates=tuple(tuple(examples[index].key for index in group[:_NAMED]) for group in copies[:_NAMED]),
        conflicting_duplicates=sum(len({examples[index].label for index in group}) > 1 for group in copies),
        ignored_columns=table.ignored,
        files=table.files,
        columns=_columns(table, split),
        classes=tuple(
            ClassCount(name, *(count[label] for count in counts)) for label, name in enumerate(table.classes)
        ),
    )


def _columns(table: Table, split: Split) -> tuple[ColumnCard, ...]:
    numbers, codes = table.numbers[split.train], table.codes[split.train]
    cards = {}
    for place, name in enumerate(table.named(Kind.NUMERIC)):
        cells = numbers[:, place].astype(np.float64)
        least, mean, greatest, deviation = cells.min(), cells.mean(), cells.max(), cells.std()
        cards[name] = ColumnCard(name, Kind.NUMERIC, float(least), float(mean), float(greatest), float(deviation))
    for place, name in enumerate(table.named(Kind.CATEGORICAL)):
        counts = Counter(codes[:, place].tolist())
        common = {table.words[place][code]: count for code, count in counts.most_common(_COMMON)}
        cards[name] = ColumnCard(name, Kind.CATEGORICAL, words=len(counts), common=common)
    return tuple(cards[column.name] for column in table.columns)
