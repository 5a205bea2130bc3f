"""Predict requests and answers as JSON, in TensorFlow Serving's forms and words.

Decoding is done in three ways. A body that is one list of numbers is read by `json_numbers`. Others are flattened,
whole lists with C loops, and looked at by the set of types met. Only when something is wrong does `json_mistakes` walk
value by value, to find the first mistake and name it.
"""

from __future__ import annotations

import base64
import enum
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from model_server.runtime.dtypes import Array, DataType, bfloat16_from
from model_server.runtime.errors import ServingError, invalid
from model_server.runtime.json_mistakes import JSON_TYPES, MAX_LEVELS, find_mistake, too_deep, type_error
from model_server.runtime.json_numbers import NumberText, find_number_text
from model_server.runtime.json_values import decode_base64, dense_shape, is_base64, is_named, parse_json, show
from model_server.runtime.savedmodel import TensorSpec


class Form(enum.Enum):
    """How a request is laid out, and so how its answer is."""

    ROW = "instances"
    COLUMN = "inputs"


class PredictRequest(NamedTuple):
    """A parsed body, before the signature's types are known."""

    signature_name: str
    form: Form
    value: Any


# The JSON types (as Python's) that elements are read from; `bool` is not an `int` here, sets of types are exact.
_FROM_JSON: dict[str, frozenset[type]] = {
    "f": frozenset({int, float}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "b": frozenset({bool}),
    "O": frozenset({str, dict}),
}


def parse_predict(body: bytes) -> PredictRequest:
    """Read the body of a predict request; `value` is a NumberText where it may be read faster. Raises ServingError."""
    text = find_number_text(body)
    return _parse(body) if text is None else PredictRequest(text.signature_name, Form(text.key), text)


def _parse(body: bytes) -> PredictRequest:
    document = parse_json(body)
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {show(document)} Is not object")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {show(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    if "instances" in document and "inputs" in document:
        raise invalid(
            f"JSON Value: {show(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if "instances" in document:
        rows = document["instances"]
        if not isinstance(rows, list):
            raise invalid(f"JSON Value: {show(document)} Expecting 'instances' to be an list/array")
        if not rows:
            raise invalid(f"JSON Value: {show(document)} No values in 'instances' array")
        return PredictRequest(name, Form.ROW, rows)
    if "inputs" in document:
        return PredictRequest(name, Form.COLUMN, document["inputs"])
    raise invalid("Missing 'inputs' or 'instances' key")


def decode_inputs(request: PredictRequest, specs: Mapping[str, TensorSpec]) -> dict[str, tuple[Array, DataType]]:
    """The arrays for a signature's inputs. Raises ServingError, naming the row, the input, and what is wrong."""
    if not specs:
        raise invalid(f"Failed to get input map for signature: {request.signature_name or 'DEFAULT'}")
    if isinstance(request.value, NumberText):
        name, spec = next(iter(specs.items()))
        numbers = request.value.array(spec.dtype) if len(specs) == 1 else None
        if numbers is not None:
            return {name: (numbers, spec.dtype)}
        request = _parse(request.value.body)
    columns = _columns_of_rows(request.value, specs) if request.form is Form.ROW else _columns(request.value, specs)
    arrays = {}
    for name, value in columns.items():
        dtype = specs[name].dtype
        array = decode_tensor(value, dtype)
        if array is None:
            raise _row_mistake(request, name, value, dtype) if request.form is Form.ROW else _mistake(value, dtype)
        arrays[name] = (array, dtype)
    return arrays


def _columns_of_rows(rows: list[Any], specs: Mapping[str, TensorSpec]) -> dict[str, list[Any]]:
    if not is_named(rows[0]):
        if len(specs) > 1:
            raise invalid(
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                "tensorinfo_map"
            )
        mixed = next((i for i, row in enumerate(rows) if is_named(row)), None)
        if mixed is not None:
            raise invalid(f"Expecting value/list but got object at item {mixed} of input list")
        return {next(iter(specs)): rows}
    for i, row in enumerate(rows):
        if not is_named(row):
            raise invalid(f"Expecting object but got list at item {i} of input list")
        unknown = next((key for key in row if key not in specs), None)
        if unknown is not None:
            raise invalid(
                f"Failed to process element: {i} key: {unknown} of 'instances' list. Error: INVALID_ARGUMENT: "
                f"JSON object: does not have named input: {unknown}"
            )
        if len(row) != len(specs):
            raise invalid(
                f"Failed to process element: {i} of 'instances' list. JSON object: {show(row)} keys must be equal to: "
                f"{','.join(sorted(specs))}"
            )
    return {name: [row[name] for row in rows] for name in specs}


def _columns(value: Any, specs: Mapping[str, TensorSpec]) -> dict[str, Any]:
    if not is_named(value):
        if len(specs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        return {next(iter(specs)): value}
    missing = next((name for name in sorted(specs) if name not in value), None)
    if missing is not None:
        raise invalid(f"Missing named input: {missing} in 'inputs' object.")
    return {name: value[name] for name in specs}


def _mistake(value: Any, dtype: DataType) -> ServingError:
    return find_mistake(value, dtype, _accepts) or type_error(value, dtype)


def _row_mistake(request: PredictRequest, name: str, rows: list[Any], dtype: DataType) -> ServingError:
    key = f" key: {name}" if is_named(request.value[0]) else ""
    shape = dense_shape(rows[0])
    for i, row in enumerate(rows):
        error = find_mistake(row, dtype, _accepts)
        if error is None and (found := dense_shape(row)) != shape:
            if math.prod(found) != math.prod(shape):
                error = invalid(f"Expecting tensor size: {math.prod(shape)} but got: {math.prod(found)}")
            else:
                error = invalid(f"Expecting shape {_bracket(shape)} but got: {_bracket(found)}")
        if error is not None:
            return invalid(f"Failed to process element: {i}{key} of 'instances' list. Error: {error.with_code()}")
    return type_error(rows, dtype)


def _bracket(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _accepts(item: Any, dtype: DataType) -> bool:
    return decode_tensor(item, dtype) is not None


def decode_tensor(value: Any, dtype: DataType) -> Array | None:
    """The array of a JSON value: nested lists of one size a level, or a scalar. None when there is a mistake in it."""
    element = dtype.numpy
    if dtype not in JSON_TYPES or element is None:
        return None
    shape: list[int] = []
    items: Sequence[Any] = [value]
    while items and type(items[0]) is list:
        size = len(items[0])
        if len(items) > 1 and (set(map(type, items)) != {list} or set(map(len, items)) != {size}):
            return None
        shape.append(size)
        items = items[0] if len(items) == 1 else list(itertools.chain.from_iterable(items))
    if len(shape) > MAX_LEVELS:
        raise too_deep(len(shape))
    number = np.dtype(np.float32) if dtype is DataType.BFLOAT16 else element
    if not set(map(type, items)) <= _FROM_JSON[number.kind]:
        return None
    flat = _strings(items) if dtype is DataType.STRING else _numbers(items, number)
    if flat is not None and dtype is DataType.BFLOAT16:
        flat = bfloat16_from(flat)
    return None if flat is None else flat.reshape(shape)


def _numbers(items: Sequence[Any], element: np.dtype[np.generic]) -> Array | None:
    try:
        with np.errstate(over="ignore"):
            array: Array = np.array(items, element)
    except OverflowError:
        return None
    if element.itemsize < 8 and element.kind == "f" and np.isinf(array).any():
        wide = np.array(items, np.float64)
        if (np.isinf(wide) != np.isinf(array)).any():
            return None  # a finite number that the type cannot hold
    return array


def _strings(items: Sequence[Any]) -> Array | None:
    array: Array = np.empty(len(items), np.object_)
    for i, item in enumerate(items):
        decoded = _to_bytes(item)
        if decoded is None:
            return None
        array[i] = decoded
    return array


def _to_bytes(item: Any) -> bytes | None:
    if isinstance(item, str):
        try:
            return item.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return None
    return decode_base64(item["b64"]) if is_base64(item) else None


def encode_outputs(outputs: Mapping[str, Array], form: Form) -> bytes:
    """The body of the answer. Raises ServingError when the outputs cannot be told apart by row.

    One output gives plain values, several give objects; strings whose output's name ends in `_bytes` become
    `{"b64": …}`; NaN and the infinities are written bare.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    if form is Form.ROW:
        _check_rows(outputs)
    values = {name: _encodable(name, array) for name, array in outputs.items()}
    if len(values) == 1:
        content = next(iter(values.values()))
    elif form is Form.COLUMN:
        content = values
    else:
        content = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    document = {"outputs" if form is Form.COLUMN else "predictions": content}
    body = dump(document, finite=True)
    # Among numbers, `null` is what could not be written; among strings it may be one of them.
    return body if b"null" not in body or _finite(outputs) else dump(document, finite=False)


def _finite(outputs: Mapping[str, Array]) -> bool:
    return all(bool(np.isfinite(array).all()) for array in outputs.values() if array.dtype.kind == "f")


def dump(document: Any, *, finite: bool) -> bytes:
    """JSON with NumPy arrays and scalars in it; NaN and the infinities, unless all is `finite`, written bare."""
    if finite:
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(document, default=_shortest, ensure_ascii=False, separators=(",", ":")).encode()


def _check_rows(outputs: Mapping[str, Array]) -> None:
    rows = -1
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if rows not in {-1, array.shape[0]}:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {array.shape[0]} expecting: {rows}")
        rows = array.shape[0]


def _encodable(name: str, array: Array) -> Any:
    if array.dtype.kind == "O":
        return _encode_strings(array.tolist(), as_bytes=name.endswith("_bytes"))
    if array.dtype.kind not in "fiub":
        raise invalid(f"Failed to write JSON value for tensor type: {array.dtype.name}")
    return np.ascontiguousarray(array) if array.ndim else array[()]


def _encode_strings(value: Any, *, as_bytes: bool) -> Any:
    if isinstance(value, list):
        return [_encode_strings(item, as_bytes=as_bytes) for item in value]
    return {"b64": base64.b64encode(value).decode()} if as_bytes else value.decode("utf-8", "replace")


def _shortest(array: Any) -> Any:
    """Lists of numbers; a float32 as the shortest decimal that reads back as it, not as the double nearest to it."""
    if array.dtype == np.float32:
        array = np.array([float(str(x)) for x in array.ravel()], np.float64).reshape(array.shape)
    return array.tolist()
