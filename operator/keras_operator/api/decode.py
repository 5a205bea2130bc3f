"""From JSON to types, with a sentence for whoever wrote something that cannot be used."""

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from .kerasmodel import KerasModelSpec
from .rules import broken
from .version import KerasModelVersionSpec

_Spec = TypeVar("_Spec", KerasModelSpec, KerasModelVersionSpec)


class ApiError(ValueError):
    """An object that cannot be used; the message names the field, what was found and what to write instead."""


def decode_model(spec: Mapping[str, Any]) -> KerasModelSpec:
    """The `spec` of a KerasModel.

    Raises ApiError with everything that the API server would refuse, where there was none to do so: in a local run, or
    where the installed CRD is of another release.
    """
    return _decode(spec, KerasModelSpec)


def decode_version(spec: Mapping[str, Any]) -> KerasModelVersionSpec:
    """The `spec` of a KerasModelVersion. Raises ApiError as `decode_model` does."""
    return _decode(spec, KerasModelVersionSpec)


def _decode(spec: Mapping[str, Any], kind: type[_Spec]) -> _Spec:
    try:
        decoded = msgspec.convert(spec, kind)
    except msgspec.ValidationError as error:
        raise ApiError(_sentence(error)) from error
    found = [f"{path}: {rule.message}" for path, rule in broken(decoded, _type(kind), "spec")]
    if found:
        raise ApiError("; ".join(found))
    return decoded


@cache
def _type(kind: type[msgspec.Struct]) -> inspect.Type:
    return inspect.type_info(kind)


def _sentence(error: msgspec.ValidationError) -> str:
    """msgspec puts the field last, as `… - at `$.training.epochs``; people look for it first."""
    what, _, where = str(error).partition(" - at ")
    path = where.strip("`").removeprefix("$")
    return f"spec{path}: {what[0].lower()}{what[1:]}"
