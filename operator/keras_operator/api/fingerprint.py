"""Fingerprints: of what a version is made from, which decides whether a new one is due, and of the way to a store."""

import hashlib
import json
from typing import Any

import msgspec

from .cache import Cache
from .data import Data
from .kerasmodel import KerasModelSpec
from .resources import Resources, parse_quantity
from .store import Store
from .training import Training
from .version import KerasModelVersionSpec


def _written(value: Any) -> Any:
    """JSON of a struct without the fields that hold their defaults.

    Leaving defaults out keeps the fingerprint of every existing model when a release adds a field.
    """
    if isinstance(value, Resources):
        return {name: _amounts(part) for name, part in (("requests", value.requests), ("limits", value.limits)) if part}
    if isinstance(value, Training) and value.loss is value.default_loss:
        value = msgspec.structs.replace(value, loss=None)
    if isinstance(value, Data):
        # Where data is kept says nothing of what is learned from it.
        value = msgspec.structs.replace(value, cache=None)
    if isinstance(value, msgspec.Struct):
        fields = [(field, getattr(value, field.name)) for field in msgspec.structs.fields(value)]
        return {field.encode_name: _written(now) for field, now in fields if now != _default(field)}
    return msgspec.to_builtins(value)


def _amounts(quantities: dict[str, int | str]) -> dict[str, str]:
    """Quantities in one spelling, so that 2, "2" and 2000m are the same: tools rewrite them."""
    return {name: f"{parse_quantity(quantity).normalize():f}" for name, quantity in quantities.items()}


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default


def inputs_hash(spec: KerasModelSpec | KerasModelVersionSpec) -> str:
    """16 hexadecimal digits that are the same for the same `training` or `source`, however it was written."""
    inputs = {
        name: _written(part)
        for name, part in (("training", spec.training), ("source", spec.source))
        if part is not None
    }
    return _digest(inputs)


def store_digest(store: Store, cache: Cache | None = None) -> str:
    """16 hexadecimal digits that are the same for a store that is reached in the same way, past the same cache."""
    return _digest(_written(store) if cache is None else {"store": _written(store), "cache": _written(cache)})


def _digest(written: Any) -> str:
    canonical = json.dumps(written, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
