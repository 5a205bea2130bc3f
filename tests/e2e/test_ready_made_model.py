"""A model that exists already is checked, published and served without training."""

from __future__ import annotations

from tests.e2e import image_sets, predictions
from tests.e2e.api_server import MODEL, VERSION, ApiServer
from tests.e2e.conftest import Served
from tests.e2e.models import is_ready, is_stalled, message, model_url, quick_model, store_prefix
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
    source = {"uri": f"s3://models/{ours}", "classes": names}
    api.apply(quick_model(namespace, "converted", {"training": None, "source": source}))
    api.wait_for(MODEL, namespace, "converted", is_ready, "a converted model that serves")

    version = api.get(VERSION, namespace, "converted-1")
    assert version is not None
    assert version["status"]["classes"] == 10
    assert float(version["status"]["parity"]) < 1e-4
    digits = image_sets.known_and_held_out()[1][:100]
    assert predictions.by_files(model_url(api, namespace, "converted"), digits) == predictions.by_files(
        digits_model.url, digits
    )


def test_what_is_no_saved_model_is_refused_with_the_reason(api: ApiServer, namespace: str) -> None:
    api.apply(quick_model(namespace, "images", {"training": None, "source": {"uri": "s3://datasets/quick"}}))
    model = api.wait_for(MODEL, namespace, "images", is_stalled, "a sentence about the source")
    assert "There is no saved_model.pb under s3://datasets/quick" in message(model)


def _contents(s3: ObjectStore, prefix: str) -> dict[str, bytes]:
    return {key.removeprefix(prefix): s3.read("models", key) for key in s3.listing("models", prefix)}
