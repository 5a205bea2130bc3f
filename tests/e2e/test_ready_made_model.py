"""A model that exists already is checked, published and served without training."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e import image_sets, predictions
from tests.e2e.api_server import MODEL, VERSION, ApiServer, Object
from tests.e2e.conftest import Served
from tests.e2e.models import (
    conditions,
    is_ready,
    is_stalled,
    message,
    model_url,
    phase,
    quick_model,
    serves,
    store_prefix,
)
from tests.e2e.object_store import ObjectStore


def test_a_saved_model_is_served_without_training(
    api: ApiServer, s3: ObjectStore, namespace: str, digits_model: Served
) -> None:
    theirs = f"{store_prefix(digits_model.namespace, digits_model.name)}/1"
    api.apply(quick_model(namespace, "brought", {"training": None, "source": {"uri": f"s3://models/{theirs}"}}))
    model = api.wait_for(MODEL, namespace, "brought", is_ready, "a brought model that serves")

    assert model["status"]["servingVersion"] == 1
    assert [job["metadata"]["name"] for job in api.objects("Job", namespace)] == ["brought-1-export"]
    version = api.get(VERSION, namespace, "brought-1")
    assert version is not None
    assert "metrics" not in version["status"]
    ours = f"{store_prefix(namespace, 'brought')}/1"
    assert _contents(s3, ours) == _contents(s3, theirs)
    digits = image_sets.known_and_held_out()[1][:100]
    assert predictions.by_files(model_url(api, namespace, "brought"), digits) == predictions.by_files(
        digits_model.url, digits
    )


def test_an_h5_file_is_converted_and_served(
    api: ApiServer, s3: ObjectStore, namespace: str, digits_model: Served
) -> None:
    theirs = f"{store_prefix(digits_model.namespace, digits_model.name)}/.runs/1/model.h5"
    ours = f"{store_prefix(namespace, 'uploads')}/digits.h5"
    s3.put("models", ours, s3.read("models", theirs))
    names = [f"digit {number}" for number in range(10)]
    source = {"uri": f"s3://models/{ours}", "classes": names, "tflite": True}
    api.apply(quick_model(namespace, "converted", {"training": None, "source": source}))
    api.wait_for(MODEL, namespace, "converted", is_ready, "a converted model that serves")

    version = api.get(VERSION, namespace, "converted-1")
    assert version is not None
    assert version["status"]["classes"] == 10
    assert float(version["status"]["parity"]) < 1e-4
    manifest = json.loads(s3.read("models", f"{store_prefix(namespace, 'converted')}/.runs/1/manifest.json"))
    assert "assets.extra/model.tflite" in [file["path"] for file in manifest["files"]]
    digits = image_sets.known_and_held_out()[1][:100]
    assert predictions.by_files(model_url(api, namespace, "converted"), digits) == predictions.by_files(
        digits_model.url, digits
    )


def test_a_source_is_evaluated_and_one_that_is_worse_than_what_serves_is_rejected(
    api: ApiServer, s3: ObjectStore, namespace: str, digits_model: Served
) -> None:
    theirs = f"s3://models/{store_prefix(digits_model.namespace, digits_model.name)}"
    digits = image_sets.known_and_held_out()[1][:100]
    uploaded = f"{store_prefix(namespace, 'uploads')}/digits.zip"
    s3.put("models", uploaded, image_sets.zipped(image_sets.in_folders(digits)))
    gates = [{"metric": "accuracy", "min": 0.5, "maxDropFromServing": 0.05}]

    def judged(**source: Any) -> Object:
        tested = {**source, "testData": {"uri": f"s3://models/{uploaded}"}}
        return quick_model(namespace, "judged", {"training": None, "source": tested, "evaluation": {"gates": gates}})

    api.apply(judged(uri=f"{theirs}/1"))
    model = api.wait_for(MODEL, namespace, "judged", serves(1), "an evaluated source that serves")
    first = api.get(VERSION, namespace, "judged-1")
    assert first is not None
    assert first["status"]["images"] == {"train": 0, "validation": 0, "test": 100}
    told = predictions.accuracy(predictions.by_files(model_url(api, namespace, "judged"), digits), digits)
    accuracy = first["status"]["metrics"]["accuracy"]
    assert float(accuracy) == pytest.approx(told)
    assert model["status"]["accuracy"] == f"{float(accuracy):.3f}"
    assert conditions(model)["GatesMet"]["status"] == "True"

    # The same model with its classes in another order.
    api.apply(judged(uri=f"{theirs}/.runs/1/model.h5", classes=[str(number) for number in reversed(range(10))]))
    rejected = api.wait_for(MODEL, namespace, "judged", is_stalled, "a rejected source")
    assert phase(rejected) == "Rejected"
    assert rejected["status"]["servingVersion"] == 1
    second = api.get(VERSION, namespace, "judged-2")
    assert second is not None
    worse = second["status"]["metrics"]["accuracy"]
    assert f"accuracy is {worse}, and its gate asks for >= 0.5" in message(rejected)
    drop = f"accuracy is {worse}, and its gate asks for at most 0.05 below version 1"
    assert f"{drop}, which has {accuracy} on the same images" in message(rejected)
    assert "servable" not in second["status"]
    assert predictions.accuracy(predictions.by_files(model_url(api, namespace, "judged"), digits), digits) == told


def test_what_is_no_saved_model_is_refused_with_the_reason(api: ApiServer, namespace: str) -> None:
    api.apply(quick_model(namespace, "images", {"training": None, "source": {"uri": "s3://datasets/quick"}}))
    model = api.wait_for(MODEL, namespace, "images", is_stalled, "a sentence about the source")
    assert "There is no saved_model.pb under s3://datasets/quick" in message(model)


def _contents(s3: ObjectStore, prefix: str) -> dict[str, bytes]:
    return {key.removeprefix(prefix): s3.read("models", key) for key in s3.listing("models", prefix)}
