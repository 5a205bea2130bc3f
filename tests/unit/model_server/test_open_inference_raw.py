"""Raw tensors behind the JSON of the Open Inference Protocol: Triton's extension `binary_tensor_data`.

What is expected is what its document says, and of values what the SavedModel itself gives.
"""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from model_server.runtime.dtypes import bfloat16_from
from model_server.runtime.open_inference import JSON_LENGTH
from model_server.runtime.open_inference_types import DATATYPES


def _raw(name: str, datatype: str, shape: list[int], size: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}


def _body(document: Any, *tensors: bytes) -> tuple[bytes, dict[str, str]]:
    text = json.dumps(document).encode()
    return b"".join((text, *tensors)), {JSON_LENGTH: str(len(text)), "Content-Type": "application/octet-stream"}


def _infer(server: Any, model: str, document: Any, *tensors: bytes) -> Any:
    return server.request("POST", f"/v2/models/{model}/infer", *_body(document, *tensors))


def _parts(answer: Any) -> tuple[Any, bytes]:
    """The JSON of an answer, and what is behind it."""
    assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream"), answer.body
    assert int(answer.headers["content-length"]) == len(answer.body)
    length = int(answer.headers[JSON_LENGTH.lower()])
    return json.loads(answer.body[:length]), answer.body[length:]


# The two inputs and one output of the document's example, with this model's types.
_A = np.array([[0.5, 1.5], [2.0, -3.0]], np.float32)
_B = np.array([1, -2], np.int32)
_INPUTS = [_raw("a", "FP32", [2, 2], 16), _raw("b", "INT32", [2], 8)]
_SUM = _A + _B.astype(np.float32)[:, None]


def test_tensors_go_and_come_behind_the_json(server):
    document = {"id": "7", "inputs": _INPUTS, "outputs": [{"name": "sum", "parameters": {"binary_data": True}}]}
    found, content = _parts(_infer(server, "kinds", document, _A.tobytes(), _B.tobytes()))
    assert found == {
        "model_name": "kinds",
        "model_version": "1",
        "id": "7",
        "outputs": [_raw("sum", "FP32", [2, 2], 16)],
    }
    np.testing.assert_array_equal(np.frombuffer(content, np.float32).reshape(2, 2), _SUM)


def test_a_models_answer_is_tensorflows(server, digits):
    for number in (1, 2):
        image, scores = digits[number]["image"], digits[number]["scores"]
        document = {
            "inputs": [_raw("image", "FP32", list(image.shape), image.nbytes)],
            "parameters": {"binary_data_output": True},
        }
        found, content = _parts(_infer(server, f"digits/versions/{number}", document, image.tobytes()))
        assert found["outputs"] == [_raw("scores", "FP32", [5, 3], 60)]
        np.testing.assert_allclose(np.frombuffer(content, np.float32).reshape(5, 3), scores, rtol=1e-5)


def test_pictures_go_as_bytes(server, digits):
    files = [base64.b64decode(str(file)) for file in digits[2]["files"]]
    content = b"".join(struct.pack("<I", len(file)) + file for file in files)
    document = {
        "inputs": [_raw("image", "BYTES", [len(files)], len(content))],
        "parameters": {"signature_name": "serving_bytes", "binary_data_output": True},
    }
    _, scores = _parts(_infer(server, "digits", document, content))
    np.testing.assert_allclose(np.frombuffer(scores, np.float32).reshape(-1, 3), digits[2]["scores"], rtol=1e-4)


def _values(name: str) -> bytes:
    """Two elements of a type, as they are sent; numbers at the ends of what it holds."""
    dtype = next(dtype for dtype, other in DATATYPES.items() if other == name)
    element = dtype.numpy
    assert element is not None
    match name:
        case "BYTES":
            return struct.pack("<I", 0) + struct.pack("<I", 3) + b"\xff\x00z"
        case "BOOL":
            return b"\x01\x00"
        case "BF16":
            return bfloat16_from(np.array([-2.5, np.inf], np.float32)).tobytes()
        case _ if element.kind == "f":
            return np.array([np.nan, np.finfo(element.name).max], element).tobytes()
        case _:
            return np.array([np.iinfo(element.name).min, np.iinfo(element.name).max], element).tobytes()


@pytest.mark.parametrize(("dtype", "name"), list(DATATYPES.items()))
def test_every_datatype_comes_back_byte_by_byte(server, dtype, name):
    label = {"float": "float32", "double": "float64", "half": "float16"}.get(dtype.label, dtype.label)
    both = _values(name)
    one = both[:4] if name == "BYTES" else both[: len(both) // 2]
    for kind, shape, content in (
        ("vector", [2], both),
        ("matrix", [1, 2], both),
        ("scalar", [], one),
        ("vector", [0], b""),
        ("any", [0, 3], b""),
    ):
        document = {
            "inputs": [_raw("x", name, shape, len(content))],
            "parameters": {"signature_name": f"{label}_{kind}", "binary_data_output": True},
        }
        found, answer = _parts(_infer(server, "types", document, content))
        assert found["outputs"] == [_raw("y", name, shape, len(content))]
        assert answer == content


def test_each_tensor_says_for_itself_how_it_goes(server):
    given = {"name": "b", "datatype": "INT32", "shape": [2], "data": [1, -2]}
    for first in (True, False):
        inputs = [_INPUTS[0], given] if first else [given, _INPUTS[0]]
        outputs = [
            {"name": "label"},
            {"name": "sum", "parameters": {"binary_data": first}},
            {"name": "code_bytes", "parameters": {"binary_data": not first}},
        ]
        document = {"inputs": inputs, "outputs": outputs, "parameters": {"binary_data_output": True}}
        found, content = _parts(_infer(server, "kinds", document, _A.tobytes()))
        names = ["label", "sum"] if first else ["label", "code_bytes"]
        assert [o["name"] for o in found["outputs"] if "parameters" in o] == names
        assert content.startswith(b"\x01\x00\x00\x001\x02\x00\x00\x00-2")
        (total,) = [output for output in found["outputs"] if output["name"] == "sum"]
        if first:
            assert content.endswith(_SUM.tobytes())
        else:
            assert total["data"] == _SUM.ravel().tolist()


def test_bytes_follow_in_the_order_of_the_json(server):
    swapped = {"inputs": _INPUTS[::-1], "outputs": [{"name": "sum", "parameters": {"binary_data": True}}]}
    _, content = _parts(_infer(server, "kinds", swapped, _B.tobytes(), _A.tobytes()))
    assert content == _SUM.tobytes()


def test_json_alone_needs_no_length_and_answers_without_one_unless_bytes_are_asked_for(server):
    data = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2.5]}
    plain = server.request("POST", "/v2/models/types/infer", {"inputs": [data]})
    assert plain.json["outputs"] == [{**data, "name": "y"}]
    assert (plain.headers["content-type"], JSON_LENGTH.lower() in plain.headers) == ("application/json", False)
    asked = {"inputs": [data], "parameters": {"binary_data_output": True}}
    _, content = _parts(server.request("POST", "/v2/models/types/infer", asked))
    assert content == np.array([1, 2.5], np.float32).tobytes()
    counted = _infer(server, "types", {"inputs": [data], "outputs": [{"name": "y", "parameters": {}}]})
    assert counted.json["outputs"] == [{**data, "name": "y"}]


def test_lengths_are_those_of_what_is_unpacked(server):
    values = np.arange(4096, dtype=np.float32)
    document = {"inputs": [_raw("x", "FP32", [4096], values.nbytes)], "parameters": {"binary_data_output": True}}
    body, headers = _body(document, values.tobytes())
    packed = {**headers, "Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
    answer = server.request("POST", "/v2/models/types/infer", gzip.compress(body), packed)
    assert answer.headers["content-encoding"] == "gzip"
    unpacked = gzip.decompress(answer.body)
    assert unpacked[int(answer.headers[JSON_LENGTH.lower()]) :] == values.tobytes()


def test_a_body_may_come_in_chunks(server):
    document = {"inputs": _INPUTS, "parameters": {"binary_data_output": True}}
    body, headers = _body(document, _A.tobytes(), _B.tobytes())

    def pieces() -> Iterator[bytes]:
        yield from (body[i : i + 50] for i in range(0, len(body), 50))

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", "/v2/models/kinds/infer", pieces(), headers, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    assert _SUM.tobytes() in answer.read()
    connection.close()


_X = _raw("x", "FP32", [2], 8)
_TWO = b"\0\0\x80\x3f" * 2


@pytest.mark.parametrize(
    ("document", "content", "message"),
    [
        (
            {"inputs": [_X]},
            _TWO[:-1],
            'input "x": binary_data_size is 8, but 7 bytes are left of those behind the JSON',
        ),
        ({"inputs": [_X]}, b"", 'input "x": binary_data_size is 8, but 0 bytes are left'),
        ({"inputs": [_X]}, _TWO + b"z", "1 bytes behind the JSON belong to no input"),
        ({"inputs": []}, _TWO, "8 bytes behind the JSON belong to no input"),
        ({"inputs": [_raw("x", "FP32", [2], -8)]}, _TWO, "must be a number of bytes from 0 on, found -8"),
        ({"inputs": [_raw("x", "FP32", [2], 8.0)]}, _TWO, "must be a number of bytes from 0 on, found 8.0"),
        ({"inputs": [_raw("x", "FP32", [2], "8")]}, _TWO, 'must be a number of bytes from 0 on, found "8"'),
        ({"inputs": [_raw("x", "FP32", [2], True)]}, _TWO, "must be a number of bytes from 0 on, found true"),
        ({"inputs": [_raw("x", "FP32", [2], None)]}, _TWO, "must be a number of bytes from 0 on, found null"),
        ({"inputs": [_raw("x", "FP32", [2], 2**63 - 1)]}, _TWO, "binary_data_size is 9223372036854775807, but 8 bytes"),
        ({"inputs": [_raw("x", "FP32", [2], 2**64)]}, _TWO, 'input "x": binary_data_size'),
        ({"inputs": [_raw("x", "FP32", [2], 10**400)]}, _TWO, "binary_data_size"),
        ({"inputs": [_X, {**_X, "name": "z"}]}, _TWO, 'input "z": binary_data_size is 8, but 0 bytes are left'),
        (
            {"inputs": [_raw("x", "FP32", [2], 7)]},
            _TWO[:7],
            'input "x": 7 raw bytes are no whole number of FP32 elements',
        ),
        ({"inputs": [_raw("x", "FP32", [3], 8)]}, _TWO, 'input "x": shape [3] takes 3 values, data has 2'),
        ({"inputs": [_raw("x", "FP32", [0], 8)]}, _TWO, 'input "x": shape [0] takes 0 values, data has 2'),
        ({"inputs": [_raw("x", "FP32", [2**31 - 1] * 4, 8)]}, _TWO, 'input "x": no tensor can have shape'),
        ({"inputs": [_raw("x", "FP64", [1], 8)]}, _TWO, 'input "x": expected type float, found double'),
        ({"inputs": [{**_X, "data": [1, 2]}]}, _TWO, 'input "x" has data beside binary_data_size: send one of them'),
        ({"inputs": [{**_X, "parameters": 8}]}, _TWO, 'the parameters of input "x" must be a JSON object, found 8'),
        ({"inputs": [_raw("x", "BYTES", [1], 3)]}, b"\1\0\0", 'input "x": raw BYTES end within element 0'),
        ({"inputs": [_raw("x", "BYTES", [1], 8)]}, b"\5\0\0\0abcd", 'input "x": raw BYTES end within element 0'),
        ({"inputs": [_raw("x", "BYTES", [2], 9)]}, b"\1\0\0\0a\xff\xff\xff\xff", "raw BYTES end within element 1"),
        ({"inputs": [_raw("x", "BYTES", [2], 5)]}, b"\1\0\0\0a", 'input "x": shape [2] takes 2 values, data has 1'),
        ({"inputs": [_X], "parameters": {"binary_data_output": 1}}, _TWO, "binary_data_output must be true or false"),
        (
            {"inputs": [_X], "outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]},
            _TWO,
            'binary_data of output "y" must be true or false, found "yes"',
        ),
        (
            {"inputs": [_X], "outputs": [{"name": "y", "parameters": []}]},
            _TWO,
            'the parameters of output "y" must be a',
        ),
    ],
)
def test_a_mistake_is_named(server, document, content, message):
    answer = _infer(server, "types", document, content)
    assert message in answer.error
    assert answer.status == 400


@pytest.mark.parametrize(
    "length", ["", "0", "-1", "+5", " 1_0", "0x10", "1e2", "abc", "²", "99999999999", "4294967296"]
)
def test_a_length_that_is_none_of_the_body_is_refused(server, length):
    body, headers = _body({"inputs": [_X]}, _TWO)
    sent = {**headers, JSON_LENGTH: length}
    answer = server.request("POST", "/v2/models/types/infer", body, sent)
    assert (answer.status, f"{JSON_LENGTH} must be the length of the JSON" in answer.error) == (400, True)


@pytest.mark.parametrize("off", [-1, 1, 8])
def test_json_that_ends_elsewhere_than_said_is_refused(server, off):
    body, headers = _body({"inputs": [_X]}, _TWO)
    sent = {**headers, JSON_LENGTH: str(int(headers[JSON_LENGTH]) + off)}
    assert server.request("POST", "/v2/models/types/infer", body, sent).status == 400
    assert server.request("POST", "/v2/models/types/infer", body, {"Content-Type": "text/plain"}).status == 400
