"""Requests with bytes changed, cut off or doubled: the client's mistake is never answered as the server's."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError

from model_server.runtime import protobufs

# `make fuzz` sends 10,000 each.
_CASES = int(os.environ.get("FUZZED_REQUESTS", "700"))
_GROWTH_BYTES = 64 * 1024 * 1024
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


def _resident(server: Any) -> int:
    """Bytes of memory that the server's process holds."""
    pages = Path(f"/proc/{server.process.pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


_JSON: dict[str, Any] = {
    "kinds:predict": {"instances": [{"a": [0.5, 1.5], "b": 1}, {"a": [2, 3], "b": 2}]},
    "types:predict": {"signature_name": "float32_pairs", "inputs": [[1, 2.5], [-3e5, 4], [5, 6]]},
    "types/versions/1:predict": {"signature_name": "raw", "instances": [{"b64": "YWI="}, "text"]},
    "examples:classify": {"examples": [{"x": [1.0, 2.0], "k": 3}], "context": {"name": "a"}},
    "examples:regress": {"signature_name": "value", "examples": [{"x": [1.0, 2.0], "k": [3]}]},
}


@pytest.mark.parametrize("api", _JSON)
def test_no_mutated_json_is_a_server_error(server, api):
    dice = random.Random(1)
    seed = json.dumps(_JSON[api]).encode()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    statuses = set()
    warm = 0
    for case in range(_CASES // len(_JSON)):
        body = _mutated(seed, dice)
        connection.request("POST", f"/v1/models/{api}", body)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status in {200, 400}, (body, content)
        statuses.add(answer.status)
        if case == 100:
            warm = _resident(server)
    connection.close()
    assert statuses == {200, 400}
    assert _resident(server) - warm < _GROWTH_BYTES


def test_no_mutated_http_is_a_server_error(server):
    dice = random.Random(3)
    body = json.dumps(_JSON["kinds:predict"]).encode()
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
