"""Tensors of numbers straight from a body's text, without a Python object for each number.

Most of a large request is one nested list of numbers, which compiled code reads in one pass. Whatever is out of the
ordinary (names, strings, NaN, a mistake) is left to `json_codec`.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import numpy as np

from model_server.runtime import _number_lists
from model_server.runtime.dtypes import Array, DataType, bfloat16_from

_NAME = rb'\s*"signature_name"\s*:\s*"([A-Za-z0-9_.-]*)"\s*'
_HEAD = re.compile(rb"\s*\{(?:" + _NAME + rb',)?\s*"(instances|inputs)"\s*:\s*(?=\[)')
_TAIL = re.compile(rb"\s*(?:," + _NAME + rb")?\}\s*")
# What elements are read as, before they are narrowed.
_READ_AS: dict[str, Literal["f", "d", "q", "Q"]] = {"f": "d", "i": "q", "u": "Q"}


class NumberText(NamedTuple):
    """A body of the form `{"instances": [...]}`, not parsed yet. The list is `body[start:end]`."""

    signature_name: str
    key: str
    body: bytes
    start: int
    end: int

    def array(self, dtype: DataType) -> Array | None:
        """The tensor, or None when the list is not one of numbers of that type, all of one size a level."""
        element = np.dtype(np.float32) if dtype is DataType.BFLOAT16 else dtype.numpy
        if element is None or element.kind not in _READ_AS:
            return None
        kind = "f" if element == np.float32 else _READ_AS[element.kind]
        found = _number_lists.read(self.body, self.start, self.end, kind)
        if found is None:
            return None
        flat, shape = found
        numbers = _narrowed(np.ndarray(shape, kind, flat), element)
        return bfloat16_from(numbers) if numbers is not None and dtype is DataType.BFLOAT16 else numbers


def find_number_text(body: bytes) -> NumberText | None:
    """The parts of a body that seems to hold one list; None for any other, also for one that is damaged."""
    head = _HEAD.match(body)
    if head is None:
        return None
    end = body.rfind(b"]") + 1
    tail = _TAIL.fullmatch(body, end)
    if tail is None or end <= head.end() or (head[1] is not None and tail[1] is not None):
        return None
    name = head[1] or tail[1] or b""
    return NumberText(name.decode(), head[2].decode(), body, head.end(), end)


def _narrowed(flat: Array, element: np.dtype[np.generic]) -> Array | None:
    if flat.dtype == element:
        return flat
    with np.errstate(over="ignore"):
        narrow = flat.astype(element)
    # Cutting off bits changes an integer that does not fit; a float becomes infinite.
    well = np.isfinite(narrow).all() if element.kind == "f" else np.array_equal(narrow, flat)
    return narrow if well else None
