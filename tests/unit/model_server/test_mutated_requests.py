"""Requests with bytes changed, cut off or doubled: the client's mistake is never answered as the server's."""

from __future__ import annotations

import http.client
import json
import random

import grpc
from google.protobuf.message import DecodeError

from model_server.runtime import protobufs

_CASES = 1000
_CLIENTS_MISTAKES = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE"}


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


def test_no_mutated_json_is_a_server_error(server):
    dice = random.Random(1)
    seed = json.dumps({"instances": [{"a": [0.5, 1.5], "b": 1}, {"a": [2, 3], "b": 2}]}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    statuses = set()
    for _ in range(_CASES):
        body = _mutated(seed, dice)
        connection.request("POST", "/v1/models/kinds:predict", body)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status in {200, 400}, (body, content)
        statuses.add(answer.status)
    connection.close()
    assert statuses == {200, 400}


def test_no_mutated_proto_is_a_server_error_unless_it_is_no_proto(server):
    dice = random.Random(2)
    request = protobufs.predict_pb2.PredictRequest()
    request.model_spec.name = "kinds"
    request.inputs["a"].CopyFrom(protobufs.TensorProto(dtype=1, float_val=[0.5, 1.5]))
    request.inputs["b"].CopyFrom(protobufs.TensorProto(dtype=3, int_val=[1]))
    for name, size in (("a", (1, 2)), ("b", (1,))):
        for length in size:
            request.inputs[name].tensor_shape.dim.add(size=length)
    seed = request.SerializeToString(deterministic=True)
    codes = set()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict", None, None)
        for _ in range(_CASES):
            body = _mutated(seed, dice)
            try:
                call(body, timeout=30)
                code, details = "OK", ""
            except grpc.RpcError as error:
                code, details = error.code().name, error.details() or ""
            try:
                protobufs.predict_pb2.PredictRequest.FromString(body)
            except DecodeError:
                continue  # gRPC itself answers these, before the service sees them
            assert code in _CLIENTS_MISTAKES, (body, code, details)
            codes.add(code)
    assert {"OK", "INVALID_ARGUMENT"} <= codes
