"""The rows of a run, with what is known of each."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from model_trainer.data.dataset import Example, Labels
from model_trainer.data.split import Indices
from model_trainer.tables.columns import Column, Kind
from model_trainer.tables.encoding import Encoding, Integers
from model_trainer.tables.target import Target
from model_trainer.tables.vocabulary import Words

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Table:
    """Rows, and what is known of them.

    Attributes:
        classes: names; a label is an index into them. None where the target is a number.
        columns: the features, in the order of the first file's header line, or of their names.
        numbers: float32 [rows, numbers of the numeric columns, in their order].
        codes: int32 [rows, categorical columns]: places in `words`.
        words: of each categorical column the different words.
        examples: the rows in the order of the files; an example's key is `<file>:<line>`.
        encoding: what the train part says of the columns.
        ignored: names of the columns that are no features.
        files: how many there were.
        target: what the train part says of a target that is a number; None where it is one of the classes.
        values: float64 [rows], that number; empty where there is none.
        texts: bytes [rows, text columns], the cells in UTF-8.
        read: of each text column the words.
    """

    classes: tuple[str, ...]
    columns: tuple[Column, ...]
    numbers: Floats
    codes: Integers
    words: tuple[tuple[str, ...], ...]
    examples: tuple[Example, ...]
    encoding: Encoding
    ignored: tuple[str, ...]
    files: int
    target: Target | None = None
    values: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    texts: npt.NDArray[np.object_] = field(default_factory=lambda: np.empty((0, 0), dtype=object))
    read: tuple[Words, ...] = ()

    @cached_property
    def ids(self) -> Integers:
        """int32 [rows, categorical columns]: what the network gets, see `Encoding`."""
        return self.encoding.ids(self.codes, self.words)

    @cached_property
    def tokens(self) -> tuple[Integers, ...]:
        """Of each text column the number of each word that is read, one row after the other, see `Vocabulary`."""
        return tuple(
            vocabulary.numbers(words) for vocabulary, words in zip(self.encoding.texts, self.read, strict=True)
        )

    def padded(self, rows: Indices) -> list[Integers]:
        """What the network gets of these rows' texts, int32 [rows, width] for each text column."""
        columns = zip(self.encoding.texts, self.read, self.tokens, strict=True)
        return [vocabulary.padded(words, tokens, rows) for vocabulary, words, tokens in columns]

    def rows(self, indices: Indices) -> Indices:
        """Rows in `numbers` and `codes` of these examples."""
        return indices

    def labels(self, indices: Indices) -> Labels:
        """Class indices of these examples."""
        return np.array([self.examples[index].label for index in indices], dtype=np.int64)

    def named(self, kind: Kind) -> tuple[str, ...]:
        """The columns of one kind, in their order."""
        return tuple(column.name for column in self.columns if column.kind is kind)

    @property
    def places(self) -> tuple[slice, ...]:
        """Where in `numbers` each numeric column is."""
        widths = [column.size or 1 for column in self.columns if column.kind is Kind.NUMERIC]
        ends = list(itertools.accumulate(widths))
        return tuple(slice(end - width, end) for end, width in zip(ends, widths, strict=True))

    def raw(self, rows: Indices) -> list[npt.NDArray[np.generic]]:
        """The cells of these rows as a client sends them, an array [rows] for each column: float32, or UTF-8 bytes.

        Of a column of arrays [rows, size].
        """
        numeric, categorical = iter(self.places), iter(range(self.codes.shape[1]))
        of_texts = iter(range(self.texts.shape[1]))
        cells: list[npt.NDArray[np.generic]] = []
        for column in self.columns:
            if column.kind is Kind.NUMERIC:
                of_column = self.numbers[rows, next(numeric)]
                cells.append(of_column[:, 0] if column.size is None else of_column)
            elif column.kind is Kind.TEXT:
                cells.append(self.texts[rows, next(of_texts)])
            else:
                place = next(categorical)
                words = self.words[place]
                texts = [words[code].encode() for code in self.codes[rows, place]]
                cells.append(np.array(texts, dtype=object))
        return cells
