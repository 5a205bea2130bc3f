"""The example of 120 breeds is trained and served as it stands, and learned further from the .h5 file that it left."""

from __future__ import annotations

import base64
import json
import urllib.request
from typing import Any

import pytest

from tests.e2e import photo_crops
from tests.e2e.api_server import MODEL, VERSION, ApiServer
from tests.e2e.conftest import MakeNamespace
from tests.e2e.models import example, is_ready, service_address, store_prefix
from tests.e2e.object_store import ObjectStore

MINUTES = 60


@pytest.fixture(scope="module")
def crops(s3: ObjectStore) -> dict[str, bytes]:
    files = photo_crops.crops()
    s3.fill("datasets", "dogs", files)
    return files


def answers(api: ApiServer, namespace: str, name: str, served_as: str, files: list[bytes]) -> Any:
    """The probabilities of each file."""
    url = f"http://{service_address(api, namespace, name)}/v1/models/{served_as}:predict"
    body = {
        "signature_name": "serving_bytes",
        "instances": [{"b64": base64.b64encode(file).decode()} for file in files],
    }
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=60) as answer:
        return json.load(answer)["predictions"]


@pytest.mark.timeout(40 * MINUTES)
def test_the_dogs_are_trained_served_and_learned_further(
    api: ApiServer, s3: ObjectStore, make_namespace: MakeNamespace, crops: dict[str, bytes]
) -> None:
    namespace = make_namespace("dogs")
    api.apply(example("dogs.yaml", namespace))
    api.wait_for(MODEL, namespace, "dogs", is_ready, "dogs.yaml that serves", seconds=20 * MINUTES)
    first = api.get(VERSION, namespace, "dogs-1")
    assert first is not None
    assert first["status"]["classes"] == photo_crops.CLASSES
    some = list(crops.values())[:4]
    rows = answers(api, namespace, "dogs", "DogClassifier", some)
    assert [len(row) for row in rows] == [photo_crops.CLASSES] * len(some)

    further = example("dogs-fine-tuned.yaml", namespace)
    theirs = f"s3://models/{store_prefix(namespace, 'dogs')}/.runs/1/model.h5"
    further["spec"]["training"]["initialWeights"]["uri"] = theirs
    api.apply(further)
    api.wait_for(MODEL, namespace, "dogs-fine-tuned", is_ready, "the fine-tuned dogs", seconds=20 * MINUTES)
    history = json.loads(s3.read("models", f"{store_prefix(namespace, 'dogs-fine-tuned')}/.runs/1/history.json"))
    begun = json.loads(s3.read("models", f"{store_prefix(namespace, 'dogs')}/.runs/1/history.json"))
    assert history["loss"][0] < begun["loss"][0], "it goes on from where the first one was"
