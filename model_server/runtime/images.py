"""Pictures as they are: a JPEG or PNG as a body, or fields `image` of a web form, and named classes back."""

from __future__ import annotations

import dataclasses
import email.message
import email.parser
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_server.runtime.dtypes import Array, DataType
from model_server.runtime.errors import ServingError, invalid
from model_server.runtime.json_codec import Form, dump, encode_outputs
from model_server.runtime.savedmodel import ModelInterface, Signature

_PREFERRED = "serving_bytes"
_FIELD = "image"
_FORM = "multipart/form-data"
_MAX_PARTS = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Pictures:
    """The files of one request, none of them looked into."""

    files: Sequence[bytes]

    def tensor(self, signature: Signature) -> dict[str, tuple[Array, DataType]]:
        """The input of a signature that takes files."""
        array: Array = np.empty(len(self.files), np.object_)
        array[:] = self.files
        return {next(iter(signature.inputs)): (array, DataType.STRING)}


def read_pictures(content_type: str, body: bytes) -> Pictures | None:
    """The pictures of a body; None when its Content-Type is neither `image/…` nor a web form. Raises ServingError."""
    kind, _, _ = content_type.partition(";")
    kind = kind.strip().lower()
    if kind.startswith("image/"):
        if not body:
            raise invalid(f"the body is empty, although its Content-Type is {kind}: send the picture's bytes")
        return Pictures([body])
    if kind != _FORM:
        return None
    files = [content for name, content in _parts(content_type, body) if name == _FIELD]
    if not files:
        raise invalid(f"the form has no field {_FIELD!r}: send each picture as a file in a field of that name")
    if not all(files):
        raise invalid(f"a field {_FIELD!r} of the form is empty: choose a file")
    return Pictures(files)


def _parts(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """The fields of a multipart/form-data body (RFC 7578): name and content. Raises ServingError."""
    message = email.message.Message()
    message["Content-Type"] = content_type
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str) or not 0 < len(boundary) <= 70:
        raise invalid(f"the Content-Type {_FORM} has no boundary (of 1 to 70 characters)")
    # The first delimiter may stand at the body's very begin; a line break before the others belongs to them.
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    pieces = (b"\r\n" + body).split(delimiter, _MAX_PARTS + 2)
    if len(pieces) > _MAX_PARTS + 2:
        raise invalid(f"the form has more than {_MAX_PARTS} fields")
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise invalid("the form is cut short: its last boundary is missing")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> tuple[str, bytes]:
    head, separator, content = piece.partition(b"\r\n\r\n")
    if not separator:
        raise invalid("a part of the form has no end of its headers")
    headers = email.parser.BytesHeaderParser().parsebytes(head.lstrip(b" \t\r\n"))
    name = headers.get_param("name", header="content-disposition")
    return (name if isinstance(name, str) else "", content)


def takes_pictures(signature: Signature) -> bool:
    """Whether a signature's only input is a vector of strings and no serialized examples."""
    if len(signature.inputs) != 1 or "classes" in signature.outputs:
        return False
    (spec,) = signature.inputs.values()
    return spec.dtype is DataType.STRING and spec.shape == (None,)


def picture_signature(interface: ModelInterface) -> Signature | None:
    """The signature for pictures: `serving_bytes`, or the only one that takes them."""
    found = {name: signature for name, signature in interface.signatures.items() if takes_pictures(signature)}
    only = next(iter(found.values())) if len(found) == 1 else None
    return found.get(_PREFERRED, only)


def need_picture_signature(interface: ModelInterface) -> Signature:
    """The signature for pictures. Raises ServingError."""
    signature = picture_signature(interface)
    if signature is None:
        raise invalid(
            "this model does not take pictures: it needs a signature 'serving_bytes', or just one, whose only input is "
            "a vector of strings; send JSON instead"
        )
    return signature


def read_class_names(directory: Path) -> tuple[str, ...] | None:
    """The names in `assets.extra/classes.json` of a servable, in the order of its probabilities; None without any."""
    try:
        names = json.loads((directory / "assets.extra" / "classes.json").read_bytes())
    except (OSError, ValueError):
        return None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def encode_classes(outputs: Mapping[str, Array], names: Sequence[str] | None) -> bytes:
    """The answer: for each picture its likeliest class, and every class with its probability, the likeliest first.

    Classes without names are numbered. What is no vector of numbers for each picture is written as for JSON requests.
    Raises ServingError.
    """
    array = next(iter(outputs.values()))
    if len(outputs) != 1 or array.ndim != 2 or array.dtype.kind != "f" or not array.shape[1]:
        return encode_outputs(outputs, Form.ROW)
    labels = names if names is not None and len(names) == array.shape[1] else [str(i) for i in range(array.shape[1])]
    predictions: list[dict[str, Any]] = []
    for row in array:
        order = np.argsort(-row, kind="stable")
        ranked = [{"class": labels[i], "probability": row[i]} for i in order.tolist()]
        predictions.append({**ranked[0], "classes": ranked})
    return dump({"predictions": predictions}, finite=bool(np.isfinite(array).all()))


__all__ = [
    "Pictures",
    "ServingError",
    "encode_classes",
    "need_picture_signature",
    "picture_signature",
    "read_class_names",
    "read_pictures",
    "takes_pictures",
]
