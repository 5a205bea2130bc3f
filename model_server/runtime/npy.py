"""Tensors as `.npy` files: NumPy's own format, of numbers only. Nothing is ever unpickled.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
import io
import math
import struct
from typing import Any

import numpy as np

from model_server.runtime.dtypes import Array, DataType
from model_server.runtime.errors import invalid
from model_server.runtime.shapes import check_shape

MEDIA_TYPE = "application/x-npy"
_ANY_BYTES = "application/octet-stream"
_MAGIC = b"\x93NUMPY"
# NumPy writes 128 bytes; 64 sizes of 19 digits are 1,300.
_MAX_HEADER_BYTES = 4096
_KEYS = {"descr", "fortran_order", "shape"}
# Halves of 16 bits that NumPy has no name for come as no `.npy`.
_TYPES = {
    dtype.numpy.str: dtype
    for dtype in DataType
    if dtype.numpy is not None and dtype not in {DataType.STRING, DataType.BFLOAT16}
}


def is_npy(content_type: str, body: bytes) -> bool:
    """Whether a body of this type is to be read as `.npy`; bytes without a type may also be JSON."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == MEDIA_TYPE or (kind == _ANY_BYTES and not body.lstrip().startswith(b"{"))


def read_npy(name: str, body: bytes) -> tuple[Array, DataType]:
    """The values and type of input `name`, without a copy. Raises ServingError, saying what is wrong with the file."""
    header, start = _header(body)
    descr, shape = header["descr"], header["shape"]
    if not isinstance(descr, str):
        raise invalid("the .npy file has a structured dtype, send an array of numbers")
    dtype = _TYPES.get(descr)
    element = dtype.numpy if dtype is not None else None
    if descr.endswith("O"):
        raise invalid("the .npy file holds Python objects, which this server never unpickles: send an array of numbers")
    if dtype is None or element is None:
        raise invalid(f"the .npy file has dtype {descr!r:.60}, send one of {', '.join(_TYPES)}")
    if header["fortran_order"] is not False:
        raise invalid("the .npy file is in Fortran order: save numpy.ascontiguousarray(array)")
    # Not shown: Python refuses to print integers of thousands of digits.
    if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 2**63 for size in shape):
        raise invalid("the .npy file's shape must be a tuple of sizes from 0 to 2**63 - 1")
    check_shape(name, shape, element.itemsize)
    wanted, found = math.prod(shape) * element.itemsize, len(body) - start
    if wanted != found:
        raise invalid(
            f"the .npy file has {found} bytes after its header, but shape {list(shape)} of {dtype.label} takes {wanted}"
        )
    if dtype is DataType.BOOL:  # another value than 0 and 1 is none in TensorFlow
        return (np.frombuffer(body, np.uint8, offset=start) != 0).reshape(shape), dtype
    return np.frombuffer(body, element, offset=start).reshape(shape), dtype


def _header(body: bytes) -> tuple[dict[str, Any], int]:
    """The header, and where the values begin."""
    if not body.startswith(_MAGIC):
        raise invalid("the body is no .npy file: it does not begin with \\x93NUMPY")
    form = "<I" if body[6:7] in {b"\x02", b"\x03"} else "<H"
    start = 8 + struct.calcsize(form)
    if len(body) < start:
        raise invalid("the .npy file ends within its header")
    (size,) = struct.unpack_from(form, body, 8)
    if size > _MAX_HEADER_BYTES:
        raise invalid(f"the .npy file's header has {size} bytes, at most {_MAX_HEADER_BYTES} are read")
    if len(body) < start + size:
        raise invalid("the .npy file ends within its header")
    try:
        header = ast.literal_eval(body[start : start + size].decode("latin-1").strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        header = None
    if not isinstance(header, dict) or set(header) != _KEYS:
        raise invalid("the .npy file's header must be a Python dictionary of descr, fortran_order and shape")
    return header, start + size


def write_npy(array: Array) -> bytes:
    """The file for numbers of a type that NumPy has."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)
    return file.getvalue()
