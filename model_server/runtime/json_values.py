"""JSON values: parsing a body, telling apart what an object means, and showing a value in an error message."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import orjson

from model_server.runtime.errors import invalid

_SHOWN_BYTES = 256
_WHITESPACE = re.compile(r"\s+")


def parse_json(body: bytes) -> Any:
    """The value of `body`. Raises ServingError with the byte offset of a mistake.

    Besides strict JSON this takes what TensorFlow Serving takes: NaN, Infinity and -Infinity, anything after the end of
    the document, and text that is not UTF-8 (each such byte is kept as a lone surrogate).
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_lenient(body.decode("utf-8", "surrogateescape"))


def _parse_lenient(text: str) -> Any:
    start = len(text) - len(text.lstrip())
    if start == len(text):
        raise invalid("JSON Parse error: The document is empty")
    try:
        value, _ = json.JSONDecoder(parse_float=_finite).raw_decode(text, start)
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode("utf-8", "surrogateescape"))
        raise invalid(f"JSON Parse error: {error.msg} at offset: {offset}") from error
    except (RecursionError, ValueError) as error:  # nested too deep; a number out of range or of too many digits
        raise invalid(f"JSON Parse error: {error}") from error
    return value


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        msg = "Number too big to be stored in double."
        raise ValueError(msg)
    return number


def is_base64(value: Any) -> bool:
    """Whether a JSON value is `{"b64": "…"}`, which stands for bytes."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def is_named(value: Any) -> bool:
    """Whether a JSON value is an object that names inputs."""
    return isinstance(value, dict) and not is_base64(value)


def decode_base64(text: str) -> bytes | None:
    """The bytes of base64 `text`, with or without padding and line breaks; None when it is not base64."""
    packed = _WHITESPACE.sub("", text).rstrip("=")
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def dense_shape(value: Any) -> list[int]:
    """The shape that the first element of each level announces."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def show(value: Any) -> str:
    """A JSON value for an error message: objects over several lines, lists on one, cut after about 256 bytes."""
    shown, size = [], 0
    for token in _tokens(value, 0):
        shown.append(token)
        size += len(token)
        if size >= _SHOWN_BYTES:
            break
    return "".join(shown)


def _tokens(value: Any, depth: int) -> Iterator[str]:
    indent = "    " * (depth + 1)
    match value:
        case dict() if value:
            for i, (key, item) in enumerate(value.items()):
                yield ("{\n" if i == 0 else ",\n") + indent + json.dumps(key, ensure_ascii=False) + ": "
                yield from _tokens(item, depth + 1)
            yield "\n" + "    " * depth + "}"
        case list():
            yield "["
            for i, item in enumerate(value):
                if i:
                    yield ", "
                yield from _tokens(item, depth)
            yield "]"
        case str():
            text = json.dumps(value, ensure_ascii=False)
            yield text.encode("utf-8", "replace").decode()
        case _:
            yield json.dumps(value)


def type_name(value: Any) -> str:
    """The name of a value's JSON type in TensorFlow Serving's messages."""
    match value:
        case None:
            return "Null"
        case bool():
            return str(value)
        case int() | float():
            return "Number"
        case str():
            return "String"
        case list():
            return "Array"
        case _:
            return "Object"
