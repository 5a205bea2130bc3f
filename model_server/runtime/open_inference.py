"""The Open Inference Protocol, version 2: what both transports share, and REST's paths, requests and answers.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md. Tensors are JSON:
name, shape, datatype and data, flat in row-major order or nested.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote

import numpy as np

from model_server.runtime.batching import Arrays
from model_server.runtime.dtypes import Array, DataType, float32_from
from model_server.runtime.errors import invalid
from model_server.runtime.json_codec import decode_tensor, dump
from model_server.runtime.json_mistakes import type_error
from model_server.runtime.json_values import parse_json, show
from model_server.runtime.manager import Version
from model_server.runtime.savedmodel import Signature, TensorSpec
from model_server.runtime.servable import Servable, check_inputs, select_outputs
from model_server.runtime.shapes import check_shape

SERVER = "keras-operator"
_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([0-9]+))?(?:/(ready|infer))?")
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


_T = TypeVar("_T")
# A request as it is run: the signature, its inputs, the outputs to compute, and what makes the answer of those.
Decoded = tuple[Signature, Arrays, list[str], Callable[[Arrays], _T]]


class InferRequest(NamedTuple):
    """A parsed request: the caller's id, the signature's name ("" for the default), tensors, and outputs asked for."""

    id: str | None
    signature_name: str
    inputs: dict[str, tuple[Array, DataType]]
    outputs: list[str]


def decode_infer(request: InferRequest, servable: Servable, encode: Callable[[Signature, Arrays], _T]) -> Decoded[_T]:
    """A parsed request for this servable; `encode` makes the answer from its outputs. Raises ServingError."""
    signature = servable.interface.signature(request.signature_name)
    arrays = check_inputs(signature, request.inputs)
    outputs = select_outputs(signature, request.outputs)
    return signature, arrays, outputs, lambda results: encode(signature, results)


def server_metadata(version: str) -> dict[str, Any]:
    """The answer to `GET /v2`."""
    return {"name": SERVER, "version": version, "extensions": []}


def model_metadata(version: Version, servable: Servable) -> dict[str, Any]:
    """The answer to `GET /v2/models/NAME`: the default signature's tensors. Raises ServingError."""
    signature = servable.interface.signature("")
    return {
        "name": version.model,
        "versions": [str(version.number)],
        "platform": "tensorflow_savedmodel",
        "inputs": [_described(spec) for spec in signature.inputs.values()],
        "outputs": [_described(spec) for spec in signature.outputs.values()],
    }


def _described(spec: TensorSpec) -> dict[str, Any]:
    shape = [] if spec.shape is None else [-1 if size is None else size for size in spec.shape]
    return {"name": spec.name, "datatype": DATATYPES.get(spec.dtype, spec.dtype.label.upper()), "shape": shape}


def parse_infer(body: bytes) -> InferRequest:
    """Read the body of an infer request. Raises ServingError, naming the input and what is wrong with it."""
    document = _object(parse_json(body), "the request")
    identity = document.get("id")
    if not isinstance(identity, str | None):
        raise invalid(f"id must be a string, found {show(identity)}")
    name = _object(document.get("parameters", {}), "parameters").get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(f"parameters.signature_name must be a string, found {show(name)}")
    inputs: dict[str, tuple[Array, DataType]] = {}
    for entry in _list(document.get("inputs"), "inputs"):
        key, tensor = _tensor(_object(entry, "an entry of inputs"))
        if key in inputs:
            raise invalid(f'input "{key}" is given twice')
        inputs[key] = tensor
    outputs = [
        _text(_object(entry, "an entry of outputs").get("name"), "the name of an output")
        for entry in _list(document.get("outputs", []), "outputs")
    ]
    return InferRequest(identity, name, inputs, outputs)


def _tensor(entry: Mapping[str, Any]) -> tuple[str, tuple[Array, DataType]]:
    name = _text(entry.get("name"), "the name of an input")
    dtype = find_datatype(name, _text(entry.get("datatype"), f'the datatype of input "{name}"'))
    shape = _list(entry.get("shape"), f'the shape of input "{name}"')
    if not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise invalid(f'input "{name}": a shape is a list of sizes from 0 on, found {show(shape)}')
    check_shape(name, shape, 8)
    data = _list(entry.get("data"), f'the data of input "{name}"')
    array = decode_tensor(data, dtype)
    if array is None:
        raise invalid(f'input "{name}": {type_error(data, dtype)}, or it is ragged')
    return name, (fill_shape(name, array, shape), dtype)


def find_datatype(name: str, datatype: str) -> DataType:
    """The type that input `name` has by the protocol's word for it. Raises ServingError."""
    dtype = TYPES.get(datatype)
    if dtype is None:
        raise invalid(f'input "{name}": datatype {datatype} is unknown, take one of {", ".join(TYPES)}')
    return dtype


def fill_shape(name: str, flat: Array, shape: Sequence[int]) -> Array:
    """The values of input `name` in their shape. Raises ServingError when there are more or fewer than it takes."""
    if flat.size != math.prod(shape):
        raise invalid(f'input "{name}": shape {list(shape)} takes {math.prod(shape)} values, data has {flat.size}')
    return flat.reshape(shape)


def output_datatype(signature: Signature, name: str) -> str:
    """The protocol's word for the type of an output. Raises ServingError for one that it does not have."""
    dtype = signature.outputs[name].dtype
    if dtype not in DATATYPES:
        raise invalid(f'output "{name}" is of type {dtype.label}, which the protocol does not have')
    return DATATYPES[dtype]


def encode_infer(version: Version, signature: Signature, request_id: str | None, outputs: Arrays) -> bytes:
    """The answer. Raises ServingError for an output whose type the protocol does not have."""
    tensors, finite = [], True
    for name, array in outputs.items():
        dtype = signature.outputs[name].dtype
        datatype = output_datatype(signature, name)
        flat = np.ascontiguousarray(float32_from(array, dtype)).reshape(-1)
        data: Any = flat
        if dtype is DataType.STRING:
            data = [item.decode("utf-8", "replace") for item in flat.tolist()]
        elif flat.dtype.kind == "f":
            finite = finite and bool(np.isfinite(flat).all())
        tensors.append({"name": name, "datatype": datatype, "shape": list(array.shape), "data": data})
    document: dict[str, Any] = {"model_name": version.model, "model_version": str(version.number), "outputs": tensors}
    if request_id is not None:
        document["id"] = request_id
    return dump(document, finite=finite)


class Route(NamedTuple):
    """What a path asks about: a model, one of its versions or None for the newest, and `ready`, `infer` or ""."""

    model: str
    number: str | None
    verb: str


def find_route(path: str) -> Route | None:
    """The parts of a path below `/v2/models`, None for another."""
    match = _PATH.fullmatch(path)
    return None if match is None else Route(unquote(match[1]), match[2], match[3] or "")


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise invalid(f"{what} must be a JSON object, found {show(value)}")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise invalid(f"{what} must be a list, found {show(value)}")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise invalid(f"{what} must be a string, found {show(value)}")
    return value
