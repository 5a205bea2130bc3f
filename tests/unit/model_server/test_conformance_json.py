"""The REST contract as tables: what goes in as JSON, and what comes out or which sentence.

The model `types` gives back what it gets, through TensorFlow's own kernels. Signatures are `<dtype>_<shape>`, of shape
scalar [], vector [-1], matrix [-1,-1], pairs [-1,2], fixed [2] or any (unknown rank).
"""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "bfloat16", "float32", "float64"]
# What TensorFlow's messages call the types.
LABELS = {"float32": "float", "float64": "double", "float16": "half"}
LIMITS = {name: (int(np.iinfo(name).min), int(np.iinfo(name).max)) for name in INTEGERS}
LARGEST = {"float16": 65504.0, "bfloat16": 3.3895314e38, "float32": 3.4028235e38, "float64": 1.7976931348623157e308}
SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 5e-324}


class Case(NamedTuple):
    """One request of the model `types`: `answer` is the whole body of status 200, `error` that of another."""

    id: str
    body: str
    answer: Any = None
    error: str = ""
    status: int = 400


def _body(signature: str, key: str, value: Any) -> str:
    return json.dumps({"signature_name": signature, key: value})


def _row_error(message: str, row: int = 0, key: str = "") -> str:
    name = f" key: {key}" if key else ""
    return f"Failed to process element: {row}{name} of 'instances' list. Error: INVALID_ARGUMENT: {message}"


def _wrong_type(shown: str, kind: str, dtype: str) -> str:
    return f"JSON Value: {shown} Type: {kind} is not of expected type: {LABELS.get(dtype, dtype)}"


def _values(dtype: str) -> list[Any]:
    """Values of the type, its limits among them, as they come back."""
    if dtype in LIMITS:
        least, most = LIMITS[dtype]
        return [0, 1, least, most]
    if dtype in FLOATS:
        return [0.0, -0.5, LARGEST[dtype], -LARGEST[dtype], SMALLEST[dtype], 1.0]
    return [True, False] if dtype == "bool" else ["", "a", "naïve", "\u0000\U0001f600", '"\\\n']


def _echoes() -> Iterator[Case]:
    for dtype in [*INTEGERS, *FLOATS, "bool", "string"]:
        values = _values(dtype)
        pair = values[:2]
        for form, key in (("instances", "predictions"), ("inputs", "outputs")):
            yield Case(f"{dtype} vector {form}", _body(f"{dtype}_vector", form, values), {key: values})
            yield Case(f"{dtype} pairs {form}", _body(f"{dtype}_pairs", form, [pair] * 3), {key: [pair] * 3})
            yield Case(f"{dtype} any rank {form}", _body(f"{dtype}_any", form, [[[pair]]]), {key: [[[pair]]]})
            yield Case(f"{dtype} fixed {form}", _body(f"{dtype}_fixed", form, pair), {key: pair})
        yield Case(f"{dtype} scalar", _body(f"{dtype}_scalar", "inputs", values[1]), {"outputs": values[1]})
        yield Case(
            f"{dtype} named", _body(f"{dtype}_vector", "instances", [{"x": values[1]}]), {"predictions": values[1:2]}
        )
        yield Case(f"{dtype} named column", _body(f"{dtype}_vector", "inputs", {"x": values}), {"outputs": values})
        yield Case(f"{dtype} empty", _body(f"{dtype}_vector", "inputs", []), {"outputs": []})
        yield Case(f"{dtype} empty rows", _body(f"{dtype}_matrix", "instances", [[], []]), {"predictions": [[], []]})


def _numbers() -> Iterator[Case]:
    for dtype in INTEGERS:
        least, most = LIMITS[dtype]
        for value in (least - 1, most + 1):
            # Past 64 bits an integer is a decimal.
            shown = str(value) if -(2**63) <= value < 2**64 else json.dumps(float(value))
            error = _wrong_type(shown, "Number", dtype)
            yield Case(f"{dtype} {value}", _body(f"{dtype}_vector", "inputs", [value]), None, error)
        yield Case(
            f"{dtype} fraction", _body(f"{dtype}_vector", "inputs", [1, 1.5]), None, _wrong_type("1.5", "Number", dtype)
        )
        yield Case(
            f"{dtype} whole decimal",
            _body(f"{dtype}_vector", "inputs", [1.0]),
            None,
            _wrong_type("1.0", "Number", dtype),
        )
        yield Case(
            f"{dtype} NaN",
            f'{{"signature_name": "{dtype}_vector", "inputs": [NaN]}}',
            None,
            _wrong_type("NaN", "Number", dtype),
        )
    for dtype in FLOATS:
        yield Case(
            f"{dtype} from integers", _body(f"{dtype}_vector", "inputs", [1, -2, 0]), {"outputs": [1.0, -2.0, 0.0]}
        )
        bare = '{"signature_name": "%s", "%s": [NaN, Infinity, -Infinity, 1]}'
        for form, key in (("instances", "predictions"), ("inputs", "outputs")):
            yield Case(
                f"{dtype} not finite {form}",
                bare % (f"{dtype}_vector", form),
                f'{{"{key}":[NaN,Infinity,-Infinity,1.0]}}',
            )
        yield Case(
            f"{dtype} null in NaN's place",
            _body(f"{dtype}_vector", "inputs", [None]),
            None,
            _wrong_type("null", "Null", dtype),
        )
    for dtype, large in (("float16", 65520.0), ("float32", 3.5e38), ("float16", -1e5), ("float32", -1e300)):
        error = _wrong_type(json.dumps(large), "Number", dtype)
        yield Case(f"{dtype} {large}", _body(f"{dtype}_vector", "inputs", [large]), None, error)
    for number in ("1e400", "-1e400", "1e99999"):
        yield Case(
            f"number {number}",
            f'{{"inputs": [{number}]}}',
            None,
            "JSON Parse error: Number too big to be stored in double.",
        )
    for number in ("01", "+1", ".5", "1.", "0x10", "1e", "--1", "1_000", "Inf", "nan", "-"):
        yield Case(f"number {number}", f'{{"inputs": [{number}]}}', None, "*JSON Parse error: ")
    for number, read in (
        ("1E2", 100.0),
        ("1e-50", 0.0),
        ("-0", 0.0),
        ("-0.0", -0.0),
        ("16777217", 16777216.0),
        ("0.1", 0.1),
    ):
        yield Case(f"number {number}", f'{{"inputs": [{number}]}}', {"outputs": [read]})


_OTHERS: dict[str, tuple[Any, str, str]] = {
    "null": (None, "null", "Null"),
    "bool": (True, "true", "True"),
    "number": (1, "1", "Number"),
    "text": ("1", '"1"', "String"),
    "object": ({"a": 1}, '{\n    "a": 1\n}', "Object"),
}


def _types() -> Iterator[Case]:
    for dtype in [*INTEGERS, *FLOATS, "bool", "string"]:
        for kind, (value, shown, name) in _OTHERS.items():
            fits = kind == {"bool": "bool", "string": "text"}.get(dtype, "number")
            if fits:
                continue
            error = _wrong_type(shown, name, dtype)
            if dtype == "string" and kind == "object":
                error = f"JSON Value: {shown} not formatted correctly for base64 data"
            good = _values(dtype)[1]
            yield Case(f"{dtype} from {kind}", _body(f"{dtype}_any", "inputs", [good, value]), None, error)
            yield Case(
                f"{dtype} from {kind} in row 1",
                _body(f"{dtype}_pairs", "instances", [[good, good], [good, value]]),
                None,
                _row_error(error, 1),
            )
    for dtype in ("complex64", "complex128"):
        yield Case(
            dtype, _body(f"{dtype}_vector", "inputs", [1]), None, f"Conversion of JSON Value: 1 to type: {dtype}", 501
        )


def _shapes() -> Iterator[Case]:
    ragged: dict[str, tuple[Any, str]] = {
        "short": ([[1, 2], [3]], "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        "long": ([[1], [2, 3]], "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
        "empty": ([[1], []], "Encountered list at unexpected size: 0 at level: 1 expected size: 1"),
        "deep": ([[[1]], [[2], [3]]], "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
        "deeper": ([[[1]], [[2, 3]]], "Encountered list at unexpected size: 2 at level: 2 expected size: 1"),
        "list among values": ([1, [2]], "Encountered list at unexpected level: 1 expected < 1"),
        "value among lists": (
            [[1], 2],
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        "list too deep": ([[1], [[2]]], "Encountered list at unexpected level: 2 expected < 2"),
    }
    for name, (value, error) in ragged.items():
        for dtype in ("float32", "int64"):
            yield Case(f"{dtype} ragged: {name}", _body(f"{dtype}_any", "inputs", value), None, error)
    rows: dict[str, tuple[Any, str]] = {
        "sizes": ([[1], [2, 3]], "Expecting tensor size: 1 but got: 2"),
        "value after list": ([[1, 2], 3], "Expecting tensor size: 2 but got: 1"),
        "same size, other shape": ([[1, 2], [[3], [4]]], "Expecting shape [2] but got: [2,1]"),
    }
    for name, (value, error) in rows.items():
        yield Case(f"rows {name}", _body("float32_any", "instances", value), None, _row_error(error, 1))
    for name, shape, value, found in (
        ("scalar for vector", "vector", 1, "[]"),
        ("matrix for vector", "vector", [[1]], "[1,1]"),
        ("vector for scalar", "scalar", [1], "[1]"),
        ("vector for matrix", "matrix", [1], "[1]"),
        ("triples for pairs", "pairs", [[1, 2, 3]], "[1,3]"),
        ("three for fixed two", "fixed", [1, 2, 3], "[3]"),
        ("one for fixed two", "fixed", [1], "[1]"),
        ("empty for fixed two", "fixed", [], "[0]"),
    ):
        expected = {"scalar": "[]", "vector": "[-1]", "matrix": "[-1,-1]", "pairs": "[-1,2]", "fixed": "[2]"}[shape]
        for dtype in ("float32", "int8", "uint64"):
            yield Case(
                f"{dtype} {name}",
                _body(f"{dtype}_{shape}", "inputs", value),
                None,
                f'input "x": expected shape {expected}, found {found}',
            )
    for levels in (33, 200):
        yield Case(
            f"{levels} levels",
            f'{{"inputs": {"[" * levels}1{"]" * levels}}}',
            None,
            f"lists are nested {levels} levels deep, tensors have at most 32 dimensions",
        )
    yield Case("100,000 levels", '{"inputs": ' + "[" * 100_000, None, "*JSON Parse error: ")


def _b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def _bytes() -> Iterator[Case]:
    for name, data in (("empty", b""), ("zero", b"\0"), ("not UTF-8", b"\xff\xfe"), ("long", bytes(range(256)) * 64)):
        yield Case(f"b64 {name} rows", _body("raw", "instances", [_b64(data)]), {"predictions": [_b64(data)]})
        yield Case(f"b64 {name} named", _body("raw", "instances", [{"raw": _b64(data)}]), {"predictions": [_b64(data)]})
        yield Case(
            f"b64 {name} column", _body("raw", "inputs", {"raw": [_b64(data)] * 2}), {"outputs": [_b64(data)] * 2}
        )
    yield Case("b64 scalar", _body("string_scalar", "inputs", _b64(b"ab")), {"outputs": "ab"})
    yield Case("b64 unpadded", _body("string_vector", "inputs", [{"b64": "YQ"}]), {"outputs": ["a"]})
    yield Case("b64 with line break", _body("string_vector", "inputs", [{"b64": "Y\nQ=="}]), {"outputs": ["a"]})
    yield Case("text to bytes output", _body("raw", "inputs", ["ö"]), {"outputs": [_b64("ö".encode())]})
    for text in ("%", "a", "YQ=Y", "ä"):
        yield Case(f"b64 {text}", _body("string_vector", "inputs", [{"b64": text}]), None, "Unable to base64 decode")
    for value in ({"b64": 1}, {"b64": None}, {"b64": ["YQ=="]}, {"b64": "YQ==", "more": 1}, {}):
        shown = json.dumps(value)
        yield Case(
            f"b64 {shown}", _body("string_vector", "inputs", [value]), None, "*not formatted correctly for base64 data"
        )


def _several() -> Iterator[Case]:
    row = {"a": [1.0, 2.0], "b": 3}
    yield Case("rows of two", _body("two", "instances", [row, row]), {"predictions": [row, row]})
    yield Case(
        "columns of two", _body("two", "inputs", {"a": [[1, 2]], "b": [3]}), {"outputs": {"a": [[1.0, 2.0]], "b": [3]}}
    )
    yield Case("two to one, rows", _body("two_to_one", "instances", [row]), {"predictions": [[3.0, 6.0]]})
    yield Case(
        "two to one, columns", _body("two_to_one", "inputs", {"a": [[1, 2]], "b": [3]}), {"outputs": [[3.0, 6.0]]}
    )
    two = {"double": 6, "text_bytes": _b64(b"3")}
    yield Case("one to two, rows", _body("one_to_two", "instances", [3]), {"predictions": [two]})
    yield Case("one to two, named", _body("one_to_two", "instances", [{"b": 3}]), {"predictions": [two]})
    yield Case(
        "one to two, columns",
        _body("one_to_two", "inputs", [3]),
        {"outputs": {"double": [6], "text_bytes": [_b64(b"3")]}},
    )
    yield Case(
        "other batches in columns",
        _body("two_batches", "inputs", {"a": [[1, 2]], "b": [3, 4]}),
        {"outputs": {"rows": [[1.0, 2.0]], "all": [3, 4]}},
    )
    yield Case("scalar output in columns", _body("flat", "inputs", [3, 4]), {"outputs": 7})
    yield Case(
        "scalar output in rows",
        _body("flat", "instances", [3, 4]),
        None,
        "Tensor name: total has no shape information ",
    )
    yield Case("no inputs", _body("none", "inputs", {}), None, "Failed to get input map for signature: none")
    yield Case(
        "an input is missing",
        _body("two", "inputs", {"a": [[1, 2]]}),
        None,
        "Missing named input: b in 'inputs' object.",
    )
    yield Case(
        "an input too many",
        _body("two", "inputs", {"a": [[1, 2]], "b": [3], "c": 1}),
        {"outputs": {"a": [[1.0, 2.0]], "b": [3]}},
    )
    yield Case(
        "a row's input is missing",
        _body("two", "instances", [row, {"a": [1, 2]}]),
        None,
        "*Failed to process element: 1 of 'instances' list. JSON object: ",
    )
    yield Case(
        "a row's input too many",
        _body("two", "instances", [{**row, "c": 1}]),
        None,
        _row_error("JSON object: does not have named input: c", 0, "c"),
    )
    yield Case(
        "a wrong name",
        _body("float32_vector", "instances", [{"y": 1}]),
        None,
        _row_error("JSON object: does not have named input: y", 0, "y"),
    )
    yield Case(
        "a row that is a list",
        _body("two", "instances", [row, [1]]),
        None,
        "Expecting object but got list at item 1 of input list",
    )
    yield Case(
        "a row that is an object",
        _body("float32_vector", "instances", [1, {"x": 1}]),
        None,
        "Expecting value/list but got object at item 1 of input list",
    )
    yield Case(
        "a plain list for two",
        _body("two", "instances", [1]),
        None,
        "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
        "tensorinfo_map",
    )
    yield Case(
        "a plain value for two",
        _body("two", "inputs", [1]),
        None,
        "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
        "tensorinfo_map",
    )
    yield Case(
        "a value of one input is wrong",
        _body("two", "instances", [row, {"a": [1, 2], "b": 1.5}]),
        None,
        _row_error(_wrong_type("1.5", "Number", "int64"), 1, "b"),
    )
    yield Case(
        "rows of one input differ",
        _body("two", "instances", [row, {"a": [1], "b": 1}]),
        None,
        _row_error("Expecting tensor size: 2 but got: 1", 1, "a"),
    )
    yield Case(
        "a shape of one input is wrong",
        _body("two", "instances", [{"a": [1, 2, 3], "b": 1}]),
        None,
        'input "a": expected shape [-1,2], found [1,3]',
    )


def _envelopes() -> Iterator[Case]:
    yield Case("no default needed", '{"inputs": [1]}', {"outputs": [1.0]})
    yield Case("empty signature name", '{"signature_name": "", "inputs": [1]}', {"outputs": [1.0]})
    yield Case("unknown key", '{"inputs": [1], "more": {}}', {"outputs": [1.0]})
    yield Case("white space", ' \r\n\t{ "inputs" :\n[ 1 ] } \n', {"outputs": [1.0]})
    yield Case("text behind", '{"inputs": [1]} and more', {"outputs": [1.0]})
    yield Case("escaped key", '{"\\u0069nputs": [1]}', {"outputs": [1.0]})
    for body in ("", " ", "\n"):
        yield Case(f"blank {body!r}", body, None, "JSON Parse error: The document is empty")
    for body in (
        "{",
        '{"inputs"',
        '{"inputs": [1,]}',
        "{'inputs': [1]}",
        '{"inputs": [1}',
        '{"inputs": "\\x"}',
        "nul",
        '{"inputs": tru}',
    ):
        yield Case(f"broken {body}", body, None, "*JSON Parse error: ")
    for body in ("[]", "1", "null", '"inputs"', "true"):
        yield Case(f"not an object {body}", body, None, f"JSON Value: {body} Is not object")
    yield Case("no key", "{}", None, "Missing 'inputs' or 'instances' key")
    yield Case(
        "wrong signature",
        '{"signature_name": "x", "inputs": 1}',
        None,
        'Serving signature name: "x" not found in signature def',
    )
    yield Case(
        "signature of another case",
        '{"signature_name": "RAW", "inputs": 1}',
        None,
        'Serving signature name: "RAW" not found in signature def',
    )
    for value in ("1", "null", "[]", "{}"):
        yield Case(
            f"signature {value}",
            f'{{"signature_name": {value}, "inputs": 1}}',
            None,
            "*not formatted correctly. 'signature_name' key must be a string value.",
        )
    for value in ("1", "null", '"a"', "{}"):
        yield Case(
            f"instances {value}", f'{{"instances": {value}}}', None, "*Expecting 'instances' to be an list/array"
        )
    yield Case("no instances", '{"instances": []}', None, "*No values in 'instances' array")
    yield Case(
        "both keys",
        '{"instances": [1], "inputs": [1]}',
        None,
        "*Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
    )


CASES = [case for table in (_echoes, _numbers, _types, _shapes, _bytes, _several, _envelopes) for case in table()]


@pytest.fixture(scope="module")
def connection(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    yield connection
    connection.close()


def _close(found: Any, expected: Any) -> bool:
    """Whether two JSON values are the same; a number may be the shortest that a float32 tells apart."""
    if isinstance(expected, float):
        with np.errstate(over="ignore"):
            return type(found) is float and found in {expected, float(str(np.float32(expected)))}
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(_close, found, expected))
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(_close(found[k], expected[k]) for k in expected)
        )
    return type(found) is type(expected) and bool(found == expected)


def test_there_are_enough_cases_and_no_two_are_the_same():
    assert len(CASES) >= 300
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_json(connection, case):
    connection.request("POST", "/v1/models/types:predict", case.body.encode())
    response = connection.getresponse()
    content = response.read()
    assert response.getheader("content-type") == "application/json"
    if case.answer is None:
        error = json.loads(content)["error"]
        assert error == case.error or (case.error.startswith("*") and case.error[1:] in error)
        assert response.status == case.status
    else:
        assert response.status == 200, content
        if isinstance(case.answer, str):
            assert content.decode() == case.answer
        else:
            assert _close(json.loads(content), case.answer), content
