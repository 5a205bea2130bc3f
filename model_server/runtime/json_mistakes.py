"""Finding the first mistake in a JSON tensor, in TensorFlow Serving's order and words.

Called only for values that are already known to be wrong, so it may be slow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from model_server.runtime.dtypes import DataType
from model_server.runtime.errors import Code, ServingError, invalid
from model_server.runtime.json_values import decode_base64, dense_shape, is_base64, show, type_name

# NumPy's own limit is 64; TensorFlow's kernels stop at 8. Deeper lists are mistakes or attacks.
MAX_LEVELS = 32
# Types that JSON can carry; the others (complex, quantized) only travel through gRPC.
JSON_TYPES = frozenset(
    {
        DataType.HALF,
        DataType.BFLOAT16,
        DataType.FLOAT,
        DataType.DOUBLE,
        DataType.INT8,
        DataType.INT16,
        DataType.INT32,
        DataType.INT64,
        DataType.UINT8,
        DataType.UINT16,
        DataType.UINT32,
        DataType.UINT64,
        DataType.BOOL,
        DataType.STRING,
    }
)


def type_error(value: Any, dtype: DataType) -> ServingError:
    """A JSON value of the wrong type, or one that the type cannot hold."""
    return invalid(f"JSON Value: {show(value)} Type: {type_name(value)} is not of expected type: {dtype.label}")


def too_deep(levels: int) -> ServingError:
    """A list nested deeper than any tensor."""
    return invalid(f"lists are nested {levels} levels deep, tensors have at most {MAX_LEVELS} dimensions")


def find_mistake(value: Any, dtype: DataType, accepts: Callable[[Any, DataType], bool]) -> ServingError | None:
    """The first mistake in `value` as a tensor of `dtype`, None when there is none.

    `accepts(scalar, dtype)` says whether one value may be an element.
    """
    shape = dense_shape(value)
    if len(shape) > MAX_LEVELS:
        return too_deep(len(shape))
    return _find(value, 0, shape, dtype, accepts)


def _find(
    value: Any, level: int, shape: list[int], dtype: DataType, accepts: Callable[[Any, DataType], bool]
) -> ServingError | None:
    rank = len(shape)
    if not isinstance(value, list):
        if level != rank:
            return invalid(
                f"JSON Value: {show(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {rank}"
            )
        return _scalar_mistake(value, dtype, accepts)
    if level >= rank:
        return invalid(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != shape[level]:
        return invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        error = _find(item, level + 1, shape, dtype, accepts)
        if error is not None:
            return error
    return None


def _scalar_mistake(value: Any, dtype: DataType, accepts: Callable[[Any, DataType], bool]) -> ServingError | None:
    if dtype not in JSON_TYPES:
        return ServingError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {show(value)} to type: {dtype.label}")
    if isinstance(value, dict) and dtype is DataType.STRING:
        if not is_base64(value):
            return invalid(f"JSON Value: {show(value)} not formatted correctly for base64 data")
        return None if decode_base64(value["b64"]) is not None else invalid("Unable to base64 decode")
    return None if accepts(value, dtype) else type_error(value, dtype)
