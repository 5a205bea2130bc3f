"""The Open Inference Protocol, version 2, over gRPC, through a client that protoc generated."""

from __future__ import annotations

import importlib
import struct
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from model_server.runtime.open_inference_proto import FILE
from model_server.runtime.open_inference_types import DATATYPES

_CLIENT = Path(__file__).with_name("open_inference_client")


@pytest.fixture(scope="module")
def generated() -> Any:
    """The generated modules: messages and stub."""
    sys.path.insert(0, str(_CLIENT))
    try:
        return importlib.import_module("inference_pb2"), importlib.import_module("inference_pb2_grpc")
    finally:
        sys.path.remove(str(_CLIENT))


@pytest.fixture(scope="module")
def messages(generated) -> Any:
    return generated[0]


@pytest.fixture(scope="module")
def stub(server, generated) -> Any:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        grpc.channel_ready_future(channel).result(60)
        yield generated[1].GRPCInferenceServiceStub(channel)


def _fields(file: Any) -> Any:
    def of(message: Any) -> Any:
        fields = [(f.name, f.number, f.label, f.type, f.type_name, f.HasField("oneof_index")) for f in message.field]
        return fields, {inner.name: of(inner) for inner in message.nested_type}

    return {message.name: of(message) for message in file.message_type}


def test_the_messages_are_those_of_the_protocol(messages):
    from google.protobuf import descriptor_pb2

    file = descriptor_pb2.FileDescriptorProto()
    messages.DESCRIPTOR.CopyToProto(file)
    assert _fields(FILE) == _fields(file)


def _request(messages: Any, model: str, *inputs: Any, raw: Any = (), signature: str = "", **more: Any) -> Any:
    request = messages.ModelInferRequest(model_name=model, raw_input_contents=raw, **more)
    for name, datatype, shape, contents in inputs:
        tensor = request.inputs.add(name=name, datatype=datatype, shape=shape)
        if contents is not None:
            tensor.contents.CopyFrom(messages.InferTensorContents(**contents))
    if signature:
        request.parameters["signature_name"].string_param = signature
    return request


def test_a_model_answers_in_the_form_of_the_request(stub, messages, digits):
    image = digits[2]["image"]
    shape = list(image.shape)
    typed = stub.ModelInfer(
        _request(messages, "digits", ("image", "FP32", shape, {"fp32_contents": image.ravel()}), id="one"), timeout=30
    )
    raw = stub.ModelInfer(
        _request(messages, "digits", ("image", "FP32", shape, None), raw=[image.tobytes()]), timeout=30
    )
    for answer, identity in ((typed, "one"), (raw, "")):
        (output,) = answer.outputs
        assert (answer.model_name, answer.model_version, answer.id) == ("digits", "2", identity)
        assert (output.name, output.datatype, list(output.shape)) == ("scores", "FP32", [5, 3])
    assert not typed.raw_output_contents
    assert not raw.outputs[0].HasField("contents")
    np.testing.assert_allclose(
        np.reshape(typed.outputs[0].contents.fp32_contents, (5, 3)), digits[2]["scores"], rtol=1e-5
    )
    scores = np.frombuffer(raw.raw_output_contents[0], np.float32).reshape(5, 3)
    np.testing.assert_allclose(scores, digits[2]["scores"], rtol=1e-5)
    old = stub.ModelInfer(
        _request(messages, "digits", ("image", "FP32", shape, None), raw=[image.tobytes()], model_version="1"),
        timeout=30,
    )
    assert old.model_version == "1"
    np.testing.assert_allclose(
        np.frombuffer(old.raw_output_contents[0], np.float32).reshape(5, 3), digits[1]["scores"], rtol=1e-5
    )


# For each datatype the field of its contents, two values, and the same as raw bytes.
_VALUES: dict[str, tuple[str, list[Any], bytes]] = {
    "BOOL": ("bool_contents", [True, False], b"\x01\x00"),
    "UINT8": ("uint_contents", [7, 255], b"\x07\xff"),
    "UINT16": ("uint_contents", [7, 65535], b"\x07\x00\xff\xff"),
    "UINT32": ("uint_contents", [7, 2**32 - 1], struct.pack("<2I", 7, 2**32 - 1)),
    "UINT64": ("uint64_contents", [7, 2**64 - 1], struct.pack("<2Q", 7, 2**64 - 1)),
    "INT8": ("int_contents", [-128, 127], b"\x80\x7f"),
    "INT16": ("int_contents", [-7, 7], struct.pack("<2h", -7, 7)),
    "INT32": ("int_contents", [-7, 2**31 - 1], struct.pack("<2i", -7, 2**31 - 1)),
    "INT64": ("int64_contents", [-7, 2**63 - 1], struct.pack("<2q", -7, 2**63 - 1)),
    "FP16": ("", [0.5, -2.0], struct.pack("<2e", 0.5, -2.0)),
    "BF16": ("", [0.5, -2.0], b"\x00\x3f\x00\xc0"),
    "FP32": ("fp32_contents", [0.5, -2.0], struct.pack("<2f", 0.5, -2.0)),
    "FP64": ("fp64_contents", [0.5, 1e300], struct.pack("<2d", 0.5, 1e300)),
    "BYTES": ("bytes_contents", [b"", "naïve\0".encode()], b"\x00\x00\x00\x00\x07\x00\x00\x00na\xc3\xafve\x00"),
}


@pytest.mark.parametrize(("dtype", "name"), list(DATATYPES.items()))
def test_every_datatype_comes_back_as_it_went(stub, messages, dtype, name):
    field, values, raw = _VALUES[name]
    label = {"float": "float32", "double": "float64", "half": "float16"}.get(dtype.label, dtype.label)
    for shape, kind in (([2], "vector"), ([1, 2], "matrix")):
        signature = f"{label}_{kind}"
        answer = stub.ModelInfer(
            _request(messages, "types", ("x", name, shape, None), raw=[raw], signature=signature), timeout=30
        )
        (output,) = answer.outputs
        assert (output.datatype, list(output.shape), list(answer.raw_output_contents)) == (name, shape, [raw])
        if field:
            answer = stub.ModelInfer(
                _request(messages, "types", ("x", name, shape, {field: values}), signature=signature), timeout=30
            )
            assert list(getattr(answer.outputs[0].contents, field)) == values
            assert not answer.raw_output_contents


def test_only_the_outputs_that_are_asked_for_come(stub, messages):
    request = _request(
        messages, "kinds", ("a", "FP32", [1, 2], {"fp32_contents": [1, 2]}), ("b", "INT32", [1], {"int_contents": [3]})
    )
    request.outputs.add(name="label")
    (output,) = stub.ModelInfer(request, timeout=30).outputs
    assert (output.name, list(output.contents.bytes_contents)) == ("label", [b"3"])


def test_metadata_and_health(stub, messages):
    assert stub.ServerLive(messages.ServerLiveRequest(), timeout=30).live
    assert stub.ServerReady(messages.ServerReadyRequest(), timeout=30).ready
    about = stub.ServerMetadata(messages.ServerMetadataRequest(), timeout=30)
    assert (about.name, bool(about.version)) == ("keras-operator", True)
    model = stub.ModelMetadata(messages.ModelMetadataRequest(name="digits", version="1"), timeout=30)
    assert (model.name, list(model.versions), model.platform) == ("digits", ["1"], "tensorflow_savedmodel")
    assert [(t.name, t.datatype, list(t.shape)) for t in model.inputs] == [("image", "FP32", [-1, 8, 8, 1])]
    assert [(t.name, t.datatype, list(t.shape)) for t in model.outputs] == [("scores", "FP32", [-1, 3])]


@pytest.mark.parametrize(
    ("name", "version", "ready"),
    [("digits", "", True), ("digits", "1", True), ("digits", "9", False), ("ghost", "", False)],
)
def test_a_model_is_ready_when_it_answers(stub, messages, name, version, ready):
    assert stub.ModelReady(messages.ModelReadyRequest(name=name, version=version), timeout=30).ready is ready


_FLOATS = ("x", "FP32", [2], {"fp32_contents": [1, 2]})
_RAW = ("x", "FP32", [2], None)
_8 = b"\0" * 8


@pytest.mark.parametrize(
    ("inputs", "more", "message"),
    [
        ([("x", "FP8", [2], None)], {}, 'input "x": datatype FP8 is unknown, take one of BOOL, '),
        ([("x", "FP32", [3], {"fp32_contents": [1]})], {}, 'input "x": shape [3] takes 3 values, data has 1'),
        ([("x", "FP32", [-1], None)], {}, 'input "x": no tensor can have shape [-1]'),
        ([("x", "FP32", [0, 2**62], None)], {}, f'input "x": no tensor can have shape [0, {2**62}]'),
        ([("x", "FP32", [1] * 65, None)], {}, 'input "x": a tensor has at most 64 dimensions, found 65'),
        ([_RAW], {"raw": [_8, _8]}, "raw_input_contents has 2 entries for 1 inputs: send one for each"),
        ([_FLOATS], {"raw": [_8]}, 'input "x" has contents beside raw_input_contents: send one of them'),
        ([_RAW], {"raw": [b"123"]}, 'input "x": 3 raw bytes are no whole number of FP32 elements'),
        ([_RAW], {"raw": [b"1234"]}, 'input "x": shape [2] takes 2 values, data has 1'),
        ([("x", "FP16", [2], {"fp32_contents": [1]})], {}, 'input "x": FP16 has no contents of its own, send raw_'),
        ([("x", "FP32", [1], {"int_contents": [1]})], {}, "FP32 is taken from fp32_contents, found int_contents"),
        ([("x", "INT8", [1], {"int_contents": [300]})], {}, "INT8 holds numbers from -128 to 127, found 300"),
        ([("x", "BYTES", [1], None)], {"raw": [b"\x05\0\0\0ab"]}, "raw BYTES end within element 0"),
        ([("x", "BYTES", [1], None)], {"raw": [b"\x05\0"]}, "raw BYTES end within element 0"),
        ([("x", "FP64", [2], {"fp64_contents": [1, 2]})], {}, 'input "x": expected type float, found double'),
        ([_FLOATS, _FLOATS], {}, 'input "x" is given twice'),
        ([("z", *_FLOATS[1:])], {}, "Sent extra: {z}. Missing but required: {x}."),
        ([_FLOATS], {"model_version": "one"}, "the version must be a number, or empty for the newest, found 'one'"),
    ],
)
def test_a_mistake_is_named(stub, messages, inputs, more, message):
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(_request(messages, "types", *inputs, **more), timeout=30)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert message in (caught.value.details() or "")


def test_a_wrong_model_signature_or_parameter_has_its_code(stub, messages):
    wrong = _request(messages, "types", _FLOATS)
    wrong.parameters["signature_name"].int64_param = 1
    for request, code, message in (
        (_request(messages, "ghost", _FLOATS), grpc.StatusCode.NOT_FOUND, "Servable not found for request"),
        (_request(messages, "types", _FLOATS, signature="no"), grpc.StatusCode.FAILED_PRECONDITION, '"no" not found.'),
        (wrong, grpc.StatusCode.INVALID_ARGUMENT, "parameters.signature_name must be a string_param"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelInfer(request, timeout=30)
        assert caught.value.code() is code
        assert message in (caught.value.details() or "")


def test_a_message_that_cannot_be_parsed_is_the_clients_mistake(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        for method in ("/inference.GRPCInferenceService/ModelInfer", "/tensorflow.serving.PredictionService/Predict"):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(method, None, None)(b"\xff\xff", timeout=30)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert f"the message for {method} cannot be parsed" in (caught.value.details() or "")
