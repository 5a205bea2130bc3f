"""What a CRD no longer takes that its predecessor took: additive change is the rule, for there is no conversion.

An object that was valid stays valid, means the same, and loses nothing. What loosens is let through: a new optional
field, a wider bound, one more word of an enumeration, a rule that is gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

_LOWER_BOUNDS = ("minimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS = ("maximum", "maxLength", "maxItems", "maxProperties")
_MUST_STAY = ("type", "format", "pattern", "nullable", "default")
_KUBERNETES = tuple(f"x-kubernetes-{name}" for name in ("int-or-string", "list-type", "list-map-keys", "map-type"))


def narrowed(old: Schema, new: Schema) -> list[str]:
    """A sentence for each thing in which CRD `new` is narrower than CRD `old`, or different."""
    return list(_narrowed(old["spec"], new["spec"]))


def _narrowed(old: Schema, new: Schema) -> Iterator[str]:
    for part in ("group", "scope"):
        if old[part] != new[part]:
            yield f"{part} changed from {old[part]} to {new[part]}"
    for part in ("kind", "plural", "singular"):
        if old["names"][part] != new["names"][part]:
            yield f"names.{part} changed from {old['names'][part]} to {new['names'][part]}"
    for part in ("shortNames", "categories"):
        for gone in set(old["names"].get(part, ())) - set(new["names"].get(part, ())):
            yield f"names.{part} lost {gone}"
    versions = {version["name"]: version for version in new["versions"]}
    for version in old["versions"]:
        if version["name"] not in versions or not versions[version["name"]]["served"]:
            yield f"version {version['name']} is not served any more"
        else:
            yield from _version(version, versions[version["name"]])


def _version(old: Schema, new: Schema) -> Iterator[str]:
    for name, paths in old.get("subresources", {}).items():
        if new.get("subresources", {}).get(name) != paths:
            yield f"subresource {name} changed"
    for gone in [path for path in old.get("selectableFields", ()) if path not in new.get("selectableFields", ())]:
        yield f"{gone['jsonPath']} cannot be selected by any more"
    columns = {column["name"] for column in new.get("additionalPrinterColumns", ())}
    for column in old.get("additionalPrinterColumns", ()):
        if column["name"] not in columns:
            yield f"column {column['name']} is gone"
    yield from _schema(old["schema"]["openAPIV3Schema"], new["schema"]["openAPIV3Schema"], "")


def _schema(old: Schema, new: Schema, path: str) -> Iterator[str]:
    where = path or "the object"
    for word in (*_MUST_STAY, *_KUBERNETES):
        if old.get(word) != new.get(word):
            yield f"{where}: {word} changed from {old.get(word)} to {new.get(word)}"
    yield from _bounds(old, new, where)
    if "enum" in new:
        lost = [value for value in old.get("enum", ["any value"]) if value not in new["enum"]]
        yield from (f"{where}: {value} is refused" for value in lost)
    yield from (
        f"{where}: {name} is required" for name in new.get("required", ()) if name not in old.get("required", ())
    )
    yield from _rules(old, new, where)
    for name, inner in old.get("properties", {}).items():
        if name in new.get("properties", {}):
            yield from _schema(inner, new["properties"][name], f"{path}.{name}")
        else:
            yield f"{path}.{name} is gone"
    for word, sign in (("items", "[]"), ("additionalProperties", "{}")):
        if word in old and word in new:
            yield from _schema(old[word], new[word], path + sign)
        elif word in old or word in new:
            yield f"{where}: {word} came or went"


def _bounds(old: Schema, new: Schema, where: str) -> Iterator[str]:
    for word in _LOWER_BOUNDS:
        if word in new and new[word] > old.get(word, float("-inf")):
            yield f"{where}: {word} rose from {old.get(word)} to {new[word]}"
    for word in _UPPER_BOUNDS:
        if word in new and new[word] < old.get(word, float("inf")):
            yield f"{where}: {word} fell from {old.get(word)} to {new[word]}"
    for word in ("exclusiveMinimum", "exclusiveMaximum"):
        if new.get(word) and not old.get(word):
            yield f"{where}: {word} is new"


def _rules(old: Schema, new: Schema, where: str) -> Iterator[str]:
    """A new rule about what was there may refuse what was right; one about a field that is new with it cannot."""
    known = {rule["rule"] for rule in old.get("x-kubernetes-validations", ())}
    fresh = set(_paths(new)) - set(_paths(old))
    for rule in new.get("x-kubernetes-validations", ()):
        guards = re.match(r"(?:!has\(self\.[\w.]+\) \|\| )*", rule["rule"])
        guarded = guards is not None and not fresh.isdisjoint(re.findall(r"self\.([\w.]+)", guards[0]))
        if rule["rule"] not in known and not guarded:
            yield f"{where}: there is a new rule: {rule['rule']}"


def _paths(schema: Schema, path: str = "") -> Iterator[str]:
    """Every field below an object, such as `training.data.uri`."""
    for name, inner in schema.get("properties", {}).items():
        yield path + name
        yield from _paths(inner, f"{path}{name}.")
