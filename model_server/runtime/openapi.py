"""The OpenAPI description at `/openapi.json`, made from the signatures of the models that answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from model_server.runtime.dtypes import DataType
from model_server.runtime.images import picture_signature
from model_server.runtime.json_codec import dump
from model_server.runtime.json_mistakes import JSON_TYPES
from model_server.runtime.npy import MEDIA_TYPE as NPY
from model_server.runtime.savedmodel import DEFAULT_SIGNATURE, Signature, TensorSpec
from model_server.runtime.servable import Servable

_ERROR = {
    "description": "What was wrong, in one sentence; the status says whose mistake it is.",
    "content": {
        "application/json": {
            "schema": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
        }
    },
}
_BYTES = {"type": "object", "required": ["b64"], "properties": {"b64": {"type": "string"}}}
_BINARY = {"type": "string", "format": "binary"}


def describe(models: Iterable[tuple[str, Servable]], version: str) -> bytes:
    """The document for these models; signatures whose tensors JSON cannot carry are left out."""
    paths: dict[str, Any] = {}
    for name, servable in sorted(models, key=lambda model: model[0]):
        path = f"/v1/models/{quote(name, safe='')}"
        paths[path] = {"get": _operation(f"Which versions of {name} there are, and their states", {"type": "object"})}
        paths[f"{path}/metadata"] = {"get": _operation(f"The signatures of {name}", {"type": "object"})}
        signatures = [s for s in servable.interface.signatures.values() if _carried(s)]
        if signatures:
            operation = _operation(f"Predict with {name}", {"oneOf": [_answer(s) for s in signatures]})
            operation["requestBody"] = {"required": True, "content": _bodies(signatures, servable)}
            if any(_one_array(s.outputs) for s in signatures):
                operation["responses"]["200"]["content"][NPY] = {"schema": _BINARY}
            paths[f"{path}:predict"] = {"post": operation}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Models on this server", "version": version},
        "paths": paths,
    }
    return dump(document, finite=True)


def _operation(summary: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    good = {"description": "The answer.", "content": {"application/json": {"schema": answer}}}
    return {"summary": summary, "responses": {"200": good, "default": _ERROR}}


def _carried(signature: Signature) -> bool:
    tensors = [*signature.inputs.values(), *signature.outputs.values()]
    return bool(signature.inputs) and all(spec.dtype in JSON_TYPES for spec in tensors)


def _one_array(tensors: Mapping[str, TensorSpec]) -> bool:
    """Whether a `.npy` file can hold them."""
    return len(tensors) == 1 and all(spec.dtype is not DataType.STRING for spec in tensors.values())


def _bodies(signatures: Sequence[Signature], servable: Servable) -> dict[str, Any]:
    bodies: dict[str, Any] = {"application/json": {"schema": {"oneOf": [_request(s) for s in signatures]}}}
    if any(s.name == DEFAULT_SIGNATURE and _one_array(s.inputs) for s in signatures):
        bodies[NPY] = {"schema": _BINARY}
    if picture_signature(servable.interface) is not None:
        form = {
            "type": "object",
            "required": ["image"],
            "properties": {"image": {"type": "array", "items": _BINARY}},
        }
        bodies |= {kind: {"schema": _BINARY} for kind in ("image/jpeg", "image/png")}
        bodies["multipart/form-data"] = {"schema": form}
    return bodies


def _request(signature: Signature) -> dict[str, Any]:
    default = signature.name == DEFAULT_SIGNATURE
    properties: dict[str, Any] = {"signature_name": {"const": signature.name}}
    forms = [{"required": ["inputs"]}]
    if _batched(signature.inputs):
        rows = {name: _nested(spec, 1) for name, spec in signature.inputs.items()}
        row = _named(rows) if len(rows) > 1 else {"anyOf": [_named(rows), *rows.values()]}
        properties["instances"] = {"type": "array", "items": row, "minItems": 1}
        forms.append({"required": ["instances"]})
    columns = {name: _nested(spec, 0) for name, spec in signature.inputs.items()}
    properties["inputs"] = _named(columns) if len(columns) > 1 else {"anyOf": [_named(columns), *columns.values()]}
    return {
        "title": signature.name,
        "type": "object",
        "required": [] if default else ["signature_name"],
        "properties": properties,
        "oneOf": forms,
    }


def _answer(signature: Signature) -> dict[str, Any]:
    columns = {name: _nested(spec, 0) for name, spec in signature.outputs.items()}
    outputs = _named(columns) if len(columns) > 1 else next(iter(columns.values()))
    forms = [{"type": "object", "required": ["outputs"], "properties": {"outputs": outputs}}]
    if _batched(signature.inputs) and _batched(signature.outputs):
        rows = {name: _nested(spec, 1) for name, spec in signature.outputs.items()}
        row = _named(rows) if len(rows) > 1 else next(iter(rows.values()))
        predictions = {"type": "array", "items": row}
        forms.append({"type": "object", "required": ["predictions"], "properties": {"predictions": predictions}})
    return {"title": signature.name, "oneOf": forms}


def _batched(tensors: Mapping[str, TensorSpec]) -> bool:
    return all(spec.shape is None or len(spec.shape) > 0 for spec in tensors.values())


def _named(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": dict(properties)}


def _nested(spec: TensorSpec, skip: int) -> dict[str, Any]:
    """The schema of a tensor without its first `skip` dimensions; anything where the rank is unknown."""
    if spec.shape is None:
        return {}
    schema = _element(spec)
    for size in reversed(spec.shape[skip:]):
        schema = {"type": "array", "items": schema}
        if size is not None:
            schema |= {"minItems": size, "maxItems": size}
    return schema


def _element(spec: TensorSpec) -> dict[str, Any]:
    element = spec.dtype.numpy
    if spec.dtype is DataType.STRING or element is None:
        return {"anyOf": [{"type": "string"}, _BYTES]}
    if spec.dtype is DataType.BOOL:
        return {"type": "boolean"}
    if spec.dtype is DataType.BFLOAT16 or element.kind == "f":
        return {"type": "number"}
    limits = np.iinfo(element.name)
    return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}
