"""The Open Inference Protocol, version 2: what both transports share, and REST's paths, requests and answers.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md. Tensors are JSON:
name, shape, datatype and data, flat in row-major order or nested; or raw bytes behind the JSON, which is Triton's:
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
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
from model_server.runtime.open_inference_raw import read_raw, write_raw
from model_server.runtime.open_inference_types import DATATYPES, TYPES
from model_server.runtime.savedmodel import Signature, TensorSpec
from model_server.runtime.servable import Servable, check_inputs, select_outputs
from model_server.runtime.shapes import check_shape

SERVER = "keras-operator"
EXTENSIONS = ("binary_tensor_data",)
# The length of the JSON in a body that has raw bytes behind it.
JSON_LENGTH = "Inference-Header-Content-Length"
_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([0-9]+))?(?:/(ready|infer))?")

_T = TypeVar("_T")
# A request as it is run: the signature, its inputs, the outputs to compute, and what makes the answer of those.
Decoded = tuple[Signature, Arrays, list[str], Callable[[Arrays], _T]]


class InferRequest(NamedTuple):
    """A parsed request: the caller's id, the signature's name ("" for the default), tensors, and outputs asked for.

    Over REST `raw` says whether outputs are wanted as raw bytes, and `raw_outputs` which are nevertheless or are not.
    """

    id: str | None
    signature_name: str
    inputs: dict[str, tuple[Array, DataType]]
    outputs: list[str]
    raw: bool = False
    raw_outputs: Mapping[str, bool] = MappingProxyType({})


class InferAnswer(NamedTuple):
    """The body of an answer; the length of its JSON where raw bytes follow."""

    body: bytes
    json_length: int | None


def decode_infer(request: InferRequest, servable: Servable, encode: Callable[[Signature, Arrays], _T]) -> Decoded[_T]:
    """A parsed request for this servable; `encode` makes the answer from its outputs. Raises ServingError."""
    signature = servable.interface.signature(request.signature_name)
    arrays = check_inputs(signature, request.inputs)
    outputs = select_outputs(signature, request.outputs)
    return signature, arrays, outputs, lambda results: encode(signature, results)


def server_metadata(version: str) -> dict[str, Any]:
    """The answer to `GET /v2`."""
    return {"name": SERVER, "version": version, "extensions": list(EXTENSIONS)}


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


class _RawTensors:
    """The bytes behind the JSON: each input takes its part, in the order in which the JSON names them."""

    def __init__(self, content: memoryview) -> None:
        self._rest = content

    def take(self, name: str, size: Any) -> memoryview:
        if type(size) is not int or size < 0:
            raise invalid(f'input "{name}": binary_data_size must be a number of bytes from 0 on, found {show(size)}')
        if size > len(self._rest):
            raise invalid(
                f'input "{name}": binary_data_size is {size}, but {len(self._rest)} bytes are left of those behind the '
                f"JSON, where {JSON_LENGTH} says that it ends"
            )
        part, self._rest = self._rest[:size], self._rest[size:]
        return part

    def check_empty(self) -> None:
        if self._rest:
            raise invalid(f"{len(self._rest)} bytes behind the JSON belong to no input: see binary_data_size of each")


def _parts(body: bytes, json_length: str | None) -> tuple[bytes, memoryview]:
    """The JSON of a body and what is behind it."""
    if json_length is None:
        return body, memoryview(b"")
    # The length of a body has at most ten digits.
    length = int(json_length) if re.fullmatch("[0-9]{1,10}", json_length) else 0
    if not 0 < length <= len(body):
        raise invalid(
            f"{JSON_LENGTH} must be the length of the JSON, from 1 to the body's {len(body)} bytes, found "
            f"{show(json_length)}"
        )
    return body[:length], memoryview(body)[length:]


def parse_infer(body: bytes, json_length: str | None) -> InferRequest:
    """Read the body of an infer request; `json_length` is its header of that name.

    Raises ServingError, naming the input and what is wrong with it.
    """
    text, content = _parts(body, json_length)
    raw = _RawTensors(content)
    document = _object(parse_json(text), "the request")
    identity = document.get("id")
    if not isinstance(identity, str | None):
        raise invalid(f"id must be a string, found {show(identity)}")
    parameters = _object(document.get("parameters", {}), "parameters")
    name = parameters.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(f"parameters.signature_name must be a string, found {show(name)}")
    inputs: dict[str, tuple[Array, DataType]] = {}
    for entry in _list(document.get("inputs"), "inputs"):
        key, tensor = _tensor(_object(entry, "an entry of inputs"), raw)
        if key in inputs:
            raise invalid(f'input "{key}" is given twice')
        inputs[key] = tensor
    raw.check_empty()
    outputs, raw_outputs = [], {}
    for entry in _list(document.get("outputs", []), "outputs"):
        output = _text(_object(entry, "an entry of outputs").get("name"), "the name of an output")
        outputs.append(output)
        wishes = _object(entry.get("parameters", {}), f'the parameters of output "{output}"')
        if "binary_data" in wishes:
            raw_outputs[output] = _flag(wishes["binary_data"], f'binary_data of output "{output}"')
    all_raw = _flag(parameters.get("binary_data_output", False), "parameters.binary_data_output")
    return InferRequest(identity, name, inputs, outputs, all_raw, raw_outputs)


def _tensor(entry: Mapping[str, Any], raw: _RawTensors) -> tuple[str, tuple[Array, DataType]]:
    name = _text(entry.get("name"), "the name of an input")
    dtype = find_datatype(name, _text(entry.get("datatype"), f'the datatype of input "{name}"'))
    shape = _list(entry.get("shape"), f'the shape of input "{name}"')
    if not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise invalid(f'input "{name}": a shape is a list of sizes from 0 on, found {show(shape)}')
    check_shape(name, shape, 8)
    parameters = _object(entry.get("parameters", {}), f'the parameters of input "{name}"')
    if "binary_data_size" in parameters:
        if "data" in entry:
            raise invalid(f'input "{name}" has data beside binary_data_size: send one of them')
        flat = read_raw(name, raw.take(name, parameters["binary_data_size"]), dtype)
        return name, (fill_shape(name, flat, shape), dtype)
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


def encode_infer(version: Version, signature: Signature, request: InferRequest, outputs: Arrays) -> InferAnswer:
    """The answer. Raises ServingError for an output whose type the protocol does not have."""
    tensors, finite, content = [], True, []
    for name, array in outputs.items():
        dtype = signature.outputs[name].dtype
        tensor: dict[str, Any] = {
            "name": name,
            "datatype": output_datatype(signature, name),
            "shape": list(array.shape),
        }
        tensors.append(tensor)
        if request.raw_outputs.get(name, request.raw):
            content.append(write_raw(array, dtype))
            tensor["parameters"] = {"binary_data_size": len(content[-1])}
            continue
        flat = np.ascontiguousarray(float32_from(array, dtype)).reshape(-1)
        data: Any = flat
        if dtype is DataType.STRING:
            data = [item.decode("utf-8", "replace") for item in flat.tolist()]
        elif flat.dtype.kind == "f":
            finite = finite and bool(np.isfinite(flat).all())
        tensor["data"] = data
    document: dict[str, Any] = {"model_name": version.model, "model_version": str(version.number), "outputs": tensors}
    if request.id is not None:
        document["id"] = request.id
    body = dump(document, finite=finite)
    return InferAnswer(b"".join((body, *content)), len(body)) if content else InferAnswer(body, None)


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


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise invalid(f"{what} must be true or false, found {show(value)}")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise invalid(f"{what} must be a string, found {show(value)}")
    return value
