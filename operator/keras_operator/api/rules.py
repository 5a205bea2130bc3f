"""Rules that a type alone cannot say: once in CEL for the API server, once in Python for everything else."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect


@dataclass(frozen=True)
class Rule:
    """One rule about a value, with the sentence for whoever breaks it.

    `cel` sees the JSON value as `self`; `holds` sees the decoded value. `holds` is None where only the API server can
    know: a rule about a change, or about `metadata`. The sentence says what to write instead; the field is put before
    it by the API server, or by `ApiError`. `field` is the path, below the ruled value, of the field to blame. `says` is
    the sentence as a CEL expression, where it should name what was found.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool] | None = None
    field: str = ""
    says: str = ""

    def schema(self) -> dict[str, str]:
        """The entry of `x-kubernetes-validations`."""
        entry = {"rule": self.cel, "message": self.message}
        entry |= {"messageExpression": self.says} if self.says else {}
        return entry | ({"fieldPath": self.field} if self.field else {})


def fully_matches(pattern: str, message: str) -> Rule:
    """The whole string matches `pattern`, a regular expression without quotes that RE2 and Python read alike."""
    wanted = re.compile(pattern, re.ASCII)
    return Rule(f"self.matches(r'^(?:{pattern})$')", message, lambda value: wanted.fullmatch(value) is not None)


def ruled(*rules: Rule) -> dict[str, tuple[Rule, ...]]:
    """The `extra` of a `msgspec.Meta`: rules about the field that it annotates."""
    return {"rules": rules}


def rules_of_type(kind: inspect.Type) -> tuple[Rule, ...]:
    """The rules that stand in a field's annotation."""
    if isinstance(kind, inspect.Metadata):
        return (*(kind.extra or {}).get("rules", ()), *rules_of_type(kind.type))
    return ()


def rules_of_class(cls: type[msgspec.Struct]) -> tuple[Rule, ...]:
    """The rules about a struct's fields together: its `RULES`."""
    rules: tuple[Rule, ...] = getattr(cls, "RULES", ())
    return rules


def without_none(kind: inspect.Type) -> inspect.Type:
    """`T` of `T | None`; any other type as it is."""
    if isinstance(kind, inspect.UnionType):
        others = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        return others[0] if len(others) == 1 else inspect.UnionType(types=tuple(others))
    return kind


def broken(value: Any, kind: inspect.Type, path: str) -> Iterator[tuple[str, Rule]]:
    """Every rule that `value` breaks, with the path of the field to blame."""
    for rule in rules_of_type(kind):
        if rule.holds is not None and not rule.holds(value):
            yield path + rule.field, rule
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.StructType):
        for rule in rules_of_class(kind.cls):
            if rule.holds is not None and not rule.holds(value):
                yield path + rule.field, rule
        for field in kind.fields:
            inner = getattr(value, field.name)
            if inner is not None:
                yield from broken(inner, without_none(field.type), f"{path}.{field.encode_name}")
    elif isinstance(kind, inspect.VarTupleType):
        for index, item in enumerate(value):
            yield from broken(item, kind.item_type, f"{path}[{index}]")
    elif isinstance(kind, inspect.DictType):
        for key, item in value.items():
            yield from broken(item, kind.value_type, f"{path}[{key}]")
