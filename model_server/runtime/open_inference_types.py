"""The Open Inference Protocol's words for TensorFlow's element types."""

from __future__ import annotations

from model_server.runtime.dtypes import DataType

DATATYPES = {
    DataType.BOOL: "BOOL",
    DataType.UINT8: "UINT8",
    DataType.UINT16: "UINT16",
    DataType.UINT32: "UINT32",
    DataType.UINT64: "UINT64",
    DataType.INT8: "INT8",
    DataType.INT16: "INT16",
    DataType.INT32: "INT32",
    DataType.INT64: "INT64",
    DataType.HALF: "FP16",
    DataType.BFLOAT16: "BF16",
    DataType.FLOAT: "FP32",
    DataType.DOUBLE: "FP64",
    DataType.STRING: "BYTES",
}
TYPES = {name: dtype for dtype, name in DATATYPES.items()}
