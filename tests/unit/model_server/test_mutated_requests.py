"""Requests with bytes changed, cut off or doubled: the client's mistake is never answered as the server's."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from model_server.runtime import protobufs
from model_server.runtime.npy import MEDIA_TYPE as NPY
from model_server.runtime.open_inference import JSON_LENGTH
from model_server.runtime.open_inference_proto import SERVICE, message

# `make fuzz` sends 10,000 each.
_CASES = int(os.environ.get("FUZZED_REQUESTS", "700"))
# After so many requests of one kind the server holds what it needs for them.
_WARM = 100
_GROWTH_BYTES = 64 * 1024 * 1024
_CLIENTS_MISTAKES = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED"}


def _mutated(seed: bytes, dice: random.Random) -> bytes:
    body = bytearray(seed)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(body) + 1)
        match dice.randrange(4):
            case 0:
                body[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                del body[at : at + dice.randint(1, 8)]
            case 2:
                body[at:at] = body[max(0, at - 8) : at]
            case _:
                body[at:at] = dice.choice([b"[", b"]", b"{", b'"', b"-", b"1e999", b"null", b"NaN", b"\\u", b"\x00"])
    return bytes(body)


def _resident(server: Any) -> int:
    """Bytes of memory that the server's process holds."""
    pages = Path(f"/proc/{server.process.pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def grown(server) -> Iterator[Any]:
    """`grown()` notes the server's memory, once it is warm; at the end it must hold hardly more."""
    warm: list[int] = []
    yield lambda: warm.append(_resident(server))
    assert _resident(server) - warm[0] < _GROWTH_BYTES
    assert server.process.poll() is None


_JSON: dict[str, Any] = {
    "/v1/models/kinds:predict": {"instances": [{"a": [0.5, 1.5], "b": 1}, {"a": [2, 3], "b": 2}]},
    "/v1/models/types:predict": {"signature_name": "float32_pairs", "inputs": [[1, 2.5], [-3e5, 4], [5, 6]]},
    "/v1/models/types/versions/1:predict": {"signature_name": "raw", "instances": [{"b64": "YWI="}, "text"]},
    "/v1/models/examples:classify": {"examples": [{"x": [1.0, 2.0], "k": 3}], "context": {"name": "a"}},
    "/v1/models/examples:regress": {"signature_name": "value", "examples": [{"x": [1.0, 2.0], "k": [3]}]},
    "/v2/models/types/infer": {
        "parameters": {"signature_name": "float32_matrix"},
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2.5, -3e5, 0]}],
    },
}
_PICTURES = ("image/png", "multipart/form-data; boundary=edge")
_RAW_BYTES = "raw bytes behind the JSON"
_RAW: dict[str, Any] = {
    "parameters": {"signature_name": "two", "binary_data_output": True},
    "inputs": [
        {"name": "a", "datatype": "FP32", "shape": [2, 2], "parameters": {"binary_data_size": 16}},
        {"name": "b", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": 16}},
    ],
}


def _seed(kind: str, digits: Any) -> tuple[str, str, bytes]:
    """Path, Content-Type and body that the server understands."""
    if kind in _JSON:
        return kind, "application/json", json.dumps(_JSON[kind]).encode()
    if kind == NPY:
        array = io.BytesIO()
        np.save(array, digits[2]["image"])
        return "/v1/models/digits:predict", kind, array.getvalue()
    if kind == _RAW_BYTES:
        values = np.array([1, 2.5, -3e5, 0], np.float32).tobytes() + np.array([-1, 2**40]).tobytes()
        return "/v2/models/types/infer", "application/octet-stream", json.dumps(_RAW).encode() + values
    file = base64.b64decode(str(digits[2]["files"][0]))
    form = b'--edge\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n%s\r\n--edge--\r\n' % file
    return "/v1/models/digits:predict", kind, file if kind == "image/png" else form


def _json_length(dice: random.Random) -> str:
    """The length of `_RAW` as JSON, or none of it."""
    right = len(json.dumps(_RAW))
    wrong = (right - 1, right + 1, right + 33, 0, -1, 2**31, 10**20, f"{right:x}")
    return str(dice.choice(wrong) if dice.random() < 0.2 else right)


_SEEDS = (*_JSON, *_PICTURES, NPY, _RAW_BYTES)


@pytest.mark.parametrize("kind", _SEEDS)
def test_no_mutated_body_is_a_server_error(server, digits, grown, kind):
    dice = random.Random(1)
    path, content_type, seed = _seed(kind, digits)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    statuses = set()
    for case in range(_CASES // len(_SEEDS) + 1):
        body = _mutated(seed, dice) if case else seed
        headers = {"Content-Type": content_type}
        if kind == _RAW_BYTES:
            headers[JSON_LENGTH] = _json_length(dice) if case else str(len(json.dumps(_RAW)))
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status in {200, 400}, (body, content)
        statuses.add(answer.status)
        if case == min(_WARM, _CASES // len(_SEEDS)):
            grown()
    connection.close()
    assert statuses == {200, 400}


def test_no_mutated_http_is_a_server_error(server):
    dice = random.Random(3)
    body = json.dumps(_JSON["/v1/models/kinds:predict"]).encode()
    seed = (
        b"POST /v1/models/kinds/versions/1:predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    for _ in range(_CASES // 4):
        raw = _mutated(seed, dice)
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
            client.sendall(raw)
            client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                status = client.recv(65536).split(b" ")[1:2]
                assert not status or status[0][:1] in {b"2", b"4"} or status[0] == b"501", (raw, status)
    assert server.get("/v1/models/kinds").status == 200


def _kinds() -> Any:
    request = protobufs.predict_pb2.PredictRequest()
    request.model_spec.name = "kinds"
    request.inputs["a"].CopyFrom(protobufs.TensorProto(dtype=1, float_val=[0.5, 1.5]))
    request.inputs["b"].CopyFrom(protobufs.TensorProto(dtype=3, int_val=[1]))
    for name, size in (("a", (1, 2)), ("b", (1,))):
        for length in size:
            request.inputs[name].tensor_shape.dim.add(size=length)
    return request


def _examples(message: Any, *specs: Any) -> Any:
    example = message.input.example_list.examples.add()
    example.features.feature["x"].float_list.value.extend([1.0, 2.0])
    example.features.feature["k"].int64_list.value.append(3)
    for spec in specs:
        spec.name = "examples"
    return message


def _grpc_seeds() -> dict[str, Any]:
    prediction, models = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
    classify = protobufs.classification_pb2.ClassificationRequest()
    regress = protobufs.regression_pb2.RegressionRequest()
    regress.model_spec.signature_name = "value"
    several = protobufs.inference_pb2.MultiInferenceRequest()
    tasks = [several.tasks.add(method_name=f"tensorflow/serving/{name}") for name in ("classify", "regress")]
    tasks[1].model_spec.signature_name = "value"
    metadata = protobufs.get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    status = protobufs.get_model_status_pb2.GetModelStatusRequest()
    metadata.model_spec.name = status.model_spec.name = "kinds"
    infer = message("ModelInferRequest")(model_name="types", raw_input_contents=[b"\0\0\x80\x3f" * 2])
    infer.parameters["signature_name"].string_param = "float32_matrix"
    infer.inputs.add(name="x", datatype="FP32", shape=[2, 1])
    return {
        f"{prediction}Predict": _kinds(),
        f"/{SERVICE}/ModelInfer": infer,
        f"{prediction}Classify": _examples(classify, classify.model_spec),
        f"{prediction}Regress": _examples(regress, regress.model_spec),
        f"{prediction}MultiInference": _examples(several, *(task.model_spec for task in tasks)),
        f"{prediction}GetModelMetadata": metadata,
        f"{models}GetModelStatus": status,
    }


def _answer(call: Any, body: bytes) -> tuple[str, str]:
    try:
        call(body, timeout=30)
    except grpc.RpcError as error:
        return error.code().name, error.details() or ""
    return "OK", ""


_METHODS = tuple(_grpc_seeds())


@pytest.mark.parametrize("method", _METHODS)
def test_no_mutated_message_is_a_server_error(server, grown, method):
    dice = random.Random(2)
    seed = _grpc_seeds()[method].SerializeToString(deterministic=True)
    codes = set()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary(method, None, None)
        for case in range(_CASES // 2 // len(_METHODS) + 1):
            body = _mutated(seed, dice) if case else seed
            code, details = _answer(call, body)
            assert code in _CLIENTS_MISTAKES, (body, code, details)
            codes.add(code)
            if case == min(_WARM, _CASES // 2 // len(_METHODS)):
                grown()
    assert {"OK", "INVALID_ARGUMENT"} <= codes


_SIZES = (0, 0, 1, 1, 2, 3, -1, 7, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
_FIELDS: dict[str, Any] = {
    "float_val": [1.5, float("nan"), -1e38],
    "double_val": [1e300],
    "int_val": [1, -(2**31)],
    "int64_val": [2**63 - 1, -1],
    "uint32_val": [2**32 - 1],
    "uint64_val": [2**64 - 1],
    "half_val": [15360, -1],
    "bool_val": [True, False],
    "string_val": [b"", b"\xff\x00"],
    "scomplex_val": [1.0, 2.0, 3.0],
}


def _strange_tensor(dice: random.Random) -> Any:
    """A tensor that no program would send: type, shape and values have nothing to do with each other."""
    tensor = protobufs.TensorProto()
    tensor.dtype = dice.choice([*range(24), 101, 2**31 - 1, -1])
    for _ in range(dice.choice([0, 1, 1, 2, 2, 3, 5, 65, 300])):
        tensor.tensor_shape.dim.add(size=dice.choice(_SIZES) if dice.random() < 0.6 else 1)
    tensor.tensor_shape.unknown_rank = dice.random() < 0.05
    for name in dice.sample(list(_FIELDS), dice.choice([0, 1, 1, 2])):
        getattr(tensor, name).extend(_FIELDS[name] * dice.randint(1, 3))
    if dice.random() < 0.5:
        tensor.tensor_content = dice.randbytes(dice.choice([0, 1, 4, 8, 16]))
    return tensor


def test_no_strange_tensor_is_a_server_error(server, grown):
    dice = random.Random(4)
    signatures = [f"{kind}_{shape}" for kind in ("float32", "int64", "string", "uint8") for shape in ("any", "vector")]
    codes = set()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict", None, None)
        for case in range(_CASES // 2):
            request = protobufs.predict_pb2.PredictRequest()
            request.model_spec.name = "types"
            request.model_spec.signature_name = dice.choice(signatures)
            request.inputs["x"].CopyFrom(_strange_tensor(dice))
            code, details = _answer(call, request.SerializeToString())
            assert code in _CLIENTS_MISTAKES, (request, code, details)
            codes.add(code)
            if case == min(_WARM, _CASES // 4):
                grown()
    assert {"OK", "INVALID_ARGUMENT"} <= codes
