"""`tf.Example` messages: what classify and regress requests carry, in JSON and in protos.

An example is handed on in its serialized form, because that is what the model's graph parses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from model_server.runtime.errors import ServingError, invalid
from model_server.runtime.json_values import decode_base64, is_base64, parse_json, show, type_name
from model_server.runtime.protobufs import Example, Feature

_FLOAT_MAX = float(np.finfo(np.float32).max)
_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


class ExampleRequest(NamedTuple):
    """A classify or regress request: the signature's name ("" for the default) and the serialized examples."""

    signature_name: str
    examples: list[bytes]


def parse_examples(body: bytes) -> ExampleRequest:
    """Read the JSON body of a classify or regress request. Raises ServingError in TensorFlow Serving's words."""
    document = parse_json(body)
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {show(document)} Is not object")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {show(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    context = _example(document["context"]) if "context" in document else b""
    if "examples" not in document:
        raise invalid(
            f"JSON Value: {show(document)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise invalid(f"JSON Value: {show(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid(f"JSON Value: {show(document)} 'examples' value is an empty array")
    return ExampleRequest(name, [context + _example(example) for example in examples])


def serialized_examples(message: Any) -> list[bytes]:
    """The examples of an `Input` message. Raises ServingError when there is none."""
    context, examples = b"", []
    match message.WhichOneof("kind"):
        case "example_list":
            examples = message.example_list.examples
        case "example_list_with_context":
            context = message.example_list_with_context.context.SerializeToString()
            examples = message.example_list_with_context.examples
    if not examples:
        raise invalid("Input is empty.")
    # Serialized messages one behind the other read as one, in which a feature of the later one takes the place of the
    # earlier one's: an example's own features go before those of the context.
    return [context + example.SerializeToString() for example in examples]


def _example(value: Any) -> bytes:
    if not isinstance(value, Mapping):
        raise invalid(f"Example must be JSON object but got JSON {type_name(value)}")
    message = Example()
    for name, content in value.items():
        # A copy into the map also when there is no value: an empty list is a feature without a kind.
        message.features.feature[_text(name)].CopyFrom(_feature(name, content))
    serialized: bytes = message.SerializeToString()
    return serialized


def _feature(name: str, content: Any) -> Any:
    feature = Feature()
    for value in content if isinstance(content, list) else [content]:
        kind, element = _element(name, value)
        found = feature.WhichOneof("kind")
        if found not in {None, kind}:
            raise invalid(f"Unexpected element type in feature: {name} expecting type: {_KINDS[found]}")
        getattr(feature, kind).value.append(element)
    return feature


def _element(name: str, value: Any) -> tuple[str, Any]:
    match value:
        case bool():
            return "int64_list", int(value)
        case str():
            return "bytes_list", value.encode("utf-8", "surrogateescape")
        case int() if -(2**63) <= value < 2**63:
            return "int64_list", value
        case int() if 2**63 <= value < 2**64:
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
        case int() | float():
            return "float_list", _float(value)
        case dict() if is_base64(value):
            decoded = decode_base64(value["b64"])
            if decoded is None:
                raise invalid("Unable to base64 decode")
            return "bytes_list", decoded
    raise _wrong_type(name, value)


def _float(value: float) -> float:
    # JSON integers past 64 bits are decimals to TensorFlow Serving, and may be too large for any float.
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isfinite(number) and abs(number) <= _FLOAT_MAX:
        return number
    if isinstance(value, float) and not math.isfinite(value):
        return value
    raise invalid(f"Cannot convert JSON value: {show(value)} to float without loss of precision.")


def _wrong_type(name: str, value: Any) -> ServingError:
    return invalid(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")


def _text(name: str) -> str:
    """A feature's name, which a proto only takes as UTF-8. Raises ServingError."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise invalid(f"Feature: {show(name)} has a name that is not UTF-8") from error
    return name
