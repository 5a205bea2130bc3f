"""Documents that must be refused, one YAML file a topic in `wrong_documents/`, and those that must be accepted.

Each entry of `wrong_documents/` is a right document and one mistake:

    id        what is wrong
    from      the right document: training | source | version
    spec      JSON merge patch of its spec; null removes a field
    name      its metadata.name, where that is what is wrong
    document  JSON merge patch of the whole, where that is what is wrong
    says      `field: sentence` as the API server says it; a list where it finds several
    locally   what decode_model says, where it is not the same sentence; null where only the API server can know

`<689 a>` stands for the letter 689 times.

Each entry of `changes.yaml` is a right document that is there, and a change to it: `before` is merged into its status
first, and then a patch of `status` or `spec` is refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from keras_operator.api import API_VERSION

_TESTS = Path(__file__).parents[1]
_CHANGES = "changes.yaml"
# Kubernetes says it after every mistake for which it does not go on to the rules.
_NO_MISTAKE = "some validation rules were not checked because the object was invalid"

RIGHT: dict[str, Any] = {
    entry["id"]: entry["spec"] for entry in yaml.safe_load((_TESTS / "unit/api/right_models.yaml").read_text())
}
"""The specs of KerasModels that must be accepted, by what they are about."""

VERSION_SPEC: dict[str, Any] = {
    "modelName": "dogs",
    "number": 3,
    "inputsHash": "0123456789abcdef",
    "reason": "training.epochs changed from 5 to 10",
    "training": RIGHT["training"]["training"],
    "store": RIGHT["training"]["store"],
}
"""The spec of a KerasModelVersion that must be accepted."""


def merged(document: Any, change: Any) -> Any:
    """JSON merge patch (RFC 7386): null removes."""
    if not isinstance(change, dict):
        return change
    kept = dict(document) if isinstance(document, dict) else {}
    for key, value in change.items():
        kept[key] = merged(kept.get(key), value)
    return {key: value for key, value in kept.items() if value is not None}


def _written_out(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"<(\d+) (.)>", lambda times: times[2] * int(times[1]), value)
    if isinstance(value, dict):
        return {key: _written_out(inner) for key, inner in value.items()}
    return [_written_out(inner) for inner in value] if isinstance(value, list) else value


def wrong_documents() -> list[dict[str, Any]]:
    """Every entry of every topic."""
    files = sorted(file for file in Path(__file__).parent.glob("wrong_documents/*.yaml") if file.name != _CHANGES)
    return [_written_out(entry) for file in files for entry in yaml.safe_load(file.read_text())]


def wrong_changes() -> list[dict[str, Any]]:
    """Every change that must be refused."""
    return list(yaml.safe_load((Path(__file__).parent / "wrong_documents" / _CHANGES).read_text()))


def kind_of(entry: dict[str, Any]) -> str:
    """The kind of the entry's document."""
    return "KerasModelVersion" if entry["from"] == "version" else "KerasModel"


def document_of(entry: dict[str, Any]) -> dict[str, Any]:
    """The whole document of an entry, with its mistake."""
    right = VERSION_SPEC if entry["from"] == "version" else RIGHT[entry["from"]]
    name = "dogs-3" if entry["from"] == "version" else "dogs"
    document = {
        "apiVersion": API_VERSION,
        "kind": kind_of(entry),
        "metadata": {"name": entry.get("name", name)},
        "spec": merged(right, entry.get("spec", {})),
    }
    whole: dict[str, Any] = merged(document, entry.get("document", {}))
    return whole


def says(entry: dict[str, Any]) -> list[str]:
    """What the API server says about an entry, one sentence for each mistake that it finds."""
    return [entry["says"]] if isinstance(entry["says"], str) else entry["says"]


def sentences(causes: list[tuple[str, str]]) -> list[str]:
    """`field: sentence` for everything that the API server found wrong."""
    return [f"{field}: {said}" if field else said for field, said in causes if _NO_MISTAKE not in said]
