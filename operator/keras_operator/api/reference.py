"""From the kinds to `docs/api.md`."""

import json
from collections.abc import Iterator

import msgspec
from msgspec import inspect

from .kinds import API_VERSION, KINDS, Kind
from .rules import Rule, rules_of_class, rules_of_type, without_none
from .schema import Schema, schema_of

_HEAD = f"""\
<!-- Written by `python -m keras_operator.api.generate` from the types in operator/keras_operator/api. -->
# API reference

Group and version: `{API_VERSION}`. People write `KerasModel`; the operator writes `KerasModelVersion`.
`kubectl explain kerasmodel.spec --recursive` shows the same in a terminal. What is not listed here is refused, never
ignored.
"""


def reference() -> str:
    """The whole document, as Markdown."""
    return "\n".join([_HEAD, *(line for kind in KINDS for line in _kind(kind))])


def _kind(kind: Kind) -> Iterator[str]:
    yield f"## {kind.name}\n"
    yield f"{kind.description}\n"
    yield f"Short names: {', '.join(f'`{name}`' for name in kind.short_names)}."
    if kind.scale is not None:
        yield f"`kubectl scale` sets `{kind.scale.wanted.lstrip('.')}`."
    yield ""
    yield from _rules(kind.rules)
    yield from _struct(kind.spec, "spec")
    yield from _struct(kind.status, "status")
    yield f"### {kind.name} columns of `kubectl get`\n"
    yield "| column | from | what it says |\n|---|---|---|"
    for column in kind.columns:
        wide = " (with `-o wide`)" if column.wide else ""
        yield f"| {column.name.upper()}{wide} | `{_cell(column.path.lstrip('.'))}` | {column.description} |"
    yield ""


def _struct(cls: type[msgspec.Struct], path: str) -> Iterator[str]:
    """A table of the struct's fields, then the same for every struct in it, in their order."""
    struct = inspect.type_info(cls)
    assert isinstance(struct, inspect.StructType)
    yield f"### `{path}`\n"
    yield f"{(cls.__doc__ or '').strip()}\n"
    yield "| field | type | default | meaning |\n|---|---|---|---|"
    inner: list[tuple[type[msgspec.Struct], str]] = []
    written = schema_of(struct)["properties"]
    for field in struct.fields:
        schema = schema_of(field.type)
        default = "**required**" if field.required else _default(written[field.encode_name])
        rules = "".join(f"<br>Rule: {_sentence(rule)}" for rule in rules_of_type(without_none(field.type)))
        meaning = _cell(schema["description"] + rules)
        yield f"| `{field.encode_name}` | {_type(schema)} | {default} | {meaning} |"
        inner += [(found, f"{path}.{field.encode_name}{brackets}") for found, brackets in _structs_in(field.type)]
    yield ""
    yield from _rules(rules_of_class(cls))
    for found, below in inner:
        yield from _struct(found, below)


def _structs_in(kind: inspect.Type, brackets: str = "") -> Iterator[tuple[type[msgspec.Struct], str]]:
    match without_none(kind):
        case inspect.Metadata(type=annotated):
            yield from _structs_in(annotated, brackets)
        case inspect.StructType(cls=cls):
            yield cls, brackets
        case inspect.VarTupleType(item_type=item):
            yield from _structs_in(item, brackets + "[]")


def _rules(rules: tuple[Rule, ...]) -> Iterator[str]:
    if rules:
        yield "Rules:\n"
        for rule in rules:
            blamed = f"`{rule.field.lstrip('.')}` " if rule.field else ""
            yield f"* {blamed}{_sentence(rule)}"
        yield ""


def _sentence(rule: Rule) -> str:
    return rule.message.replace("<", "&lt;") + "."


def _default(schema: Schema) -> str:
    default = schema.get("default", {})
    return "" if default == {} else f"`{json.dumps(default, ensure_ascii=False)}`"


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return " \\| ".join(f"`{value}`" for value in schema["enum"])
    if "x-kubernetes-int-or-string" in schema:
        return "integer or string"
    if "x-kubernetes-preserve-unknown-fields" in schema:
        return "any value"
    if "additionalProperties" in schema:
        return f"map of {_type(schema['additionalProperties'])}"
    if "items" in schema:
        return f"list of {_type(schema['items'])}"
    return str(schema["type"]) + _limits(schema)


def _limits(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above = ">" if schema.get("exclusiveMinimum") else "≥"
    below = "<" if schema.get("exclusiveMaximum") else "≤"
    parts = [f"{above} {low}" if low is not None else "", f"{below} {high}" if high is not None else ""]
    return "".join(f", {part}" for part in parts if part)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
