"""Tensors as `.npy` files, in requests and in answers."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest

from model_server.runtime.dtypes import DataType
from model_server.runtime.errors import Code, ServingError
from model_server.runtime.npy import read_npy

NPY = "application/x-npy"


def _npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def _with_header(header: str, values: bytes = b"", version: int = 1) -> bytes:
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode("latin-1") + values


def _post(server: Any, path: str, body: Any, content_type: str = NPY, accept: str = NPY) -> Any:
    return server.request("POST", f"/v1/models/{path}:predict", body, {"Content-Type": content_type, "Accept": accept})


@pytest.mark.parametrize("content_type", [NPY, "application/octet-stream", "Application/X-NPY; version=1"])
def test_a_model_takes_and_gives_npy(server, digits, content_type):
    answer = _post(server, "digits", _npy(digits[2]["image"]), content_type)
    assert (answer.status, answer.headers["content-type"]) == (200, NPY)
    scores = np.load(io.BytesIO(answer.body), allow_pickle=False)
    assert (scores.dtype, scores.shape) == (np.float32, (5, 3))
    np.testing.assert_allclose(scores, digits[2]["scores"], rtol=1e-5)
    old = _post(server, "digits/versions/1", _npy(digits[1]["image"]), content_type)
    np.testing.assert_allclose(np.load(io.BytesIO(old.body)), digits[1]["scores"], rtol=1e-5)


def test_each_side_may_also_be_json(server, digits):
    image = digits[2]["image"]
    answer = _post(server, "digits", _npy(image), accept="*/*")
    assert answer.headers["content-type"] == "application/json"
    np.testing.assert_allclose(answer.json["predictions"], digits[2]["scores"], rtol=1e-5)
    for content_type in ("application/json", "application/octet-stream"):
        answer = _post(server, "digits", {"instances": image.tolist()}, content_type, f"text/html, {NPY}")
        assert answer.headers["content-type"] == NPY
        np.testing.assert_allclose(np.load(io.BytesIO(answer.body)), digits[2]["scores"], rtol=1e-5)


@pytest.mark.parametrize("kind", ["bool", "uint8", "uint16", "int64", "float16", "float32", "float64", "bfloat16"])
def test_an_answer_has_the_outputs_type(server, kind):
    body = {"signature_name": f"{kind}_matrix", "inputs": [[True, False]] if kind == "bool" else [[1, 0]]}
    answer = _post(server, "types", body, "application/json")
    array = np.load(io.BytesIO(answer.body), allow_pickle=False)
    assert array.dtype == np.dtype("float32" if kind == "bfloat16" else kind)
    assert array.tolist() == [[1, 0]]


@pytest.mark.parametrize(
    "array",
    [
        np.array([True, False]),
        np.arange(6, dtype=np.int16).reshape(2, 3, 1),
        np.float64(2.5),
        np.zeros((0, 3), np.complex64),
        np.array([1.5, -2], np.float16),
    ],
    ids=str,
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)], ids=str)
def test_what_numpy_writes_is_read(array, version):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), version=version)
    read, dtype = read_npy("x", file.getvalue())
    assert dtype.numpy == array.dtype
    np.testing.assert_array_equal(read, array)


def test_a_bool_is_zero_or_not():
    assert read_npy("x", _with_header("{'descr': '|b1', 'fortran_order': False, 'shape': (2,)}", b"\x00\x07"))[
        0
    ].tolist() == [False, True]


_FLOATS = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s)}"
_IMAGE = _npy(np.zeros((2, 8, 8, 1), np.float32))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is no .npy file: it does not begin with \\x93NUMPY"),
        (b"[1, 2]", "the body is no .npy file"),
        (b"\x93NUMPY", "the .npy file ends within its header"),
        (_IMAGE[:9], "the .npy file ends within its header"),
        (_IMAGE[:60], "the .npy file ends within its header"),
        (_IMAGE[:-4], "has 508 bytes after its header, but shape [2, 8, 8, 1] of float takes 512"),
        (_IMAGE + b"1", "has 513 bytes after its header"),
        (_npy(np.array([{}, 1], object), allow_pickle=True), "holds Python objects, which this server never unpickles"),
        (_npy(np.asfortranarray(np.zeros((3, 3), np.float32))), "is in Fortran order: save numpy.ascontiguousarray"),
        (_npy(np.zeros(2, ">f4")), "the .npy file has dtype '>f4', send one of <f4, "),
        (_npy(np.array(["a"])), "the .npy file has dtype '<U1', send one of <f4, "),
        (_npy(np.zeros(2, [("a", "<f4")])), "has a structured dtype, send an array of numbers"),
        (_with_header(" " * 5000, version=2), "header has 5000 bytes, at most 4096 are read"),
        (_with_header("("), "header must be a Python dictionary of descr, fortran_order and shape"),
        (_with_header("(" * 4000), "header must be a Python dictionary"),
        (_with_header("-" * 4000 + "1"), "header must be a Python dictionary"),
        (_with_header("{'descr': '<f4'}"), "header must be a Python dictionary"),
        (_with_header("__import__('os').abort()"), "header must be a Python dictionary"),
        (_with_header(_FLOATS % "-1,"), "shape must be a tuple of sizes from 0"),
        (_with_header(_FLOATS % "2.5,"), "shape must be a tuple of sizes from 0"),
        (_with_header(_FLOATS % f"0x{'f' * 4000},"), "shape must be a tuple of sizes from 0"),
        (_with_header(_FLOATS % f"0, {2**62}"), f'input "x": no tensor can have shape [0, {2**62}]'),
        (_with_header(_FLOATS % ("1, " * 65)), 'input "x": a tensor has at most 64 dimensions, found 65'),
        (_with_header("{'descr': '<f4', 'fortran_order': 1, 'shape': ()}"), "is in Fortran order"),
        (_with_header(f"{{'descr': 0x{'f' * 4000}, 'fortran_order': False, 'shape': ()}}"), "has a structured dtype"),
    ],
)
def test_a_mistake_in_the_file_is_named(body, message):
    with pytest.raises(ServingError) as caught:
        read_npy("x", body)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("path", "body", "content_type", "message"),
    [
        ("digits", _npy(np.zeros((2, 8, 8, 1))), NPY, 'input "image": expected type float, found double'),
        ("digits", _npy(np.zeros((2, 8), np.float32)), NPY, 'input "image": expected shape [-1,8,8,1], found [2,8]'),
        ("digits", _IMAGE[:-4], "application/octet-stream", "but shape [2, 8, 8, 1] of float takes 512"),
        ("kinds", _IMAGE, NPY, 'signature "serving_default" takes 2 inputs: a, b; a .npy file holds one'),
        (
            "kinds",
            {"instances": [{"a": [0.5, 1.5], "b": 1}]},
            "application/json",
            'signature "serving_default" gives 3 outputs: code_bytes, label, sum; a .npy file holds one, ask for ',
        ),
        (
            "types",
            {"signature_name": "string_vector", "inputs": ["a"]},
            "application/json",
            'output "y" is of type string, which .npy holds as pickles only: ask for application/json',
        ),
    ],
)
def test_what_does_not_fit_the_signature_is_named(server, path, body, content_type, message):
    answer = _post(server, path, body, content_type)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
    assert message in answer.error


def test_every_type_that_numpy_has_is_taken():
    for dtype in DataType:
        if dtype.numpy is not None and dtype not in {DataType.STRING, DataType.BFLOAT16}:
            assert read_npy("x", _npy(np.zeros(3, dtype.numpy)))[1] is dtype
