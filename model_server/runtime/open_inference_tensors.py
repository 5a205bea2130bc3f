"""Tensors in the Open Inference Protocol's gRPC messages: typed contents, or raw bytes beside them.

FP16 and BF16 have no typed field and come raw only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from model_server.runtime.batching import Arrays
from model_server.runtime.dtypes import Array, DataType
from model_server.runtime.errors import invalid
from model_server.runtime.manager import Version
from model_server.runtime.open_inference import (
    InferRequest,
    fill_shape,
    find_datatype,
    output_datatype,
)
from model_server.runtime.open_inference_proto import message
from model_server.runtime.open_inference_raw import read_raw, string_vector, write_raw
from model_server.runtime.savedmodel import Signature
from model_server.runtime.shapes import check_shape

_FIELDS: Mapping[DataType, str] = {
    DataType.BOOL: "bool_contents",
    DataType.INT8: "int_contents",
    DataType.INT16: "int_contents",
    DataType.INT32: "int_contents",
    DataType.INT64: "int64_contents",
    DataType.UINT8: "uint_contents",
    DataType.UINT16: "uint_contents",
    DataType.UINT32: "uint_contents",
    DataType.UINT64: "uint64_contents",
    DataType.FLOAT: "fp32_contents",
    DataType.DOUBLE: "fp64_contents",
    DataType.STRING: "bytes_contents",
}


def read_infer(request: Any) -> InferRequest:
    """A ModelInferRequest's tensors and wishes. Raises ServingError, naming the input and what is wrong with it."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise invalid(f"raw_input_contents has {len(raw)} entries for {len(request.inputs)} inputs: send one for each")
    inputs: dict[str, tuple[Array, DataType]] = {}
    for position, tensor in enumerate(request.inputs):
        if tensor.name in inputs:
            raise invalid(f'input "{tensor.name}" is given twice')
        dtype = find_datatype(tensor.name, tensor.datatype)
        element = dtype.numpy
        check_shape(tensor.name, tensor.shape, 8 if element is None else element.itemsize)
        if not raw:
            flat = _from_contents(tensor, dtype)
        elif tensor.HasField("contents"):
            raise invalid(f'input "{tensor.name}" has contents beside raw_input_contents: send one of them')
        else:
            flat = read_raw(tensor.name, raw[position], dtype)
        inputs[tensor.name] = (fill_shape(tensor.name, flat, tensor.shape), dtype)
    parameter = request.parameters.get("signature_name")
    if parameter is not None and parameter.WhichOneof("parameter_choice") != "string_param":
        raise invalid("parameters.signature_name must be a string_param")
    name = parameter.string_param if parameter is not None else ""
    return InferRequest(request.id, name, inputs, [output.name for output in request.outputs])


def _from_contents(tensor: Any, dtype: DataType) -> Array:
    wanted, element = _FIELDS.get(dtype), dtype.numpy
    if wanted is None or element is None:
        raise invalid(f'input "{tensor.name}": {tensor.datatype} has no contents of its own, send raw_input_contents')
    for field, _ in tensor.contents.ListFields():
        if field.name != wanted:
            raise invalid(f'input "{tensor.name}": {tensor.datatype} is taken from {wanted}, found {field.name}')
    values = getattr(tensor.contents, wanted)
    if dtype is DataType.STRING:
        return string_vector(values)
    numbers = np.fromiter(values, _WIDE.get(wanted, element), len(values))
    narrow = numbers.astype(element)
    if wanted in _WIDE and not np.array_equal(numbers, narrow):
        limits = np.iinfo(element.name)
        raise invalid(
            f'input "{tensor.name}": {tensor.datatype} holds numbers from {limits.min} to {limits.max}, '
            f"found {numbers[numbers != narrow][0]}"
        )
    return narrow


# The fields that carry several types.
_WIDE = {"int_contents": np.dtype(np.int32), "uint_contents": np.dtype(np.uint32)}


def infer_response(version: Version, signature: Signature, request: Any, outputs: Arrays) -> Any:
    """The ModelInferResponse: raw if the request was, or if a type has no other form. Raises ServingError."""
    response = message("ModelInferResponse")(model_name=version.model, model_version=str(version.number), id=request.id)
    raw = bool(request.raw_input_contents) or any(signature.outputs[name].dtype not in _FIELDS for name in outputs)
    for name, array in outputs.items():
        dtype = signature.outputs[name].dtype
        tensor = response.outputs.add(name=name, datatype=output_datatype(signature, name), shape=array.shape)
        if not raw:
            getattr(tensor.contents, _FIELDS[dtype]).extend(array.ravel().tolist())
        else:
            response.raw_output_contents.append(bytes(write_raw(array, dtype)))
    return response
