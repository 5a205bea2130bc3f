"""From types to the structural OpenAPI schemas of a CustomResourceDefinition."""

import json
from typing import Any

import msgspec
from msgspec import inspect

from .rules import rules_of_class, without_none
from .wire import Written

Schema = dict[str, Any]


def schema_of(kind: inspect.Type) -> Schema:
    """The schema of a type, with everything that it contains written out in place (a CRD has no references)."""
    match without_none(kind):
        case inspect.Metadata() as annotated:
            return _annotated(annotated)
        case inspect.StructType() as struct:
            return _object(struct)
        case inspect.EnumType(cls=cls):
            return {"type": "string", "enum": [str(member) for member in cls]}
        case inspect.StrType() as string:
            pattern = {} if string.pattern is None else {"pattern": string.pattern}
            return {"type": "string"} | _bounds(minLength=string.min_length, maxLength=string.max_length) | pattern
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType() as number:
            return {"type": "integer"} | _range(number)
        case inspect.FloatType() as number:
            return {"type": "number"} | _range(number)
        case inspect.AnyType():
            # What a person writes for a program of their own: any JSON.
            return {"x-kubernetes-preserve-unknown-fields": True}
        case inspect.DateTimeType():
            return {"type": "string", "format": "date-time"}
        case inspect.UnionType(types=types):
            return {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True} | {
                bound: value
                for one in types
                for bound, value in schema_of(one).items()
                if bound in {"minimum", "maxLength", "pattern"}
            }
        case inspect.DictType() as mapping:
            bounds = _bounds(minProperties=mapping.min_length, maxProperties=mapping.max_length)
            return {"type": "object", "additionalProperties": schema_of(mapping.value_type)} | bounds
        case inspect.VarTupleType() as items:
            bounds = _bounds(minItems=items.min_length, maxItems=items.max_length)
            return {"type": "array", "items": schema_of(items.item_type)} | bounds
        case inspect.TupleType(item_types=sides):
            return {"type": "array", "items": schema_of(sides[0]), "minItems": len(sides), "maxItems": len(sides)}
        case unknown:
            raise TypeError(
                f"{unknown} has no place in an API: use a struct, an enum, str, int, float, bool or datetime"
            )


def _default_of(field: inspect.Field) -> Any:
    """The JSON that the API server writes where the field is left out; None where it writes nothing.

    Nothing is written for a list, a map or an object that would be empty, because it reads the same, and nothing in a
    status, which is the operator's alone.
    """
    if field.required or field.default_factory is not msgspec.NODEFAULT or field.default is None:
        return None
    if isinstance(field.default, msgspec.Struct):
        inner = inspect.type_info(type(field.default))
        assert isinstance(inner, inspect.StructType)
        return {} if any(_default_of(each) is not None for each in inner.fields) else None
    written = msgspec.to_builtins(field.default)
    return None if written in ([], (), {}) else json.loads(json.dumps(written))


def _annotated(annotated: inspect.Metadata) -> Schema:
    schema = schema_of(annotated.type)
    extra = dict(annotated.extra_json_schema or {})
    description = extra.pop("description", "")
    examples = extra.pop("examples", ())
    if examples:
        description += f" Example: {json.dumps(examples[0], ensure_ascii=False)}."
    # The description stands first, where people read it.
    schema = ({"description": description} if description else {}) | schema_of(annotated.type) | extra
    if description:
        schema["description"] = description
    return _with_rules(schema, [rule.schema() for rule in (annotated.extra or {}).get("rules", ())])


def _object(struct: inspect.StructType) -> Schema:
    properties: Schema = {}
    for field in struct.fields:
        schema = schema_of(field.type)
        default = _default_of(field) if issubclass(struct.cls, Written) else None
        if default is not None:
            schema["default"] = default
            if not isinstance(default, dict):
                schema["description"] += f" Default: {json.dumps(default, ensure_ascii=False)}."
        if field.required and issubclass(struct.cls, Written):
            schema["description"] += " Required."
        properties[field.encode_name] = schema
    result: Schema = {"type": "object", "properties": properties}
    required = [field.encode_name for field in struct.fields if field.required]
    if required:
        result["required"] = required
    return _with_rules(result, [rule.schema() for rule in rules_of_class(struct.cls)])


def _with_rules(schema: Schema, rules: list[dict[str, str]]) -> Schema:
    if rules:
        schema["x-kubernetes-validations"] = [*schema.get("x-kubernetes-validations", ()), *rules]
    return schema


def _range(number: inspect.IntType | inspect.FloatType) -> Schema:
    schema = _bounds(minimum=number.ge, maximum=number.le)
    if number.gt is not None:
        schema |= {"minimum": number.gt, "exclusiveMinimum": True}
    if number.lt is not None:
        schema |= {"maximum": number.lt, "exclusiveMaximum": True}
    return schema


def _bounds(**bounds: float | None) -> Schema:
    return {name: bound for name, bound in bounds.items() if bound is not None}
