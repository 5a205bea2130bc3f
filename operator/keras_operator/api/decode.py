"""From JSON to types, with a sentence for whoever wrote something that cannot be used."""

from collections.abc import Mapping
from typing import Any

import msgspec

from .kerasmodel import KerasModelSpec


class ApiError(ValueError):
    """An object that cannot be used; the message names the field, what was found and what to write instead."""


def decode_model(spec: Mapping[str, Any]) -> KerasModelSpec:
    """The `spec` of a KerasModel. Raises ApiError for whatever the API server's own validation let through."""
    try:
        return msgspec.convert(spec, KerasModelSpec)
    except msgspec.ValidationError as error:
        raise ApiError(str(error)) from error
