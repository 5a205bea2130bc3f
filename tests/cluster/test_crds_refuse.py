"""What people get wrong is refused by the API server itself, with a sentence that says what to write instead."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from keras_operator.api import API_VERSION

from tests.cluster.conftest import ApiServer, Refused
from tests.cluster.document_tables import (
    RIGHT,
    VERSION_SPEC,
    document_of,
    kind_of,
    says,
    sentences,
    wrong_changes,
    wrong_documents,
)

EXAMPLES = [
    yaml.safe_load(file.read_text()) for file in sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
]


class Collections:
    """The two kinds in one namespace."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self.api = api
        self._root = f"/apis/{API_VERSION}/namespaces/{namespace}"

    def path(self, kind: str) -> str:
        """Where objects of a kind are."""
        return f"{self._root}/{kind.lower()}s"

    def create(self, document: dict[str, Any], **query: str) -> dict[str, Any]:
        """Create an object; unknown fields are errors, as with kubectl."""
        return self.api.request("POST", self.path(document["kind"]), document, fieldValidation="Strict", **query)

    def refusal(self, document: dict[str, Any]) -> list[str]:
        """`field: sentence` for everything that the API server finds wrong; nothing where it finds nothing."""
        try:
            self.create(document, dryRun="All")
        except Refused as refused:
            if refused.status not in {400, 422}:
                raise
            return sentences(refused.causes)
        return []


@pytest.fixture
def collections(api, crds, namespace) -> Iterator[Collections]:
    collections = Collections(api, namespace)
    yield collections
    for kind in ("KerasModel", "KerasModelVersion"):
        api.request("DELETE", collections.path(kind))


def model(name: str, spec: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "KerasModel", "metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize("entry", wrong_documents(), ids=lambda entry: entry["id"])
def test_wrong_document_is_refused_with_these_sentences(collections, entry):
    assert collections.refusal(document_of(entry)) == says(entry)


def test_the_table_is_long_and_names_each_mistake_once():
    ids = [entry["id"] for entry in wrong_documents()]

    assert len(ids) >= 150
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("entry", wrong_changes(), ids=lambda entry: entry["id"])
def test_wrong_change_is_refused_with_this_sentence(collections, entry):
    document = document_of({"from": entry["from"]})
    if entry["from"] != "version":
        # So that an operator in the cluster leaves the object alone.
        document["spec"] = document["spec"] | {"suspend": True}
    path = f"{collections.path(kind_of(entry))}/{document['metadata']['name']}"
    patch = "application/merge-patch+json"
    collections.create(document)
    if "before" in entry:
        collections.api.request("PATCH", f"{path}/status", {"status": entry["before"]}, content_type=patch)
    part, where = ("status", f"{path}/status") if "status" in entry else ("spec", path)

    with pytest.raises(Refused) as refused:
        collections.api.request("PATCH", where, {part: entry[part]}, content_type=patch)

    assert sentences(refused.value.causes) == says(entry)


@pytest.mark.parametrize("spec", RIGHT.values(), ids=RIGHT)
def test_right_model_is_accepted(collections, spec):
    collections.create(model("a-123456789-123456789-123456789-123456789-123", spec), dryRun="All")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["metadata"]["name"])
def test_example_is_accepted(collections, example):
    collections.create(example, dryRun="All")


def test_several_mistakes_are_named_at_once(collections):
    spec = {
        "training": {"data": {"uri": "dogs"}},
        "store": {"uri": "s3://models/dogs", "endpoint": "minio:9000"},
        "evaluation": {"gates": [{"metric": "accuracy", "min": 85}, {"metric": "loss"}]},
    }

    found = collections.refusal(model("9dogs", spec))

    assert sorted(sentence.partition(": ")[0] for sentence in found) == [
        "Invalid value",  # of the whole: its name
        "spec.evaluation.gates[0]",
        "spec.evaluation.gates[1]",
        "spec.store.endpoint",
        "spec.training.data.uri",
    ]


def test_version_is_accepted(collections):
    version = {"apiVersion": API_VERSION, "kind": "KerasModelVersion", "metadata": {"name": "dogs-3"}}

    collections.create(version | {"spec": VERSION_SPEC}, dryRun="All")


def largest_spec() -> dict[str, Any]:
    """Everything that the schema lets grow, as long as it may be."""
    quantity = "1." + "0" * 20 + "Gi"
    names = ["memory", "ephemeral-storage", *(f"{'v' * 60}.com/{'d' * 50}-{number}" for number in range(3))]
    amounts = {name: quantity if "/" not in name else "1" * 24 for name in names} | {"cpu": "1" + "0" * 22 + "m"}
    resources = {"requests": amounts, "limits": amounts}
    address = "s3://" + "b" * 63 + "/"
    labels = {f"{'l' * 60}.{'m' * 60}/{'n' * 62}{number}": "v" * 63 for number in range(8)}
    entry = {
        "type": "Object",
        "object": {
            "describedObject": {"apiVersion": "g" * 250 + "/v1", "kind": "K" * 63, "name": "n" * 253},
            "metric": {"name": "m" * 253, "selector": {"matchLabels": labels}},
            "target": {"type": "Value", "value": "1" * 24},
        },
    }
    policies = {"policies": [{"type": "Pods", "value": 1_000_000, "periodSeconds": 1800}] * 8}
    scaling = {"metrics": [entry] * 6, "behavior": {"scaleUp": policies, "scaleDown": policies}}
    return {
        "training": {
            "data": {
                "uri": address + "ü" * (1024 - len(address)),
                "cache": {"claimName": "c" * 253, "maxGigabytes": 1_000_000},
            },
            "earlyStopping": {"restoreBestWeights": False},
            "resources": resources,
        },
        "evaluation": {"gates": [{"metric": "val_accuracy", "min": 0.123456789, "max": 0.987654321}] * 16},
        "store": {
            "uri": address + "s" * (700 - len(address)),
            "endpoint": "http://" + ".".join(["h" * 63] * 7) + ":65535",
            "credentials": {"secretName": "c" * 253},
        },
        "serving": {
            "modelName": "m" * 63,
            "autoscaling": scaling,
            "batching": {},
            "cache": {"claimName": "c" * 253, "maxGigabytes": 1_000_000},
            "resources": resources,
        },
    }


def test_rules_can_afford_the_largest_model(collections):
    collections.create(model("d" * 45, largest_spec()), dryRun="All")


def test_rules_can_afford_the_largest_version(collections):
    largest = {key: largest_spec()[key] for key in ("training", "store")}
    spec = VERSION_SPEC | largest | {"modelName": "d" * 45, "number": 2_147_483_647, "reason": "r" * 1024}
    name = f"{'d' * 45}-2147483647"
    document = {"apiVersion": API_VERSION, "kind": "KerasModelVersion", "metadata": {"name": name}, "spec": spec}

    collections.create(document, dryRun="All")
