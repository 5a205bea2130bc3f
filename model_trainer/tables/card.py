"""What a version was trained on, in numbers: data-card.json of a table."""

from __future__ import annotations

import hashlib
from collections import Counter

import msgspec
import numpy as np

from model_trainer.data.data_card import ClassCount, set_hash
from model_trainer.data.split import Split
from model_trainer.tables.columns import Kind
from model_trainer.tables.table import Table
from model_trainer.tables.target import Target
from model_trainer.tables.vocabulary import FIRST_WORD, UNKNOWN, Integers

# Of copies and of words: enough to find the cause, few enough to be read.
_NAMED = 100
_COMMON = 10
# Of a histogram: enough to see two humps, few enough for a test part of twenty rows.
_BINS = 20
# Of the texts' lengths.
_PERCENTILES = (0, 25, 50, 75, 95, 100)


class TextCard(msgspec.Struct, frozen=True, rename="camel"):
    """The texts of a column.

    Attributes:
        lengths: words of a text of the train part: the least, the quartiles, the 95th percentile, and the most.
        empty: texts of the train part without a word.
        cut: those of which not all words are read.
        unknown: part of the words read in the train part that are not in the vocabulary, from 0 to 1.
        unknown_elsewhere: the same of the validation and the test part.
    """

    lengths: tuple[int, ...]
    empty: int
    cut: int
    unknown: float
    unknown_elsewhere: float


class ColumnCard(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One feature over the train part: least, mean, greatest and standard deviation, or words and the commonest.

    Over the test part where there is no other, as with a model that was trained elsewhere.

    The `words` of a `text` are those of its vocabulary.
    """

    name: str
    kind: Kind
    least: float | None = None
    mean: float | None = None
    greatest: float | None = None
    deviation: float | None = None
    words: int | None = None
    common: dict[str, int] = {}
    text: TextCard | None = None


class NumberBin(msgspec.Struct, frozen=True, rename="camel"):
    """The rows of each part whose target is from `low` to below `high`; the last bin has its upper edge too."""

    low: float
    high: float
    train: int
    validation: int
    test: int


class TargetCard(msgspec.Struct, frozen=True, rename="camel"):
    """A target that is a number, over all parts: the least and the greatest, and twenty bins of equal width.

    Mean and standard deviation are of the train part: by them it was learned. Of the test part where there is no other.
    """

    name: str
    least: float
    greatest: float
    mean: float
    deviation: float
    bins: tuple[NumberBin, ...]


class TableCard(msgspec.Struct, frozen=True, rename="camel"):
    """data-card.json of a table.

    Attributes:
        sha256: of the whole set: of the lines `<SHA-256 of the features> <class or number>`, sorted, so that neither
            the order of rows and files nor their names count, and any added, removed or changed row does.
        rows: how many there are.
        distinct_rows: those of them whose features differ.
        not_in_a_part: copies of rows of a part that the team had split off, which are not learned from.
        duplicates: the first hundred groups of rows with the same features.
        conflicting_duplicates: groups of rows with the same features and different targets.
        ignored_columns: columns that are no features.
        files: how many there were.
        columns: the features.
        classes: the histogram; empty where the target is a number.
        target: that number; None where there are classes.
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
    target: TargetCard | None = None


def table_card(table: Table, split: Split) -> TableCard:
    """Describe the rows that were read."""
    examples = table.examples
    rows_with: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        rows_with.setdefault(example.sha256, []).append(index)
    copies = [group for group in rows_with.values() if len(group) > 1]
    counts = [Counter(table.labels(part).tolist()) for part in (split.train, split.validation, split.test)]
    targets = table.values.tolist() if table.target else [example.label for example in examples]
    return TableCard(
        sha256=_set_hash(table),
        rows=len(examples),
        distinct_rows=len(rows_with),
        not_in_a_part=len(examples) - len(split.train) - len(split.validation) - len(split.test),
        duplicates=tuple(tuple(examples[index].key for index in group[:_NAMED]) for group in copies[:_NAMED]),
        conflicting_duplicates=sum(len({targets[index] for index in group}) > 1 for group in copies),
        ignored_columns=table.ignored,
        files=table.files,
        columns=_columns(table, split),
        classes=tuple(
            ClassCount(name, *(count[label] for count in counts)) for label, name in enumerate(table.classes)
        ),
        target=_target(table, table.target, split) if table.target else None,
    )


def _set_hash(table: Table) -> str:
    if table.target is None:
        return set_hash(table)
    lines = sorted(
        f"{example.sha256} {value!r}\n" for example, value in zip(table.examples, table.values.tolist(), strict=True)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _target(table: Table, target: Target, split: Split) -> TargetCard:
    edges = np.linspace(table.values.min(), table.values.max(), _BINS + 1)
    parts = (split.train, split.validation, split.test)
    counts = [np.histogram(table.values[part], edges)[0].tolist() for part in parts]
    bins = zip(edges[:-1].tolist(), edges[1:].tolist(), *counts, strict=True)
    return TargetCard(
        name=target.name,
        least=float(edges[0]),
        greatest=float(edges[-1]),
        mean=target.mean,
        deviation=target.deviation,
        bins=tuple(NumberBin(*each) for each in bins),
    )


def _columns(table: Table, split: Split) -> tuple[ColumnCard, ...]:
    part = split.train if len(split.train) else split.test
    numbers, codes = table.numbers[part], table.codes[part]
    cards = {}
    for places, name in zip(table.places, table.named(Kind.NUMERIC), strict=True):
        cells = numbers[:, places].astype(np.float64)
        least, mean, greatest, deviation = cells.min(), cells.mean(), cells.max(), cells.std()
        cards[name] = ColumnCard(name, Kind.NUMERIC, float(least), float(mean), float(greatest), float(deviation))
    for place, name in enumerate(table.named(Kind.CATEGORICAL)):
        counts = Counter(codes[:, place].tolist())
        common = {table.words[place][code]: count for code, count in counts.most_common(_COMMON)}
        cards[name] = ColumnCard(name, Kind.CATEGORICAL, words=len(counts), common=common)
    for place, name in enumerate(table.named(Kind.TEXT)):
        cards[name] = _text(table, place, name, split)
    return tuple(cards[column.name] for column in table.columns)


def _text(table: Table, place: int, name: str, split: Split) -> ColumnCard:
    vocabulary, words, tokens = table.encoding.texts[place], table.read[place], table.tokens[place]
    read = words.of(split.train, tokens)
    counts = np.bincount(read, minlength=vocabulary.size).tolist()
    # The vocabulary has the commonest first.
    common = dict(zip(vocabulary.words[:_COMMON], counts[FIRST_WORD:], strict=False))
    elsewhere = words.of(np.concatenate([split.validation, split.test]), tokens)
    lengths = words.lengths[split.train]
    text = TextCard(
        lengths=tuple(np.percentile(lengths, _PERCENTILES, method="lower").tolist()),
        empty=int((lengths == 0).sum()),
        cut=int((lengths > vocabulary.length).sum()),
        unknown=_unknown(read),
        unknown_elsewhere=_unknown(elsewhere),
    )
    return ColumnCard(name, Kind.TEXT, words=len(vocabulary.words), common=common, text=text)


def _unknown(tokens: Integers) -> float:
    return float((tokens == UNKNOWN).mean()) if len(tokens) else 0.0
