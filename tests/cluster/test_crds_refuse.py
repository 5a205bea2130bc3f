"""What people get wrong is refused by the API server itself, with a sentence that says what to write instead."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from keras_operator.api import API_VERSION

TABLES = Path(__file__).parents[1] / "unit/api"
RIGHT = {entry["id"]: entry["spec"] for entry in yaml.safe_load((TABLES / "right_models.yaml").read_text())}
WRONG = yaml.safe_load((TABLES / "wrong_models.yaml").read_text())

VERSION_SPEC = {
    "modelName": "dogs",
    "number": 3,
    "inputsHash": "0123456789abcdef",
    "reason": "training.epochs changed from 5 to 10",
    "training": RIGHT["training"]["training"],
    "store": RIGHT["training"]["store"],
}


def merged(document: Any, change: Any) -> Any:
    """JSON merge patch (RFC 7386): null removes."""
    if not isinstance(change, dict):
        return change
    kept = dict(document) if isinstance(document, dict) else {}
    for key, value in change.items():
        kept[key] = merged(kept.get(key), value)
    return {key: value for key, value in kept.items() if value is not None}


@pytest.fixture
def create(api, crds, namespace):
    """Ask the API server to create an object, without keeping it; unknown fields are errors, as with kubectl."""

    def create(kind: str, name: str, spec: Any) -> dict[str, Any]:
        plural = crds[kind]["spec"]["names"]["plural"]
        answer: dict[str, Any] = api.request(
            "POST",
            f"/apis/{API_VERSION}/namespaces/{namespace}/{plural}",
            {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec},
            dryRun="All",
            fieldValidation="Strict",
        )
        return answer

    return create


def refusal(create: Any, kind: str, name: str, spec: Any) -> list[tuple[str, str]]:
    """(field, sentence) for everything that the API server finds wrong; nothing where it finds nothing."""
    try:
        create(kind, name, spec)
    except Exception as error:
        if getattr(error, "status", None) not in {400, 422}:
            raise
        causes: list[tuple[str, str]] = error.causes  # type: ignore[attr-defined]
        return causes
    return []


@pytest.mark.parametrize("entry", WRONG, ids=lambda entry: entry["id"])
def test_wrong_model_is_refused_with_a_sentence(create, entry):
    spec = merged(RIGHT[entry["from"]], entry.get("spec", {}))

    found = refusal(create, "KerasModel", entry.get("name", "dogs"), spec)

    said = [sentence for field, sentence in found if field == entry["field"] or not entry["field"]]
    assert any(entry["says"] in sentence for sentence in said), found


@pytest.mark.parametrize("spec", RIGHT.values(), ids=RIGHT)
def test_right_model_is_accepted(create, spec):
    create("KerasModel", "a-123456789-123456789-123456789-123456789-123", spec)


def test_several_mistakes_are_named_at_once(create):
    found = refusal(
        create,
        "KerasModel",
        "9dogs",
        {
            "training": {"data": {"uri": "dogs"}},
            "store": {"uri": "s3://models/dogs", "endpoint": "minio:9000"},
            "evaluation": {"gates": [{"metric": "accuracy", "min": 85}, {"metric": "loss"}]},
        },
    )

    fields = [
        "",
        "spec.evaluation.gates[0]",
        "spec.evaluation.gates[1]",
        "spec.store.endpoint",
        "spec.training.data.uri",
    ]
    assert sorted(field for field, _ in found) == fields


def test_version_is_accepted(create):
    create("KerasModelVersion", "dogs-3", VERSION_SPEC)


@pytest.mark.parametrize(
    ("name", "change", "field", "sentence"),
    [
        pytest.param("dogs-4", {}, "", "metadata.name must be <spec.modelName>-<spec.number>", id="other number"),
        pytest.param("cats-3", {}, "", "metadata.name must be <spec.modelName>-<spec.number>", id="other model"),
        pytest.param("dogs-3", {"training": None}, "spec", "exactly one of training and source", id="neither"),
        pytest.param(
            "dogs-3", {"source": RIGHT["source"]["source"]}, "spec", "exactly one of training and source", id="both"
        ),
        pytest.param("dogs-3", {"inputsHash": None}, "spec.inputsHash", "Required value", id="no fingerprint"),
        pytest.param("dogs-3", {"inputsHash": "abc"}, "spec.inputsHash", "at least 16 chars", id="short fingerprint"),
        pytest.param("dogs-3", {"reason": ""}, "spec.reason", "at least 1 chars", id="no reason"),
        pytest.param("dogs-0", {"number": 0}, "spec.number", "greater than or equal to 1", id="number zero"),
        pytest.param("dogs-3", {"gates": []}, "", 'unknown field "spec.gates"', id="unknown field"),
        pytest.param(
            "dogs-3",
            {"training": {"data": {"uri": "gs://datasets/dogs"}}},
            "spec.training.data.uri",
            "must be an S3 address",
            id="training is checked too",
        ),
    ],
)
def test_wrong_version_is_refused_with_a_sentence(create, name, change, field, sentence):
    found = refusal(create, "KerasModelVersion", name, merged(VERSION_SPEC, change))

    assert any(sentence in said for blamed, said in found if blamed == field or not field), found
