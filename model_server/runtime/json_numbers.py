"""Tensors of numbers straight from a body's text, without a Python object for each number.

Most of a large request is one nested list of numbers. simdjson reads them into one flat buffer; that the lists are of
one size a level is seen from the text without its numbers, which leaves brackets and commas. Whatever is out of the
ordinary (names, strings, NaN, a mistake) is left to `json_codec`.
"""

from __future__ import annotations

import math
import re
import threading
from typing import Any, Literal, NamedTuple

import numpy as np
import simdjson

from model_server.runtime.dtypes import Array, DataType, bfloat16_from
from model_server.runtime.json_mistakes import MAX_LEVELS

_NAME = rb'\s*"signature_name"\s*:\s*"([A-Za-z0-9_.-]*)"\s*'
_HEAD = re.compile(rb"\s*\{(?:" + _NAME + rb',)?\s*"(instances|inputs)"\s*:\s*(?=\[)')
_TAIL = re.compile(rb"\s*(?:," + _NAME + rb")?\}\s*")
_NUMBER_BYTES = b"0123456789.eE+- \t\r\n"
# What simdjson reads an element type as, and what comes out.
_READ_AS: dict[str, tuple[Literal["d", "i", "u"], Any]] = {
    "f": ("d", np.float64),
    "i": ("i", np.int64),
    "u": ("u", np.uint64),
}


class NumberText(NamedTuple):
    """A body of the form `{"instances": [...]}`, not parsed yet. `text` is the list."""

    signature_name: str
    key: str
    text: bytes
    body: bytes

    def array(self, dtype: DataType) -> Array | None:
        """The tensor, or None when the list is not one of numbers of that type, all of one size a level."""
        element = np.dtype(np.float32) if dtype is DataType.BFLOAT16 else dtype.numpy
        if element is None or element.kind not in _READ_AS:
            return None
        flat = _flat(self.text, *_READ_AS[element.kind])
        shape = None if flat is None else _shape(self.text, flat.size)
        if flat is None or shape is None:
            return None
        narrow = _narrowed(flat, element)
        if narrow is None:
            return None
        return (bfloat16_from(narrow) if dtype is DataType.BFLOAT16 else narrow).reshape(shape)


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
    return NumberText(name.decode(), head[2].decode(), body[head.end() : end], body)


class _Parsers(threading.local):
    """A parser for each thread: it keeps its buffers from one request to the next."""

    def __init__(self) -> None:
        self.parser = simdjson.Parser()


_PARSERS = _Parsers()


def _flat(text: bytes, kind: Literal["d", "i", "u"], element: Any) -> Array | None:
    try:
        # The parser may be used again once nothing refers to its document: the buffer is a copy.
        document: Any = _PARSERS.parser.parse(text)
        numbers: Array = np.frombuffer(document.as_buffer(of_type=kind), element)
    except (ValueError, TypeError, RuntimeError):  # the last for integers past 64 bits
        return None
    return numbers


def _narrowed(flat: Array, element: np.dtype[np.generic]) -> Array | None:
    if flat.dtype == element:
        return flat
    if element.kind == "f":
        with np.errstate(over="ignore"):
            floats = flat.astype(element)
            # One pass where all is well; a sum may also overflow where no number does.
            well = math.isfinite(floats.sum()) or not np.isinf(floats).any()
        return floats if well else None
    # Cutting off bits changes a number that does not fit.
    integers = flat.astype(element)
    return integers if np.array_equal(integers, flat) else None


def _shape(text: bytes, count: int) -> tuple[int, ...] | None:
    """The shape of nested lists with `count` numbers in all; None when they are ragged, empty or too deep."""
    skeleton = text.translate(None, _NUMBER_BYTES)
    sizes = _KNOWN.sizes(skeleton)
    # A list of one element and an empty one have the same skeleton: the count tells them apart.
    return None if sizes is None or math.prod(sizes) != count else sizes


def _sizes(skeleton: bytes) -> tuple[int, ...] | None:
    """The size of each level of nested lists, the outermost first, of which only brackets and commas are left."""
    depth = len(skeleton) - len(skeleton.lstrip(b"["))
    if depth > MAX_LEVELS:
        return None
    sizes: list[int] = []
    regular, inner = b"", 0
    for level in range(1, depth + 1):
        # Where the first list of this level ends, so many brackets close for the first time.
        length = skeleton.find(b"]" * level) + level - (depth - level)
        size = (length - 1) // (inner + 1)
        if size < 1:
            return None
        sizes.append(size)
        regular = b"[" + b",".join([regular] * size) + b"]"
        inner = len(regular)
        if inner > len(skeleton):
            return None
    return tuple(sizes[::-1]) if regular == skeleton else None


class _KnownSizes:
    """The last skeletons and their sizes: clients of one model send the same shapes over and over.

    Comparing is a tenth of working out, and less than hashing. Any thread may replace the tuple, none changes it.
    """

    def __init__(self) -> None:
        self._known: tuple[tuple[bytes, tuple[int, ...]], ...] = ()

    def sizes(self, skeleton: bytes) -> tuple[int, ...] | None:
        """As `_sizes`."""
        for known, sizes in self._known:
            if known == skeleton:
                return sizes
        found = _sizes(skeleton)
        if found is not None and len(skeleton) <= _KEPT_BYTES:
            self._known = ((skeleton, found), *self._known[: _KEPT - 1])
        return found


_KEPT = 8
# That of 1,000 x 1,000 x 3 numbers has 5 MB.
_KEPT_BYTES = 1024 * 1024
_KNOWN = _KnownSizes()
