"""Whether a live object still says what was applied.

The API server adds defaults, other controllers add labels and containers, quantities come back in another spelling:
none of that is drift. A field that was applied and now differs is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from keras_operator.api import parse_quantity

# How list items are told apart in Kubernetes' own schemas; the first key that all wanted items have is used. An
# autoscaler's metrics and policies have none: such a list is one value.
_LIST_KEYS = ("name", "uid", "containerPort", "port", "mountPath", "topologyKey")
# Where quantities stand. The target of an autoscaler's metric has words beside them.
_HOLD_QUANTITIES = ("requests", "limits", "target")


def drifted(wanted: Mapping[str, Any], live: bytes) -> bool:
    """Whether `live` (an object's canonical JSON, as projections hold it) lacks or contradicts anything of `wanted`."""
    content = {name: value for name, value in wanted.items() if name not in ("apiVersion", "kind")}
    return not _covers(msgspec.json.decode(live), content, quantities=False)


def _covers(live: Any, wanted: Any, *, quantities: bool) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            key in live and _covers(live[key], value, quantities=quantities or key in _HOLD_QUANTITIES)
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(live, list) and _covers_list(live, wanted, quantities=quantities)
    if quantities and isinstance(wanted, str | int) and isinstance(live, str | int):
        return live == wanted or _same_quantity(live, wanted)
    return type(live) is type(wanted) and bool(live == wanted)


def _covers_list(live: Sequence[Any], wanted: Sequence[Any], *, quantities: bool) -> bool:
    key = next((k for k in _LIST_KEYS if wanted and all(isinstance(i, Mapping) and k in i for i in wanted)), None)
    if key is None:
        return len(live) == len(wanted) and all(
            _covers(one, other, quantities=quantities) for one, other in zip(live, wanted, strict=True)
        )
    found = {item.get(key): item for item in live if isinstance(item, Mapping)}
    return all(item[key] in found and _covers(found[item[key]], item, quantities=quantities) for item in wanted)


def _same_quantity(one: str | int, other: str | int) -> bool:
    try:
        return parse_quantity(one) == parse_quantity(other)
    except ValueError:
        return False
