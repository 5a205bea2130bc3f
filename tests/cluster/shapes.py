"""Which objects are alike for the API server: those that differ only in text that it does not judge."""

from __future__ import annotations

import itertools
import json
from typing import Any

# The API server does not look into these, or (addresses) a model's has passed the same rules before.
_FREE_TEXT = {"args", "command", "annotations", "reason", "uid", "uri", "endpoint"}
# How much of a text's spelling is compared, in runs of one class of characters.
_RUNS = 12


def shape(manifest: dict[str, Any]) -> str:
    """The same text for two objects whose fields are the same and whose values are of the same kind and spelling."""
    return json.dumps(_shape(manifest, ""), sort_keys=True)


def _shape(value: Any, field: str) -> Any:
    if field in _FREE_TEXT:
        return type(value).__name__
    match value:
        case dict():
            free = "name" in value and "value" in value
            return {key: "text" if free and key == "value" else _shape(inner, key) for key, inner in value.items()}
        case list():
            return [_shape(inner, field) for inner in value]
        case bool():
            return value
        case int() | float():
            return f"{type(value).__name__} of {len(str(abs(int(value))))} digits"
        case str():
            return "".join(kind for kind, _ in itertools.islice(itertools.groupby(value, _kind), _RUNS))
    return value


def _kind(character: str) -> str:
    if character.isascii() and character.isalpha():
        return "a" if character.islower() else "A"
    return "0" if character.isdigit() else character if character.isascii() else "ü"
