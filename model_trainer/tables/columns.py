"""What a column of a table holds: numbers, words or texts, as it is asked for or as its cells show."""

from __future__ import annotations

import math
from array import array
from enum import StrEnum

import msgspec
import numpy as np
import numpy.typing as npt

from model_trainer.failure import BadData

# Different words of a categorical column. Above that it is a name or a number of each row, and says nothing of others.
MOST_WORDS = 10_000
# Of the filled cells: a column with so few words among its numbers has mistakes in it, not categories.
_FEW_WORDS = 0.1
_FLOAT_MAX = float(np.finfo(np.float32).max)
LARGEST_WHOLE = 2**24
"""Up to here float32 holds every whole number."""
# Of a text in bytes: some 20,000 words.
LONGEST_TEXT = 128 * 1024
# Of a cell in a sentence.
_SHOWN = 60


class Kind(StrEnum):
    """How a network sees a column."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    TEXT = "text"


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """A feature: the column's name in the header line, and its kind.

    `size` is of a column that has an array of so many numbers in each row; None: one number, word or text.
    """

    name: str
    kind: Kind
    size: int | None = None

    @property
    def shape(self) -> list[int]:
        """Of one cell."""
        return [] if self.size is None else [self.size]


def number_of(text: str) -> float | None:
    """The finite number, within what float32 holds, that a cell says; None where it says none."""
    try:
        number = float(text)
    except ValueError:
        return None
    # Python takes 1_000 for a thousand; nobody else does.
    return number if math.isfinite(number) and abs(number) <= _FLOAT_MAX and "_" not in text else None


class Cells:
    """The cells of one feature as they are read: 12 bytes each, and each different word once; each text as it is.

    Args:
        name: of the column.
        wanted: the kind that was asked for; None: the cells decide.
    """

    def __init__(self, name: str, wanted: Kind | None) -> None:
        self.name = name
        self._wanted = wanted
        self._numbers = array("f")
        self._codes = array("i")
        self._words: dict[str, int] | None = {} if wanted is not Kind.NUMERIC else None
        self._bytes: list[bytes] = []
        self.bytes = 0
        self._no_number: tuple[str, str] | None = None
        self._empty: str | None = None
        self._texts = 0
        self._blanks = 0

    def add(self, text: str, where: str) -> str:
        """Take a cell; returns it in the spelling that its row is known by: 1.50 and 1.5 are the same number.

        Raises:
            BadData: it cannot be in a column of the kind that was asked for.
        """
        if self._wanted is Kind.TEXT:
            self._take_text(text, where)
            return text
        if self._wanted is Kind.CATEGORICAL:
            self._take_word(text, where)
            return text
        number = number_of(text)
        if number is None:
            self._refuse_text(text, where)
            if text:
                self._texts += 1
                self._no_number = self._no_number or (text, where)
            else:
                self._blanks += 1
                self._empty = self._empty or where
        if self._wanted is None:
            self._numbers.append(math.nan if number is None else number)
            self._take_word(text, where)
        elif number is not None:
            self._numbers.append(number)
        return text if number is None else repr(number)

    def _refuse_text(self, text: str, where: str) -> None:
        if self._wanted is Kind.NUMERIC:
            raise BadData(
                f"{where} has {_shown(text)} in the numeric column {self.name!r}. Write a number there, remove the "
                "line, or name the column in spec.training.data.table.categorical or ignored."
            )
        if self._words is None:
            # So many different numbers before this one: no list of words.
            raise BadData(_mistake(self.name, text, where))

    def _take_text(self, text: str, where: str) -> None:
        encoded = text.encode()
        if len(encoded) > LONGEST_TEXT:
            raise BadData(
                f"{where} has a text of {len(encoded):,} bytes in the text column {self.name!r}, and {LONGEST_TEXT:,} "
                "are the most. Shorten it; only its first spec.training.data.table.sequenceLength words are read."
            )
        self._bytes.append(encoded)
        self.bytes += len(encoded)

    def _take_word(self, text: str, where: str) -> None:
        if self._words is None:
            return
        self._codes.append(self._words.setdefault(text, len(self._words)))
        if len(self._words) <= MOST_WORDS:
            return
        if self._wanted is Kind.CATEGORICAL or self._texts:
            raise BadData(
                f"The column {self.name!r} has more than {MOST_WORDS:,} different words, the last one in "
                f"{where[0].lower()}{where[1:]}, too many to learn from. Name it in spec.training.data.table.text if "
                "it holds texts, else in ignored."
            )
        self._words, self._codes = None, array("i")

    @property
    def kind(self) -> Kind:
        """What was asked for, or what all cells together show.

        Raises:
            BadData: nearly all cells are numbers, and nobody said that the others are no mistakes.
        """
        if self._wanted is not None:
            return self._wanted
        numbers = len(self._numbers) - self._texts - self._blanks
        if not numbers or self._texts > _FEW_WORDS * (numbers + self._texts):
            return Kind.CATEGORICAL
        if self._no_number is not None:
            raise BadData(_mistake(self.name, *self._no_number))
        if self._empty is not None:
            raise BadData(_mistake(self.name, "", self._empty))
        return Kind.NUMERIC

    @property
    def numbers(self) -> npt.NDArray[np.float32]:
        """Float32 [rows] of a numeric column."""
        return np.frombuffer(self._numbers, dtype=np.float32)

    @property
    def codes(self) -> npt.NDArray[np.int32]:
        """int32 [rows] of a categorical column: places in `words`."""
        return np.frombuffer(self._codes, dtype=np.int32)

    @property
    def words(self) -> tuple[str, ...]:
        """The different words of a categorical column, in the order in which they came."""
        return tuple(self._words or ())

    @property
    def texts(self) -> npt.NDArray[np.object_]:
        """Bytes [rows] of a text column: UTF-8."""
        return np.array(self._bytes, dtype=object)


def _mistake(name: str, text: str, where: str) -> str:
    return (
        f"{where} has {_shown(text)} in the column {name!r}, where nearly all other cells are numbers. Write a number "
        "there, remove the line, or name the column in spec.training.data.table.categorical or ignored."
    )


def _shown(text: str) -> str:
    return repr(text[:_SHOWN]) if text else "nothing"
