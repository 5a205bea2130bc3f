"""What must be right of two arrays, whoever is to learn from them or is tested on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from model_trainer.failure import BadData
from model_trainer.npz.arrays import Header, NpzFile

# Of arrays that a file has, in a sentence.
_NAMED = 5


def no_array(file: NpzFile, missing: str, how: str) -> BadData:
    """The error for an array that is not there; `how` says by which call all of them are saved."""
    more = " and more" if len(file.names) > _NAMED else ""
    there = ", ".join(map(repr, file.names[:_NAMED])) or "none"
    return BadData(f"{file.address} has no array {missing!r}; it has {there}{more}. {how}")


def check_one_number(y: Header, where: str) -> None:
    """Raises BadData where the array has several numbers a row."""
    if len(y.shape) == 2 and y.shape[1] != 1:
        raise BadData(
            f"{y.said} {where} has {y.shape[1]} numbers a row, and a class is one whole number. Of one-hot labels, "
            "save y.argmax(axis=1)."
        )


def check_lengths(x: Header, y: Header, where: str) -> None:
    """Raises BadData where the arrays, of one dimension at least, have different numbers of rows."""
    if x.shape[0] != y.shape[0]:
        raise BadData(
            f"{x.said} and {y.said} {where} have different lengths: {x.shape[0]} and {y.shape[0]}. Each row needs "
            "its class."
        )


def labels_of(file: NpzFile, y: Header) -> npt.NDArray[np.int64]:
    """The classes, whole numbers from 0 up. Raises BadData where one is none."""
    found = np.concatenate([block.reshape(-1) for _, block in file.blocks(y)])
    wrong = np.flatnonzero((found < 0) | (found > np.iinfo(np.int64).max))
    if len(wrong):
        raise BadData(
            f"{y.name}[{wrong[0]}] in {file.address} is {found[wrong[0]]}, and a class is a whole number from 0 up. "
            "Correct it, or leave the row out."
        )
    return found.astype(np.int64)


def check_finite(array: Header, address: str, first: int, block: npt.NDArray[Any]) -> None:
    """Raises BadData where a number of the block, whose first row is the row `first`, is NaN or infinite."""
    if array.dtype.kind == "f" and not np.isfinite(block).all():
        place = tuple(np.argwhere(~np.isfinite(block))[0])
        index = ", ".join(map(str, (first + place[0], *place[1:])))
        raise BadData(
            f"{array.name}[{index}] in {address} is {block[place]}. Write a number there, or leave the row out."
        )


def features_of(array: Header, address: str, first: int, block: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The block in the numbers that networks compute in. Raises BadData where one is too large for them."""
    largest = float(np.finfo(np.float32).max)
    if array.dtype.itemsize > np.dtype(np.float32).itemsize and np.abs(block.astype(np.float64)).max() > largest:
        place = tuple(np.argwhere(np.abs(block.astype(np.float64)) > largest)[0])
        index = ", ".join(map(str, (first + place[0], *place[1:])))
        raise BadData(
            f"{array.name}[{index}] in {address} is {block[place]:g}, which no float32 holds. Scale it, or leave the "
            "row out."
        )
    return block.astype(np.float32)
