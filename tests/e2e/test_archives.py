"""Images in one archive beside a table of their classes, as Kaggle hands them out, become a model that serves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e import image_sets, predictions
from tests.e2e.api_server import MODEL, VERSION, ApiServer
from tests.e2e.conftest import MakeNamespace
from tests.e2e.models import is_ready, model_url, quick_model
from tests.e2e.object_store import ObjectStore

BREEDS = ("whippet", "beagle", "collie")
"""Of the digits 0, 1 and 2: their order is not that of the alphabet, which the classes are in."""
LABELS = {"file": "labels.csv", "fileColumn": "id", "classColumn": "breed"}


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_an_archive_with_a_table_of_labels_is_learned_and_asked(
    api: ApiServer, s3: ObjectStore, make_namespace: MakeNamespace, kind: str
) -> None:
    digits = image_sets.quick_digits()
    files = image_sets.beside_a_table(digits, BREEDS.__getitem__)
    pack = {"tar.gz": image_sets.tarred, "zip": image_sets.zipped}[kind]
    s3.put("datasets", f"digit-breeds.{kind}", pack(files))
    namespace = make_namespace("archives")
    data: dict[str, Any] = {"uri": f"s3://datasets/digit-breeds.{kind}", "labels": LABELS}
    api.apply(quick_model(namespace, "breeds", {"training": {"data": data}}))
    api.wait_for(MODEL, namespace, "breeds", is_ready, "a model of an archive that serves")

    hidden = image_sets.quick_digits(image_sets.known_and_held_out()[1])
    told = predictions.by_files(model_url(api, namespace, "breeds"), hidden)
    right = [sorted(BREEDS).index(BREEDS[digit.label]) for digit in hidden]
    assert sum(one == other for one, other in zip(told, right, strict=True)) > 0.7 * len(hidden)
    version = api.get(VERSION, namespace, "breeds-1")
    assert version is not None
    status = version["status"]
    assert (status["phase"], status["classes"], status["badFiles"]) == ("Published", len(BREEDS), 0)
    assert sum(status["images"].values()) == len(digits)
