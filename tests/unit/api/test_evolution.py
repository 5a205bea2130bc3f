"""Every release's CRDs and objects are kept in tests/fixtures/crds, and none of them may be narrowed by this tree."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from keras_operator.api import KINDS, decode_model, decode_version
from keras_operator.api.crd import crd

from tests.unit.api.crd_compatibility import narrowed

RELEASES = Path(__file__).parents[2] / "fixtures/crds"
NOW = {kind.name: crd(kind) for kind in KINDS}


def released() -> Iterator[Any]:
    for folder in sorted(RELEASES.iterdir()):
        for file in sorted(folder.glob("keras-operator.dev_*.yaml")):
            document = yaml.safe_load(file.read_text())
            kind = document["spec"]["names"]["kind"]
            objects = [one for one in yaml.safe_load_all((folder / "objects.yaml").read_text()) if one["kind"] == kind]
            yield pytest.param(document, objects, id=f"{folder.name}-{kind}")


RELEASED = list(released())


@pytest.mark.parametrize(("old", "objects"), RELEASED)
def test_nothing_that_a_release_took_is_refused_now(old, objects):
    assert narrowed(old, NOW[old["spec"]["names"]["kind"]]) == []


@pytest.mark.parametrize(("old", "objects"), RELEASED)
def test_objects_of_a_release_can_be_used_now(old, objects):
    decode = decode_model if old["spec"]["names"]["kind"] == "KerasModel" else decode_version
    for one in objects:
        decode(one["spec"])


def fields(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from fields(inner, f"{path}.{name}")
    if "items" in schema:
        yield from fields(schema["items"], path)


def written(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{path}.{name}"
            yield from written(inner, f"{path}.{name}")
    for inner in value if isinstance(value, list) else ():
        yield from written(inner, path)


@pytest.mark.parametrize(("old", "objects"), RELEASED)
def test_objects_of_a_release_use_every_field_that_it_had(old, objects):
    schema = old["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    used = {path for one in objects for path in written(one)}

    assert sorted(set(fields(schema)) - used) == []


def edited(**changes: Any) -> dict[str, Any]:
    """Today's KerasModel CRD with changes at paths below its spec: `name__more` is `.name.more`; None removes."""
    document = copy.deepcopy(NOW["KerasModel"])
    root = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for where, change in changes.items():
        node = root
        for name in where.split("__") if where != "spec" else ():
            node = node["properties"][name]
        for word, value in change.items():
            if value is None:
                node.pop(word)
            else:
                node[word] = value
    return document


def without(*path: str) -> dict[str, Any]:
    document = edited()
    node = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for name in path[:-1]:
        node = node["properties"][name]
    del node["properties"][path[-1]]
    return document


def with_field(schema: dict[str, Any], rule: str = "") -> dict[str, Any]:
    document = edited()
    node = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    node["properties"]["fresh"] = schema
    if rule:
        node["x-kubernetes-validations"] = [*node["x-kubernetes-validations"], {"rule": rule, "message": "no"}]
    return document


def with_spec(**changes: Any) -> dict[str, Any]:
    document = edited()
    document["spec"] |= changes
    return document


NARROWER = {
    "a field is gone": (
        without("serving", "batching", "timeoutMicros"),
        ".spec.serving.batching.timeoutMicros is gone",
    ),
    "a type changed": (edited(training__epochs={"type": "string"}), ".spec.training.epochs: type changed"),
    "a default changed": (edited(training__epochs={"default": 20}), "default changed from 10 to 20"),
    "a default is gone": (edited(training__epochs={"default": None}), "default changed from 10 to None"),
    "a minimum rose": (edited(training__epochs={"minimum": 2}), "minimum rose from 1 to 2"),
    "a maximum fell": (edited(training__epochs={"maximum": 2}), "maximum fell from 100000 to 2"),
    "a length fell": (edited(store__uri={"maxLength": 100}), ".spec.store.uri: maxLength fell from 1024 to 100"),
    "a bound is new": (edited(suspend={"maxLength": 1}), ".spec.suspend: maxLength fell from None to 1"),
    "zero is refused": (edited(training__augmentation__zoom={"exclusiveMinimum": True}), "exclusiveMinimum is new"),
    "a word is gone": (edited(serving__runtime={"enum": ["KerasServer"]}), "runtime: TensorFlowServing is refused"),
    "words are new": (edited(store__uri={"enum": ["s3://models/a"]}), ".spec.store.uri: any value is refused"),
    "a field is required": (edited(store={"required": ["uri", "endpoint"]}), ".spec.store: endpoint is required"),
    "items are of another type": (
        edited(evaluation__gates={"items": {"type": "string"}}),
        ".spec.evaluation.gates[]: type changed from object to string",
    ),
    "a rule is new": (
        edited(suspend={"x-kubernetes-validations": [{"rule": "!self", "message": "no"}]}),
        ".spec.suspend: there is a new rule: !self",
    ),
    "a rule is new beside a new field": (
        with_field({"type": "string"}, "self.suspend == false"),
        ".spec: there is a new rule: self.suspend == false",
    ),
    "the kind has another name": (
        with_spec(names=NOW["KerasModel"]["spec"]["names"] | {"plural": "models"}),
        "names.plural changed from kerasmodels to models",
    ),
    "a short name is gone": (
        with_spec(names=NOW["KerasModel"]["spec"]["names"] | {"shortNames": ["km"]}),
        "names.shortNames lost kmodel",
    ),
    "the scope changed": (with_spec(scope="Cluster"), "scope changed from Namespaced to Cluster"),
    "the version is gone": (with_spec(versions=[]), "version v1alpha1 is not served any more"),
    "a column is gone": (
        with_spec(versions=[NOW["KerasModel"]["spec"]["versions"][0] | {"additionalPrinterColumns": []}]),
        "column Ready is gone",
    ),
    "scale is gone": (
        with_spec(versions=[NOW["KerasModel"]["spec"]["versions"][0] | {"subresources": {"status": {}}}]),
        "subresource scale changed",
    ),
}


@pytest.mark.parametrize(("new", "sentence"), NARROWER.values(), ids=NARROWER)
def test_what_narrows_is_found(new, sentence):
    assert any(sentence in found for found in narrowed(NOW["KerasModel"], new))


WIDER = {
    "nothing": edited(),
    "a new field": with_field({"type": "string"}),
    "a new field with a default": with_field({"type": "boolean", "default": False}),
    "a new field with a rule of its own": with_field({"type": "string"}, "!has(self.fresh) || !self.suspend"),
    "a lower minimum": edited(training__epochs={"minimum": 0}),
    "a bound is gone": edited(training__epochs={"maximum": None}),
    "one more word": edited(serving__runtime={"enum": ["KerasServer", "TensorFlowServing", "Triton"]}),
    "a field that may be left out": edited(store={"required": None}),
    "a rule is gone": edited(store__uri={"x-kubernetes-validations": None}),
    "another description": edited(suspend={"description": "Stop."}),
}


@pytest.mark.parametrize("new", WIDER.values(), ids=WIDER)
def test_what_only_adds_is_let_through(new):
    assert narrowed(NOW["KerasModel"], new) == []
