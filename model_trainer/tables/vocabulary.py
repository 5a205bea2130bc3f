"""Texts as numbers: each word has one, by how common it is in the train part."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_trainer.data.split import Indices
from model_trainer.failure import BadData

# As Keras' TextVectorization numbers them: it is what numbers the words of a served text.
PADDING, UNKNOWN, FIRST_WORD = 0, 1, 2
# What is longer is an address or some code, which says nothing of other rows; a vocabulary of such would fill memory.
LONGEST_WORD = 100
# A batch is as wide as its longest text needs, but of few different widths: XLA compiles a step for each.
_PARTS_OF_A_WIDTH = (16, 4, 1)

Integers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Words:
    """The words of one text column, in all rows.

    Attributes:
        spelled: the different words in UTF-8, in the order in which they came.
        codes: int32 [words that are read], places in `spelled`, one row after the other.
        starts: int64 [rows + 1], where in `codes` each row begins, and where the last one ends.
        lengths: int64 [rows], how many words each text has, read or not.
    """

    spelled: tuple[bytes, ...]
    codes: Integers
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    def read(self, rows: Indices) -> npt.NDArray[np.int64]:
        """How many words of each of these rows are read."""
        return self.starts[rows + 1] - self.starts[rows]

    def of(self, rows: Indices, values: Integers) -> Integers:
        """What `values`, which are like `codes`, has of these rows, one row after the other."""
        pieces = [values[self.starts[row] : self.starts[row + 1]] for row in rows]
        return np.concatenate(pieces) if pieces else values[:0]


@dataclass(frozen=True)
class Vocabulary:
    """The words that a network knows, the commonest first, and how many words of a text it reads."""

    words: tuple[str, ...]
    length: int

    @property
    def size(self) -> int:
        """How many numbers there are: one for each word, one for all others, one for nothing."""
        return len(self.words) + FIRST_WORD

    def numbers(self, words: Words) -> Integers:
        """The number of each of `words.codes`."""
        known = {word.encode(): number for number, word in enumerate(self.words, FIRST_WORD)}
        of_code = np.array([known.get(word, UNKNOWN) for word in words.spelled], dtype=np.int32)
        return of_code[words.codes]

    def padded(self, words: Words, numbers: Integers, rows: Indices) -> Integers:
        """The `numbers` of these rows as int32 [rows, width], with padding after the last word of each."""
        lengths = words.read(rows)
        longest = int(lengths.max(initial=1))
        width = next(width for part in _PARTS_OF_A_WIDTH if (width := -(-self.length // part)) >= longest)
        padded = np.full((len(rows), width), PADDING, dtype=np.int32)
        padded[np.arange(width) < lengths[:, np.newaxis]] = words.of(rows, numbers)
        return padded


def learn_vocabulary(name: str, words: Words, train: Indices, most: int, length: int) -> Vocabulary:
    """The `most` commonest words that are read of the train part's rows; of equally common ones the first in UTF-8.

    Raises:
        BadData: there is none in the column `name`.
    """
    counts = np.bincount(words.of(train, words.codes), minlength=len(words.spelled)).tolist()
    found = (
        (-count, word) for word, count in zip(words.spelled, counts, strict=True) if count and len(word) <= LONGEST_WORD
    )
    commonest = heapq.nsmallest(most, found)
    if not commonest:
        raise BadData(
            f"No row that is learned from has a word in the text column {name!r}; blanks and punctuation are none, and "
            f"neither is what has more than {LONGEST_WORD} bytes. Fill it in, or name it in "
            "spec.training.data.table.ignored."
        )
    return Vocabulary(tuple(word.decode() for _, word in commonest), length)
