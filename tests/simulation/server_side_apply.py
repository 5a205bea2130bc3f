"""Server-side apply, as far as this operator depends on it: merging, and who had set what.

Left out: lists are merged by `name` where every item has one, and replaced otherwise; managedFields say of a
Deployment's fields only who set `replicas`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

Body = dict[str, Any]


def merged(live: Body | None, before: Body, wanted: Body, others: Sequence[Body]) -> Body:
    """The object after an apply.

    Args:
        live: as it is; None where it is made by this.
        before: what this manager applied last.
        wanted: what it applies now.
        others: what other managers applied last.
    """
    result = copy.deepcopy(live) if live else {}
    _take_back(result, before, wanted, others)
    _merge_into(result, wanted, before)
    return result


def managed_fields(applied: Mapping[str, Body]) -> list[Body]:
    """What `metadata.managedFields` says of each manager's last apply."""
    return [
        {
            "manager": manager,
            "operation": "Apply",
            "fieldsV1": {"f:spec": {"f:replicas": {}} if "replicas" in manifest.get("spec", {}) else {}},
        }
        for manager, manifest in applied.items()
    ]


def _take_back(live: Body, before: Body, wanted: Body, others: Sequence[Body]) -> None:
    """Remove the fields that a manager had set, sets no longer, and that nobody else has set."""
    for name, old in before.items():
        theirs = [other[name] for other in others if name in other]
        if name not in wanted:
            if not theirs:
                live.pop(name, None)
        elif isinstance(old, dict) and isinstance(wanted[name], dict) and isinstance(live.get(name), dict):
            _take_back(live[name], old, wanted[name], [their for their in theirs if isinstance(their, dict)])


def _merge_into(live: Body, wanted: Body, before: Body) -> None:
    for name, value in wanted.items():
        if isinstance(value, dict) and isinstance(live.get(name), dict):
            _merge_into(live[name], value, before.get(name) or {})
        elif _is_named(value) and _is_named(live.get(name)):
            live[name] = _merged_list(live[name], value, before.get(name) or [])
        else:
            live[name] = copy.deepcopy(value)


def _is_named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and "name" in one for one in value)


def _merged_list(live: list[Body], wanted: list[Body], before: list[Body]) -> list[Body]:
    ours = {one["name"] for one in before}
    known = {one["name"]: one for one in live}
    items = []
    for item in wanted:
        old = next((one for one in before if one.get("name") == item["name"]), {})
        target = copy.deepcopy(known.get(item["name"], {}))
        _take_back(target, old, item, [])
        _merge_into(target, item, old)
        items.append(target)
    named = {one["name"] for one in wanted}
    return items + [one for one in live if one["name"] not in named | ours]
