"""From a kind to its CustomResourceDefinition."""

from typing import Any

from msgspec import inspect

from .kinds import GROUP, VERSION, Column, Kind
from .schema import Schema, schema_of
from .status import UNSEEN


def crd(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition as JSON."""
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": object_schema(kind)},
        "subresources": _subresources(kind),
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    names: dict[str, Any] = {
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "singular": kind.name.lower(),
        "shortNames": [*kind.short_names],
    }
    if kind.categories:
        names["categories"] = [*kind.categories]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name, "labels": {"app.kubernetes.io/part-of": "keras-operator"}},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def object_schema(kind: Kind) -> Schema:
    """The schema of a whole object of the kind."""
    spec = schema_of(inspect.type_info(kind.spec))
    status = schema_of(inspect.type_info(kind.status))
    return {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": {"description": _first_line(kind.spec), **spec},
            "status": {"description": _first_line(kind.status), **status, "default": UNSEEN},
        },
        "x-kubernetes-validations": [rule.schema() for rule in kind.rules],
    }


def _first_line(documented: type) -> str:
    return (documented.__doc__ or "").strip().splitlines()[0]


def _subresources(kind: Kind) -> dict[str, Any]:
    subresources: dict[str, Any] = {"status": {}}
    if kind.scale is not None:
        subresources["scale"] = {
            "specReplicasPath": kind.scale.wanted,
            "statusReplicasPath": kind.scale.actual,
            "labelSelectorPath": kind.scale.selector,
        }
    return subresources


def _column(column: Column) -> dict[str, Any]:
    shown = {
        "name": column.name,
        "type": column.kind,
        "jsonPath": column.path,
        "description": column.description,
    }
    return shown | {"priority": 1} if column.wide else shown
