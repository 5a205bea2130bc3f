"""TensorFlow's element types: their numbers, names and NumPy types."""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt

# Arrays whose element type is known only at run time; TensorFlow strings are arrays of `bytes` objects.
Array = npt.NDArray[np.generic]


class DataType(enum.IntEnum):
    """`tensorflow.DataType`, without the reference types."""

    FLOAT = 1
    DOUBLE = 2
    INT32 = 3
    UINT8 = 4
    INT16 = 5
    INT8 = 6
    STRING = 7
    COMPLEX64 = 8
    INT64 = 9
    BOOL = 10
    QINT8 = 11
    QUINT8 = 12
    QINT32 = 13
    BFLOAT16 = 14
    QINT16 = 15
    QUINT16 = 16
    UINT16 = 17
    COMPLEX128 = 18
    HALF = 19
    RESOURCE = 20
    VARIANT = 21
    UINT32 = 22
    UINT64 = 23

    # The type of one element in memory, None where requests cannot carry it.
    numpy: np.dtype[np.generic] | None

    @property
    def label(self) -> str:
        """The name TensorFlow prints (`DataTypeString`)."""
        return self.name.lower()


def bfloat16_from(floats: Array) -> Array:
    """The bits of the bfloat16 numbers nearest to `floats` (float32), ties to the even one, as uint16."""
    bits = floats.view(np.uint32)
    rounded: Array = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    # Rounding would carry a NaN's last bits into its exponent and sign.
    return np.where(np.isnan(floats), np.uint16(0x7FC0), rounded)


def float32_from(array: Array, dtype: DataType) -> Array:
    """`array` as float32 when it holds halves or the bits of bfloat16 numbers, and as it is otherwise."""
    if dtype is DataType.HALF:
        return array.astype(np.float32)
    if dtype is DataType.BFLOAT16:
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array


_NUMPY: dict[DataType, np.dtype[np.generic]] = {
    DataType.FLOAT: np.dtype(np.float32),
    DataType.DOUBLE: np.dtype(np.float64),
    DataType.INT32: np.dtype(np.int32),
    DataType.UINT8: np.dtype(np.uint8),
    DataType.INT16: np.dtype(np.int16),
    DataType.INT8: np.dtype(np.int8),
    DataType.STRING: np.dtype(np.object_),
    DataType.COMPLEX64: np.dtype(np.complex64),
    DataType.INT64: np.dtype(np.int64),
    DataType.BOOL: np.dtype(np.bool_),
    # NumPy has no bfloat16: only its bits travel through this server, never its values.
    DataType.BFLOAT16: np.dtype(np.uint16),
    DataType.UINT16: np.dtype(np.uint16),
    DataType.COMPLEX128: np.dtype(np.complex128),
    DataType.HALF: np.dtype(np.float16),
    DataType.UINT32: np.dtype(np.uint32),
    DataType.UINT64: np.dtype(np.uint64),
}
for _member in DataType:
    _member.numpy = _NUMPY.get(_member)
