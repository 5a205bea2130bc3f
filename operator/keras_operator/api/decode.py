"""From JSON to types, with a sentence for whoever wrote something that cannot be used."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from .kerasmodel import KerasModelSpec
from .rules import broken, without_none
from .version import KerasModelVersionSpec

_Spec = TypeVar("_Spec", KerasModelSpec, KerasModelVersionSpec)


class ApiError(ValueError):
    """An object that cannot be used; the message names the field, what was found and what to write instead."""


def decode_model(spec: Mapping[str, Any]) -> KerasModelSpec:
    """The `spec` of a KerasModel.

    Raises ApiError with what the API server would refuse, for where it did not: in a local run there is none, and the
    installed CRD may be of another release.
    """
    return _decode(spec, KerasModelSpec)


def decode_version(spec: Mapping[str, Any]) -> KerasModelVersionSpec:
    """The `spec` of a KerasModelVersion. Raises ApiError as `decode_model` does."""
    return _decode(spec, KerasModelVersionSpec)


def _decode(spec: Mapping[str, Any], kind: type[_Spec]) -> _Spec:
    try:
        decoded = msgspec.convert(spec, kind)
    except msgspec.ValidationError as error:
        raise ApiError(_sentence(str(error), kind)) from error
    found = [f"{path}: {rule.message}" for path, rule in broken(decoded, _type(kind), "spec")]
    if found:
        raise ApiError("; ".join(found))
    return decoded


@cache
def _type(kind: type[msgspec.Struct]) -> inspect.Type:
    return inspect.type_info(kind)


def _sentence(error: str, kind: type[msgspec.Struct]) -> str:
    """msgspec says ``what - at `$.training.epochs` ``; people look for the field first, then for what to write."""
    what, _, where = error.partition(" - at ")
    path = where.strip("`").removeprefix("$")
    at = _at(path, _type(kind))
    if isinstance(at, inspect.EnumType):
        what += f": supported are {', '.join(str(value) for value in at.cls)}"
    elif isinstance(at, inspect.StructType) and "unknown field" in what:
        what += f": known are {', '.join(field.encode_name for field in at.fields)}"
    # What may be left out is spelt `| null` by msgspec, which is not what one writes in YAML.
    return f"spec{path}: {what[0].lower()}{what[1:]}".replace(" | null`", "`")


def _at(path: str, kind: inspect.Type) -> inspect.Type:
    """The type that stands at a path such as `.evaluation.gates[0].metric`."""
    for step in re.findall(r"\w+", path):
        kind = _bare(kind)
        if isinstance(kind, inspect.StructType):
            kind = next(field.type for field in kind.fields if field.encode_name == step)
        elif isinstance(kind, inspect.VarTupleType):
            kind = kind.item_type
    return _bare(kind)


def _bare(kind: inspect.Type) -> inspect.Type:
    """The type without its annotations."""
    kind = without_none(kind)
    return _bare(kind.type) if isinstance(kind, inspect.Metadata) else kind
