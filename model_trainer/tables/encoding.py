"""What a network is told of the cells, learned from the train part alone and put into the served model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_trainer.tables.vocabulary import Vocabulary

Integers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Encoding:
    """Means and variances of the numeric columns, the words of the categorical ones, and those of the text columns.

    All words of all categorical columns are numbered through. A column's first number is for words that training never
    saw, and its words follow, in the order of their code points; `offsets` are those first numbers, `size` how many
    numbers there are in all. Each text column has a vocabulary of its own.
    """

    means: tuple[float, ...]
    variances: tuple[float, ...]
    vocabularies: tuple[tuple[str, ...], ...]
    texts: tuple[Vocabulary, ...] = ()

    @property
    def offsets(self) -> tuple[int, ...]:
        """The number of each column's unknown word."""
        sizes = [len(vocabulary) + 1 for vocabulary in self.vocabularies]
        return tuple(sum(sizes[:place]) for place in range(len(sizes)))

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return sum(len(vocabulary) + 1 for vocabulary in self.vocabularies)

    def ids(self, codes: Integers, words: Sequence[Sequence[str]]) -> Integers:
        """Numbers int32 [rows, columns] for `codes` of the same shape, which are places in each column's `words`."""
        found = np.empty_like(codes)
        for place, (vocabulary, own) in enumerate(zip(self.vocabularies, words, strict=True)):
            numbers = {word: number for number, word in enumerate(vocabulary, 1)}
            of_code = np.array([self.offsets[place] + numbers.get(word, 0) for word in own], dtype=np.int32)
            found[:, place] = of_code[codes[:, place]]
        return found


NO_ENCODING = Encoding((), (), ())
"""Of rows that nothing is learned from."""


def learn_encoding(
    numbers: npt.NDArray[np.float32],
    codes: Integers,
    words: Sequence[Sequence[str]],
    texts: tuple[Vocabulary, ...] = (),
) -> Encoding:
    """The encoding of the train part: its `numbers` [rows, numbers], `codes` [rows, categorical], and `texts`."""
    variances = numbers.var(axis=0, dtype=np.float64)
    return Encoding(
        means=tuple(numbers.mean(axis=0, dtype=np.float64).tolist()),
        # A column that was always the same says nothing; divided by no variance, another value would say everything.
        variances=tuple(np.where(variances > 0, variances, 1.0).tolist()),
        vocabularies=tuple(
            tuple(sorted(words[place][code] for code in np.unique(codes[:, place]))) for place in range(codes.shape[1])
        ),
        texts=texts,
    )
