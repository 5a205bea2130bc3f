"""What is wrong in the YAML alone is refused by `kubectl apply`, with a sentence that says what to write instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.demo.errors import DemoError
from benchmarks.demo.kubectl import Kubectl
from tests.e2e.api_server import MODEL, ApiServer
from tests.e2e.conftest import Served
from tests.e2e.models import quick_model

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown field": (
        {"training": {"epoch": 5}},
        'unknown field "spec.training.epoch"',
    ),
    "training and source": (
        {"source": {"uri": "s3://models/uploads/dogs"}},
        "training and source are both written: keep training to train from images, or source",
    ),
    "neither training nor source": (
        {"training": None},
        "training or source is missing: write training to train from images, or source",
    ),
    "a wrong enum": (
        {"training": {"optimizer": {"name": "adamant"}}},
        'spec.training.optimizer.name: Unsupported value: "adamant": supported values: "adadelta", ',
    ),
    "a bad uri": (
        {"training": {"data": {"uri": "datasets/digits"}}},
        "must be an address in S3, such as s3://models/dogs",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_kubectl_apply_says_what_is_wrong(
    api: ApiServer, kubectl: Kubectl, neighbour: Served, change: dict[str, Any], sentence: str
) -> None:
    namespace = neighbour.namespace
    document = quick_model(namespace, "wrong", change)
    with pytest.raises(DemoError) as refused:
        kubectl.run("apply", "-f", "-", text_in=json.dumps(document))
    assert sentence in str(refused.value)
    assert api.get(MODEL, namespace, "wrong") is None


def test_what_is_right_is_not_refused(kubectl: Kubectl, neighbour: Served) -> None:
    document = quick_model(neighbour.namespace, "right")
    said = kubectl.run("apply", "--dry-run=server", "-f", "-", text_in=json.dumps(document))
    assert "kerasmodel.keras-operator.dev/right created" in said
