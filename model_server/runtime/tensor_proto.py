"""`TensorProto` messages, as gRPC carries them, to and from arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from model_server.runtime.dtypes import Array, DataType
from model_server.runtime.errors import invalid
from model_server.runtime.protobufs import TensorProto
from model_server.runtime.shapes import check_shape

# Which repeated field carries which type (tensor.proto).
_FIELDS: dict[DataType, str] = {
    DataType.FLOAT: "float_val",
    DataType.DOUBLE: "double_val",
    DataType.INT32: "int_val",
    DataType.UINT8: "int_val",
    DataType.INT16: "int_val",
    DataType.INT8: "int_val",
    DataType.UINT16: "int_val",
    DataType.STRING: "string_val",
    DataType.COMPLEX64: "scomplex_val",
    DataType.INT64: "int64_val",
    DataType.BOOL: "bool_val",
    DataType.BFLOAT16: "half_val",
    DataType.COMPLEX128: "dcomplex_val",
    DataType.HALF: "half_val",
    DataType.UINT32: "uint32_val",
    DataType.UINT64: "uint64_val",
}
_TYPES = {int(dtype): dtype for dtype in _FIELDS}


def array_from_proto(name: str, proto: Any) -> tuple[Array, DataType]:
    """The values and type of input `name`.

    Numbers come as `tensor_content` (raw bytes in C order) or in the type's own field; fewer values than the shape
    asks for repeat the last one. Raises ServingError when they do not fit the shape.
    """
    dtype = _TYPES.get(proto.dtype)
    element = dtype.numpy if dtype is not None else None
    if dtype is None or element is None:
        raise invalid(f'input "{name}": tensors of type {proto.dtype} are not supported')
    dims = proto.tensor_shape
    shape = tuple([dim.size for dim in dims.dim])
    if dims.unknown_rank or min(shape, default=0) < 0:
        raise invalid(f'input "{name}": the tensor\'s shape must be fully known')
    check_shape(name, shape, element.itemsize)
    count = math.prod(shape)
    content = proto.tensor_content  # each look at it is a copy
    if content and dtype is not DataType.STRING:
        wanted = count * element.itemsize
        if len(content) != wanted:
            raise invalid(
                f'input "{name}": tensor_content has {len(content)} bytes, but shape {list(shape)} of {dtype.label} '
                f"takes {wanted}"
            )
        return np.frombuffer(content, element).reshape(shape), dtype
    return _from_values(name, _flat(getattr(proto, _FIELDS[dtype]), dtype, element), shape), dtype


def claimed_bytes(proto: Any) -> int:
    """As many bytes as the message says that its tensor has, at eight for each element; it may say anything."""
    elements: int = math.prod([dim.size for dim in proto.tensor_shape.dim])
    return 8 * elements


def _from_values(name: str, flat: Array, shape: tuple[int, ...]) -> Array:
    count = math.prod(shape)
    if flat.size == count:
        return flat.reshape(shape)
    if flat.size > count:
        raise invalid(f'input "{name}": {flat.size} values were sent for shape {list(shape)}, which takes {count}')
    if count > _LARGEST_SHORT_FORM:
        raise invalid(
            f'input "{name}": a short-form tensor of shape {list(shape)} would have {count} values; at most '
            f"{_LARGEST_SHORT_FORM} are made from one, send tensor_content"
        )
    rest: Array = np.full(count - flat.size, flat[-1] if flat.size else _EMPTY.get(flat.dtype.kind, 0), flat.dtype)
    return np.concatenate([flat, rest]).reshape(shape)


# A short-form tensor is a few bytes on the wire and may stand for any size: 64 Mi values are 256 MiB of floats, more
# than any image batch, and less than would end the process.
_LARGEST_SHORT_FORM = 64 * 1024 * 1024
_EMPTY: dict[str, Any] = {"O": b""}


def _flat(values: Any, dtype: DataType, element: np.dtype[np.generic]) -> Array:
    if dtype is DataType.STRING:
        strings: Array = np.empty(len(values), np.object_)
        strings[:] = values
        return strings
    if dtype in {DataType.HALF, DataType.BFLOAT16}:
        return np.fromiter(values, np.int32, len(values)).astype(np.uint16).view(element)
    if dtype in {DataType.COMPLEX64, DataType.COMPLEX128}:
        part = np.float32 if dtype is DataType.COMPLEX64 else np.float64
        return np.fromiter(values, part, len(values) // 2 * 2).view(element)
    if _FIELDS[dtype] == "int_val":
        return np.fromiter(values, np.int32, len(values)).astype(element)
    return np.fromiter(values, element, len(values))


def proto_from_array(array: Array, dtype: DataType, *, as_content: bool) -> Any:
    """The message for an output: in the type's own field, or as raw `tensor_content` where that is asked for."""
    proto = TensorProto(dtype=int(dtype))
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if dtype is DataType.STRING:
        proto.string_val.extend(array.ravel().tolist())
    elif as_content:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()
    elif dtype in {DataType.HALF, DataType.BFLOAT16}:
        proto.half_val.extend(np.ascontiguousarray(array).view(np.uint16).ravel().tolist())
    elif dtype in {DataType.COMPLEX64, DataType.COMPLEX128}:
        part = np.float32 if dtype is DataType.COMPLEX64 else np.float64
        getattr(proto, _FIELDS[dtype]).extend(np.ascontiguousarray(array).view(part).ravel().tolist())
    else:
        getattr(proto, _FIELDS[dtype]).extend(array.ravel().tolist())
    return proto
