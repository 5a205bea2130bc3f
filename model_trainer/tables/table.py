"""The rows of a run, with what is known of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from model_trainer.data.dataset import Example, Labels
from model_trainer.data.split import Indices
from model_trainer.tables.columns import Column, Kind
from model_trainer.tables.encoding import Encoding, Integers
from model_trainer.tables.target import Target

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Table:
    """Rows, and what is known of them.

    Attributes:
        classes: names; a label is an index into them. None where the target is a number.
        columns: the features, in the order of the first file's header line; or one that has all `numbers` of a row.
        numbers: float32 [rows, numeric columns].
        codes: int32 [rows, categorical columns]: places in `words`.
        words: of each categorical column the different words.
        examples: the rows in the order of the files; an example's key is `<file>:<line>`.
        encoding: what the train part says of the columns.
        ignored: names of the columns that are no features.
        files: how many there were.
        target: what the train part says of a target that is a number; None where it is one of the classes.
        values: float64 [rows], that number; empty where there is none.
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

    @cached_property
    def ids(self) -> Integers:
        """int32 [rows, categorical columns]: what the network gets, see `Encoding`."""
        return self.encoding.ids(self.codes, self.words)

    def rows(self, indices: Indices) -> Indices:
        """Rows in `numbers` and `codes` of these examples."""
        return indices

    def labels(self, indices: Indices) -> Labels:
        """Class indices of these examples."""
        return np.array([self.examples[index].label for index in indices], dtype=np.int64)

    def named(self, kind: Kind) -> tuple[str, ...]:
        """The columns of one kind, in their order."""
        return tuple(column.name for column in self.columns if column.kind is kind)

    def raw(self, rows: Indices) -> list[npt.NDArray[np.generic]]:
        """The cells of these rows as a client sends them, an array [rows] for each column: float32, or UTF-8 bytes.

        Of a column of arrays [rows, size].
        """
        if self.columns[0].size is not None:
            return [self.numbers[rows]]
        numeric, categorical = iter(range(self.numbers.shape[1])), iter(range(self.codes.shape[1]))
        cells: list[npt.NDArray[np.generic]] = []
        for column in self.columns:
            if column.kind is Kind.NUMERIC:
                cells.append(self.numbers[rows, next(numeric)])
            else:
                place = next(categorical)
                words = self.words[place]
                texts = [words[code].encode() for code in self.codes[rows, place]]
                cells.append(np.array(texts, dtype=object))
        return cells
