"""The gRPC contract as tables, asked with the generated client of `tensorflow-serving-api`.

The model `types` gives back what it gets, through TensorFlow's own kernels (see `build_types`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest

from model_server.runtime import protobufs
from model_server.runtime.dtypes import DataType
from model_server.runtime.tensor_proto import array_from_proto, proto_from_array

TYPES: dict[DataType, tuple[str, list[Any]]] = {
    DataType.FLOAT: ("float32", [0.1, -np.inf]),
    DataType.DOUBLE: ("float64", [1e300, 0.1]),
    DataType.HALF: ("float16", [0.1, 65504.0]),
    DataType.BFLOAT16: ("bfloat16", [0x3F80, 0xC000]),
    DataType.INT8: ("int8", [-128, 127]),
    DataType.INT16: ("int16", [-32768, 32767]),
    DataType.INT32: ("int32", [-(2**31), 2**31 - 1]),
    DataType.INT64: ("int64", [-(2**63), 2**63 - 1]),
    DataType.UINT8: ("uint8", [0, 255]),
    DataType.UINT16: ("uint16", [0, 65535]),
    DataType.UINT32: ("uint32", [0, 2**32 - 1]),
    DataType.UINT64: ("uint64", [0, 2**64 - 1]),
    DataType.BOOL: ("bool", [True, False]),
    DataType.STRING: ("string", [b"", b"\xff\x00raw"]),
    DataType.COMPLEX64: ("complex64", [1 + 2j, -3j]),
    DataType.COMPLEX128: ("complex128", [1e300 + 2j, -3j]),
}
SHAPES: dict[str, tuple[str, tuple[int, ...]]] = {
    "vector": ("vector", (2,)),
    "matrix": ("matrix", (2, 3)),
    "empty": ("matrix", (0, 3)),
    "scalar": ("scalar", ()),
    "any": ("any", (1, 2, 1, 2)),
}


class Echo(NamedTuple):
    """A tensor that comes back as it went."""

    id: str
    dtype: DataType
    signature: str
    array: Any
    as_content: bool


def _echoes() -> Iterator[Echo]:
    for dtype, (name, values) in TYPES.items():
        for shape_name, (signature, shape) in SHAPES.items():
            array = np.resize(np.array(values, dtype.numpy), shape)
            for as_content in (True, False):
                if as_content and dtype is DataType.STRING:
                    continue
                form = "content" if as_content else "fields"
                yield Echo(f"{name} {shape_name} {form}", dtype, f"{name}_{signature}", array, as_content)


ECHOES = list(_echoes())


@pytest.fixture(scope="module")
def stubs(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        prediction, models = protobufs.prediction_services()
        yield prediction.PredictionServiceStub(channel), models.ModelServiceStub(channel)


def _request(signature: str, *, model: str = "types", **inputs: Any) -> Any:
    request = protobufs.predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, proto in inputs.items():
        request.inputs[name].CopyFrom(proto)
    return request


@pytest.mark.parametrize("echo", ECHOES, ids=[echo.id for echo in ECHOES])
def test_a_tensor_comes_back_as_it_went(stubs, echo):
    proto = proto_from_array(echo.array, echo.dtype, as_content=echo.as_content)
    answer = stubs[0].Predict(_request(echo.signature, x=proto), timeout=30).outputs["y"]
    found, dtype = array_from_proto("y", answer)
    assert dtype is echo.dtype
    assert not answer.tensor_content
    assert (found.shape, found.tolist()) == (echo.array.shape, echo.array.tolist())


_FIELDS = {
    "float_val": (DataType.FLOAT, 0.5),
    "double_val": (DataType.DOUBLE, 0.5),
    "int_val": (DataType.INT32, -7),
    "int64_val": (DataType.INT64, -7),
    "uint32_val": (DataType.UINT32, 7),
    "uint64_val": (DataType.UINT64, 7),
    "bool_val": (DataType.BOOL, True),
    "string_val": (DataType.STRING, b"s"),
}


def _tensor(dtype: int, shape: tuple[int, ...], **fields: Any) -> Any:
    proto = protobufs.TensorProto(dtype=dtype, **fields)
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize("field", _FIELDS)
def test_one_value_stands_for_the_whole_shape(stubs, field):
    dtype, value = _FIELDS[field]
    proto = _tensor(dtype, (2, 2), **{field: [value]})
    answer = stubs[0].Predict(_request(f"{TYPES[dtype][0]}_matrix", x=proto), timeout=30)
    assert array_from_proto("y", answer.outputs["y"])[0].tolist() == [[value] * 2] * 2


@pytest.mark.parametrize("field", _FIELDS)
def test_no_value_stands_for_zeros(stubs, field):
    dtype, value = _FIELDS[field]
    answer = stubs[0].Predict(_request(f"{TYPES[dtype][0]}_vector", x=_tensor(dtype, (3,))), timeout=30)
    assert array_from_proto("y", answer.outputs["y"])[0].tolist() == [type(value)()] * 3


class Wrong(NamedTuple):
    """A request with a mistake, its status code and a part of the message."""

    id: str
    request: Callable[[], Any]
    code: str
    message: str


def _version(number: int | None = None, label: str | None = None, model: str = "types") -> Any:
    request = _request("float32_vector", model=model, x=_tensor(1, (1,), float_val=[1]))
    if number is not None:
        request.model_spec.version.value = number
    if label is not None:
        request.model_spec.version_label = label
    return request


def _filtered(*names: str) -> Any:
    request = _request("float32_vector", x=_tensor(1, (1,), float_val=[1]))
    request.output_filter.extend(names)
    return request


def _unknown_rank() -> Any:
    proto = _tensor(1, ())
    proto.tensor_shape.unknown_rank = True
    return proto


_FLOAT: dict[str, Any] = {"float_val": [1.0]}
WRONG = [
    Wrong("no spec", protobufs.predict_pb2.PredictRequest, "INVALID_ARGUMENT", "Missing ModelSpec"),
    Wrong("no name", lambda: _version(model=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    Wrong("model", lambda: _version(model="no"), "NOT_FOUND", "Servable not found for request: Latest(no)"),
    Wrong("version", lambda: _version(9), "NOT_FOUND", "Servable not found for request: Specific(types, 9)"),
    Wrong("version -1", lambda: _version(-1), "NOT_FOUND", "Servable not found for request: Specific(types, -1)"),
    Wrong("label", lambda: _version(label="x"), "INVALID_ARGUMENT", "Unrecognized servable version label: x"),
    Wrong("signature", lambda: _request("no"), "FAILED_PRECONDITION", 'Serving signature key "no" not found.'),
    Wrong("no input", lambda: _request("float32_vector"), "INVALID_ARGUMENT", "Missing but required: {x}."),
    Wrong(
        "other input",
        lambda: _request("float32_vector", y=_tensor(1, (1,), **_FLOAT)),
        "INVALID_ARGUMENT",
        "Sent extra: {y}. Missing but required: {x}.",
    ),
    Wrong(
        "input too many",
        lambda: _request("float32_vector", x=_tensor(1, (1,), **_FLOAT), y=_tensor(1, (1,), **_FLOAT)),
        "INVALID_ARGUMENT",
        "input size does not match signature: 2!=1 len({x,y}) != len({x}). Sent extra: {y}.",
    ),
    Wrong("filter", lambda: _filtered("z"), "INVALID_ARGUMENT", "output tensor alias not found in signature: z"),
    Wrong("filter twice", lambda: _filtered("y", "y"), "INVALID_ARGUMENT", "duplicate output tensor alias: y"),
    *(
        Wrong(
            f"dtype {number}",
            lambda number=number: _request("float32_vector", x=_tensor(number, (1,))),  # type: ignore[misc]
            "INVALID_ARGUMENT",
            f'input "x": tensors of type {number} are not supported',
        )
        for number in (0, 11, 20, 21, 101, 999)
    ),
    *(
        Wrong(
            f"{name} for a number",
            lambda dtype=dtype, name=name: _request(  # type: ignore[misc]
                "float32_vector" if name != "float32" else "int32_vector", x=_tensor(dtype, (1,))
            ),
            "INVALID_ARGUMENT",
            f"found {dtype.label}",
        )
        for dtype, (name, _) in TYPES.items()
    ),
    *(
        Wrong(
            f"shape {list(shape)}",
            lambda shape=shape: _request("float32_pairs", x=_tensor(1, shape, **_FLOAT)),  # type: ignore[misc]
            "INVALID_ARGUMENT",
            f'input "x": expected shape [-1,2], found [{",".join(map(str, shape))}]',
        )
        for shape in ((), (2,), (2, 1), (2, 3), (1, 2, 1), (3,), (1, 1, 1, 1, 1, 1, 1, 1, 1))
    ),
    *(
        Wrong(
            f"dimensions {list(shape)}",
            lambda shape=shape: _request("float32_any", x=_tensor(1, shape, **_FLOAT)),  # type: ignore[misc]
            "INVALID_ARGUMENT",
            message,
        )
        for shape, message in (
            ((-1,), "must be fully known"),
            ((1, -(2**63)), "must be fully known"),
            ((2**62, 2**62), "no tensor can have shape"),
            ((2**63 - 1,), "no tensor can have shape"),
            ((2**26 + 1,), "at most 67108864 are made from one"),
        )
    ),
    Wrong(
        "unknown rank", lambda: _request("float32_any", x=_unknown_rank()), "INVALID_ARGUMENT", "must be fully known"
    ),
    *(
        Wrong(
            f"{size} bytes for two floats",
            lambda size=size: _request("float32_vector", x=_tensor(1, (2,), tensor_content=b"x" * size)),  # type: ignore[misc]
            "INVALID_ARGUMENT",
            f"tensor_content has {size} bytes, but shape [2] of float takes 8",
        )
        for size in (1, 7, 9, 4096)
    ),
    Wrong(
        "values too many",
        lambda: _request("float32_vector", x=_tensor(1, (1,), float_val=[1, 2])),
        "INVALID_ARGUMENT",
        "2 values were sent for shape [1], which takes 1",
    ),
    Wrong(
        "values for none",
        lambda: _request("float32_vector", x=_tensor(1, (0,), float_val=[1])),
        "INVALID_ARGUMENT",
        "1 values were sent for shape [0], which takes 0",
    ),
    Wrong(
        "one of two inputs is wrong",
        lambda: _request("two", a=_tensor(1, (1, 3), **_FLOAT), b=_tensor(9, (1,))),
        "INVALID_ARGUMENT",
        'input "a": expected shape [-1,2], found [1,3]',
    ),
]


@pytest.mark.parametrize("wrong", WRONG, ids=[wrong.id for wrong in WRONG])
def test_a_mistake_has_its_code_and_sentence(stubs, wrong):
    with pytest.raises(grpc.RpcError) as refused:
        stubs[0].Predict(wrong.request(), timeout=30)
    assert wrong.message in (refused.value.details() or "")
    assert refused.value.code().name == wrong.code


def _metadata(model: str, *fields: str) -> Any:
    request = protobufs.get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if model:
        request.model_spec.name = model
    return request


@pytest.mark.parametrize(
    ("request_of", "code", "message"),
    [
        (lambda: _metadata("", "signature_def"), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (lambda: _metadata("types"), "INVALID_ARGUMENT", "must specify at least one metadata_field"),
        (lambda: _metadata("types", "graph"), "INVALID_ARGUMENT", "Metadata field graph is not supported"),
        (lambda: _metadata("no", "signature_def"), "NOT_FOUND", "Servable not found for request: Latest(no)"),
    ],
)
def test_metadata_mistakes_have_their_code_and_sentence(stubs, request_of, code, message):
    with pytest.raises(grpc.RpcError) as refused:
        stubs[0].GetModelMetadata(request_of(), timeout=30)
    assert message in (refused.value.details() or "")
    assert refused.value.code().name == code


def test_there_are_enough_cases_and_no_two_are_the_same():
    ids = [*(echo.id for echo in ECHOES), *(wrong.id for wrong in WRONG)]
    assert len(ids) >= 100
    assert len(set(ids)) == len(ids)
