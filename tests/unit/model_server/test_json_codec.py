"""The JSON codec by itself: what goes in comes out, whatever it is."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from model_server.runtime.dtypes import DataType
from model_server.runtime.errors import ServingError
from model_server.runtime.json_codec import Form, decode_inputs, decode_tensor, encode_outputs, parse_predict
from model_server.runtime.json_numbers import find_number_text
from model_server.runtime.json_values import decode_base64, parse_json, show
from model_server.runtime.savedmodel import TensorSpec

NUMBERS = [
    DataType.FLOAT,
    DataType.DOUBLE,
    DataType.INT8,
    DataType.INT16,
    DataType.INT32,
    DataType.INT64,
    DataType.UINT8,
    DataType.UINT32,
    DataType.UINT64,
    DataType.BOOL,
]
SHAPES = nps.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4)


@st.composite
def tensors(draw: Any) -> tuple[DataType, Any]:
    dtype = draw(st.sampled_from([*NUMBERS, DataType.STRING]))
    if dtype is not DataType.STRING:
        return dtype, draw(nps.arrays(dtype.numpy, SHAPES))
    shape = draw(SHAPES)
    values = draw(st.lists(st.binary(max_size=20), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    array = np.empty(len(values), np.object_)
    array[:] = values
    return dtype, array.reshape(shape)


def _specs(**dtypes: DataType) -> dict[str, TensorSpec]:
    return {name: TensorSpec(name, f"{name}:0", dtype, None) for name, dtype in dtypes.items()}


def _same(left: Any, right: Any) -> bool:
    return bool(left.shape == right.shape and np.array_equal(left, right, equal_nan=left.dtype.kind == "f"))


@settings(max_examples=200, deadline=None)
@given(tensors(), st.sampled_from(Form))
def test_what_is_written_is_read_back_bit_by_bit(tensor, form):
    dtype, array = tensor
    answer = json.loads(encode_outputs({"x_bytes": array}, form))
    body = json.dumps({form.value: answer["predictions" if form is Form.ROW else "outputs"]})
    decoded, found = decode_inputs(parse_predict(body.encode()), _specs(x_bytes=dtype))["x_bytes"]
    assert found is dtype
    assert decoded.dtype == array.dtype
    assert _same(decoded, array)


@settings(max_examples=100, deadline=None)
@given(tensors(), tensors(), st.sampled_from(Form))
def test_two_tensors_of_one_batch_are_read_back(left, right, form):
    rows = min(len(left[1]), len(right[1]))
    outputs = {"a_bytes": left[1][:rows], "b_bytes": right[1][:rows]}
    content = json.loads(encode_outputs(outputs, form))["predictions" if form is Form.ROW else "outputs"]
    body = json.dumps({form.value: content}).encode()
    decoded = decode_inputs(parse_predict(body), _specs(a_bytes=left[0], b_bytes=right[0]))
    assert all(_same(decoded[name][0], array) for name, array in outputs.items())


LISTS = st.recursive(
    st.integers(-(2**65), 2**65) | st.integers(-3, 300) | st.floats() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.integers(-5, 5), min_size=2, max_size=2),
    max_leaves=12,
)
SPACES = st.sampled_from(["", " ", "\n\t "])


@settings(max_examples=500, deadline=None)
@given(st.lists(LISTS, max_size=3), st.sampled_from([*NUMBERS, DataType.HALF, DataType.BFLOAT16]), SPACES)
def test_numbers_read_from_the_text_are_those_read_from_lists(value, dtype, space):
    text = json.dumps(value, separators=(f"{space},", f"{space}:{space}"), indent=None)
    body = f'{space}{{{space}"inputs"{space}:{space}{text}{space}}}'.encode()
    found = find_number_text(body)
    assert found is not None
    fast, slow = found.array(dtype), decode_tensor(json.loads(body)["inputs"], dtype)
    if fast is not None:
        assert slow is not None
        assert fast.dtype == slow.dtype
        assert _same(fast, slow)


@pytest.mark.parametrize("shape", [(1,), (7,), (1, 1), (3, 2), (2, 1, 3), (1, 2, 1, 2), (5, 4, 3, 2)])
def test_regular_lists_of_numbers_are_read_from_the_text(shape):
    array = np.arange(np.prod(shape)).reshape(shape)
    for form in Form:
        found = find_number_text(json.dumps({"signature_name": "s", form.value: array.tolist()}).encode())
        assert found is not None
        assert (found.signature_name, found.key) == ("s", form.value)
        for dtype in (DataType.FLOAT, DataType.UINT8, DataType.INT64):
            read = found.array(dtype)
            assert read is not None
            assert _same(read, array.astype(dtype.numpy))


@pytest.mark.parametrize(
    "text",
    ["[[1],[]]", "[[],[1]]", "[[1,2],[3]]", "[[1],[2,3]]", "[1,[2]]", "[[1],2]", "[]", "[[]]", "[[[1],[2]],[[3]]]"],
)
def test_ragged_and_empty_lists_are_not_read_from_the_text(text):
    found = find_number_text(f'{{"inputs": {text}}}'.encode())
    assert found is not None
    assert found.array(DataType.FLOAT) is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": {"a": [1]}}',
        b'{"inputs": 1}',
        b'{"inputs": [1], "more": 1}',
        b'{"signature_name": "a", "inputs": [1], "signature_name": "b"}',
        b'{"signature_name": "\\u0061", "inputs": [1]}',
        b'{"inputs": [1]} trailing',
        b"",
        b"{",
    ],
)
def test_any_other_body_is_not_read_from_the_text(body):
    assert find_number_text(body) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b64", "ö"]), inner, max_size=2),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(JSON, st.sampled_from([*NUMBERS, DataType.STRING, DataType.HALF]), st.sampled_from(Form))
def test_any_json_is_an_array_or_a_sentence(value, dtype, form):
    body = json.dumps({form.value: value}).encode()
    with contextlib.suppress(ServingError):  # any other exception fails the test
        array, found = decode_inputs(parse_predict(body), _specs(a=dtype))["a"]
        assert (found, array.dtype) == (dtype, dtype.numpy)
        assert np.shape(array)[: 1 if form is Form.ROW else 0] == ((len(value),) if form is Form.ROW else ())


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text('{}[]",:1.e-NaInfty\\u0 ', max_size=40).map(str.encode))
def test_any_bytes_are_a_request_or_a_sentence(body):
    with contextlib.suppress(ServingError):  # any other exception fails the test
        assert parse_predict(body).form in Form


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"[NaN, Infinity, -Infinity]", [float("nan"), float("inf"), float("-inf")]),
        (b' {"a": NaN} and what follows', {"a": float("nan")}),
        (b"\xef\xbb", None),
    ],
)
def test_tensorflow_servings_extensions_of_json(body, value):
    if value is None:
        with pytest.raises(ServingError, match="JSON Parse error"):
            parse_json(body)
    else:
        assert repr(parse_json(body)) == repr(value)


def test_text_that_is_not_utf8_reaches_the_model_as_it_is():
    request = parse_predict(b'{"instances": ["\xff\xfe"]}')
    assert decode_inputs(request, _specs(a=DataType.STRING))["a"][0].tolist() == [b"\xff\xfe"]


def test_parse_errors_name_the_byte():
    with pytest.raises(ServingError, match="at offset: 15"):
        parse_json('{"é": 1, "b": }'.encode())


def test_float32_is_written_shortest_also_beside_nan():
    array = np.array([0.1, np.nan, 16777216.0], np.float32)
    assert encode_outputs({"y": array}, Form.COLUMN) == b'{"outputs":[0.1,NaN,16777216.0]}'


@pytest.mark.parametrize("text", ["YQ==", "YQ", "Y\nQ=="])
def test_base64_with_and_without_padding(text):
    assert decode_base64(text) == b"a"


def test_shown_values_are_cut():
    assert len(show(list(range(100_000)))) < 300


def test_outputs_without_a_common_batch_have_no_rows():
    with pytest.raises(ServingError, match="Tensor name: b has inconsistent batch size: 3 expecting: 2"):
        encode_outputs({"a": np.zeros(2, np.float32), "b": np.zeros(3, np.float32)}, Form.ROW)
