"""The gRPC services, called through the stubs of `tensorflow-serving-api`."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from model_server.runtime import protobufs
from model_server.runtime.dtypes import DataType
from model_server.runtime.tensor_proto import array_from_proto, proto_from_array


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        grpc.channel_ready_future(channel).result(30)
        yield channel


@pytest.fixture(scope="module")
def prediction(channel) -> Any:
    return protobufs.prediction_services()[0].PredictionServiceStub(channel)


def _request(model: str, signature: str = "", **inputs: Any) -> Any:
    request = protobufs.predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, proto in inputs.items():
        request.inputs[name].CopyFrom(proto)
    return request


def _value(response: Any, name: str) -> Any:
    return array_from_proto(name, response.outputs[name])[0]


@pytest.mark.parametrize("as_content", [True, False], ids=["tensor_content", "typed fields"])
def test_floats_in_both_forms_match_tensorflow(prediction, digits, as_content):
    image = proto_from_array(digits[2]["image"], DataType.FLOAT, as_content=as_content)
    response = prediction.Predict(_request("digits", image=image), timeout=30)
    np.testing.assert_allclose(_value(response, "scores"), digits[2]["scores"], rtol=1e-5)
    assert (response.model_spec.version.value, response.model_spec.signature_name) == (2, "serving_default")
    assert response.outputs["scores"].float_val, "TensorFlow Serving answers in typed fields unless told otherwise"


def test_the_short_form_repeats_the_last_value(prediction):
    a = protobufs.TensorProto(dtype=1, float_val=[0.5])
    a.tensor_shape.dim.add(size=3)
    a.tensor_shape.dim.add(size=2)
    b = protobufs.TensorProto(dtype=3, int_val=[1, 2])
    b.tensor_shape.dim.add(size=3)
    response = prediction.Predict(_request("kinds", a=a, b=b), timeout=30)
    np.testing.assert_allclose(_value(response, "sum"), [[1.5, 1.5], [2.5, 2.5], [2.5, 2.5]])
    assert _value(response, "label").tolist() == [b"1", b"2", b"2"]


_VALUES: dict[str, tuple[DataType, list[Any]]] = {
    "f32": (DataType.FLOAT, [0.1, -0.0]),
    "f64": (DataType.DOUBLE, [1e300, 0.1]),
    "i8": (DataType.INT8, [-128, 127]),
    "i16": (DataType.INT16, [-32768, 1]),
    "i32": (DataType.INT32, [-(2**31), 1]),
    "i64": (DataType.INT64, [-(2**63), 1]),
    "u8": (DataType.UINT8, [255, 0]),
    "u32": (DataType.UINT32, [2**32 - 1, 0]),
    "u64": (DataType.UINT64, [2**64 - 1, 0]),
    "flag": (DataType.BOOL, [True, False]),
    "text": (DataType.STRING, [b"\xff\x00raw", b"x" * 100]),
}
_RARE: dict[str, tuple[DataType, list[Any]]] = {
    "half": (DataType.HALF, [0.1, -2.0]),
    "c64": (DataType.COMPLEX64, [1 + 2j, -3j]),
}


@pytest.mark.parametrize("as_content", [True, False], ids=["tensor_content", "typed fields"])
@pytest.mark.parametrize(("signature", "values"), [("echo", _VALUES), ("rare", _RARE)])
def test_every_type_comes_back_as_it_went(prediction, signature, values, as_content):
    arrays = {name: np.array(items, dtype.numpy) for name, (dtype, items) in values.items()}
    protos = {n: proto_from_array(a, values[n][0], as_content=as_content) for n, a in arrays.items()}
    response = prediction.Predict(_request("kinds", signature, **protos), timeout=30)
    for name, array in arrays.items():
        assert _value(response, f"{name}_out").tolist() == array.tolist()


def test_output_filter_limits_the_answer(prediction):
    request = _request(
        "kinds",
        a=proto_from_array(np.ones((1, 2), np.float32), DataType.FLOAT, as_content=True),
        b=proto_from_array(np.ones(1, np.int32), DataType.INT32, as_content=True),
    )
    request.output_filter.append("label")
    assert set(prediction.Predict(request, timeout=30).outputs) == {"label"}
    request.output_filter.append("label")
    with pytest.raises(grpc.RpcError, match="duplicate output tensor alias: label"):
        prediction.Predict(request, timeout=30)
    request.output_filter[:] = ["nope"]
    with pytest.raises(grpc.RpcError, match="output tensor alias not found in signature: nope") as refused:
        prediction.Predict(request, timeout=30)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def _float(*shape: int) -> Any:
    return proto_from_array(np.zeros(shape, np.float32), DataType.FLOAT, as_content=True)


def _damaged() -> Any:
    proto = _float(1, 8, 8, 1)
    proto.tensor_content = proto.tensor_content[:-1]
    return proto


def _huge() -> Any:
    proto = protobufs.TensorProto(dtype=1, float_val=[0.0])
    for size in (2**40, 8, 8, 1):
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(
    ("request_of", "code", "message"),
    [
        (lambda: _request("ghost"), "NOT_FOUND", "Servable not found for request: Latest(ghost)"),
        (lambda: _request("digits", "no"), "FAILED_PRECONDITION", 'Serving signature key "no" not found.'),
        (
            lambda: _request("digits", picture=_float(1)),
            "INVALID_ARGUMENT",
            (
                "input size does not match signature: 1!=1 len({picture}) != len({image}). Sent extra: {picture}. "
                "Missing but required: {image}."
            ),
        ),
        (
            lambda: _request("digits", image=_float(1, 9, 8, 1)),
            "INVALID_ARGUMENT",
            'input "image": expected shape [-1,8,8,1], found [1,9,8,1]',
        ),
        (
            lambda: _request("digits", image=proto_from_array(np.zeros(1), DataType.DOUBLE, as_content=True)),
            "INVALID_ARGUMENT",
            'input "image": expected type float, found double',
        ),
        (lambda: _request("digits", image=_damaged()), "INVALID_ARGUMENT", "tensor_content has 255 bytes"),
        (lambda: _request("digits", image=_huge()), "INVALID_ARGUMENT", "a short-form tensor of shape"),
        (protobufs.predict_pb2.PredictRequest, "INVALID_ARGUMENT", "Missing ModelSpec"),
    ],
    ids=["model", "signature", "name", "shape", "type", "content", "huge", "spec"],
)
def test_mistakes_have_their_code_and_sentence(prediction, request_of, code, message):
    with pytest.raises(grpc.RpcError) as refused:
        prediction.Predict(request_of(), timeout=30)
    assert refused.value.code().name == code
    assert message in (refused.value.details() or "")


def test_a_clients_deadline_ends_the_graphs_run(prediction):
    rounds = proto_from_array(np.array([1_000_000], np.int32), DataType.INT32, as_content=True)
    with pytest.raises(grpc.RpcError) as late:
        prediction.Predict(_request("kinds", "slow", rounds=rounds), timeout=0.3)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_metadata_has_the_signatures(prediction):
    request = protobufs.get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "digits"
    response = prediction.GetModelMetadata(request, timeout=30)
    signatures = protobufs.get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["serving_bytes"].inputs["image"].dtype == DataType.STRING
    assert response.model_spec.version.value == 2


def test_model_status_by_label_and_for_all(channel):
    models = protobufs.prediction_services()[1].ModelServiceStub(channel)
    request = protobufs.get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "digits"
    assert [v.version for v in models.GetModelStatus(request, timeout=30).model_version_status] == [2, 1]
    request.model_spec.version_label = "canary"
    (only,) = models.GetModelStatus(request, timeout=30).model_version_status
    assert (only.version, only.state, only.status.error_code) == (2, 30, 0)
    request.model_spec.name = "ghost"
    request.model_spec.ClearField("version_label")
    with pytest.raises(grpc.RpcError, match="Could not find any versions of model ghost"):
        models.GetModelStatus(request, timeout=30)


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_the_standard_health_service_answers(channel, service):
    health = health_pb2_grpc.HealthStub(channel)
    answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
