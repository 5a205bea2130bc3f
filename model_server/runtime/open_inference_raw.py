"""Tensors of the Open Inference Protocol as raw bytes, which both transports have.

They are the elements in row-major order, little-endian, without padding; of BYTES each is its length (4 bytes,
little-endian, unsigned) and then its content.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

from model_server.runtime.dtypes import Array, DataType
from model_server.runtime.errors import invalid
from model_server.runtime.open_inference_types import DATATYPES


def read_raw(name: str, content: bytes | memoryview, dtype: DataType) -> Array:
    """The elements of input `name`, as a vector: of numbers a view of `content`. Raises ServingError."""
    element = dtype.numpy
    if dtype is DataType.STRING or element is None:
        return string_vector(_split(name, content))
    if len(content) % element.itemsize:
        raise invalid(f'input "{name}": {len(content)} raw bytes are no whole number of {DATATYPES[dtype]} elements')
    # A bool of another value than 0 and 1 is none in TensorFlow.
    return np.frombuffer(content, np.uint8) != 0 if dtype is DataType.BOOL else np.frombuffer(content, element)


def string_vector(values: Iterable[bytes]) -> Array:
    """The vector of these strings."""
    items = list(values)
    array: Array = np.empty(len(items), np.object_)
    array[:] = items
    return array


def _split(name: str, content: bytes | memoryview) -> list[bytes]:
    items: list[bytes] = []
    at = 0
    while at < len(content):
        end = at + 4
        if end <= len(content):
            (size,) = struct.unpack_from("<I", content, at)
            at, end = end, end + size
        if end > len(content):
            raise invalid(f'input "{name}": raw BYTES end within element {len(items)}; each is 4 bytes of length first')
        items.append(bytes(content[at:end]))
        at = end
    return items


def write_raw(array: Array, dtype: DataType) -> bytes | memoryview:
    """The elements of an output: of numbers a view of its memory where they lie in row-major order already."""
    if dtype is DataType.STRING:
        return b"".join(struct.pack("<I", len(item)) + item for item in array.ravel().tolist())
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
