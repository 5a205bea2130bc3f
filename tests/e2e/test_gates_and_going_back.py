"""A version that misses its gate never serves; going back to an earlier version trains nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.api_server import MODEL, VERSION, ApiServer, Object
from tests.e2e.conftest import Served
from tests.e2e.models import is_ready, is_stalled, message, phase, quick_model, serves

NAME = "gated"
SELECTOR = f"keras-operator.dev/model={NAME}"
# A loss that no training reaches, and one that every training does.
OUT_OF_REACH = {"evaluation": {"gates": [{"metric": "loss", "max": 1e-9}]}}
WITHIN_REACH = {"evaluation": {"gates": [{"metric": "loss", "max": 1000}]}}
OTHER_TRAINING = {"training": {"seed": 7}}


@pytest.fixture(scope="module")
def namespace(api: ApiServer, digits_model: Served) -> Iterator[str]:
    """Where one model has a first version that serves, beside another one."""
    name = digits_model.namespace
    api.apply(quick_model(name, NAME))
    api.wait_for(MODEL, name, NAME, serves(1), "a first version that serves")
    yield name
    api.delete(MODEL, name, NAME)


@pytest.mark.usefixtures("neighbour")
def test_a_missed_gate_waits_until_it_is_eased_and_a_revert_goes_back(api: ApiServer, namespace: str) -> None:
    api.apply(quick_model(namespace, NAME, OTHER_TRAINING, OUT_OF_REACH))
    rejected = api.wait_for(MODEL, namespace, NAME, is_stalled, "a rejected version")
    assert phase(rejected) == "Rejected"
    assert rejected["status"]["servingVersion"] == 1
    assert "version 2 was rejected: loss is " in message(rejected)
    assert "and its gate asks for <= 1e-09; version 1 serves on 1/1 pods" in message(rejected)
    assert "Ease the gate" in message(rejected)
    assert api.wait_for_warning(namespace, NAME)["reason"] == "GatesNotMet"
    assert api.get("Job", namespace, f"{NAME}-2-export") is None
    train = _uid(api, "Job", namespace, f"{NAME}-2-train")

    api.apply(quick_model(namespace, NAME, OTHER_TRAINING, WITHIN_REACH))
    api.wait_for(MODEL, namespace, NAME, serves(2), "version 2 after its gate was eased")
    assert _uid(api, "Job", namespace, f"{NAME}-2-train") == train, "version 2 was trained again"

    api.apply(quick_model(namespace, NAME))
    api.wait_for(MODEL, namespace, NAME, serves(1), "version 1 after the change was taken back")
    assert len(api.objects(VERSION, namespace, SELECTOR)) == 2, "going back made a version"


NO_WORSE = {"evaluation": {"gates": [{"metric": "accuracy", "maxDropFromServing": 0.02}]}}
# A step so small that the network stays as it began.
LEARNS_NOTHING = {"training": {"seed": 5, "epochs": 1, "optimizer": {"learningRate": 1e-9}}}
TOO_LARGE = {"evaluation": {"gates": [{"metric": "size_mb", "max": 0.001}]}}
NOT_TOO_LARGE = {"evaluation": {"gates": [{"metric": "size_mb", "max": 50}]}}


def test_a_version_that_is_worse_than_what_serves_is_rejected(api: ApiServer, namespace: str) -> None:
    api.apply(quick_model(namespace, NAME, LEARNS_NOTHING, NO_WORSE))
    rejected = api.wait_for(MODEL, namespace, NAME, is_stalled, "a rejected version")
    assert rejected["status"]["servingVersion"] == 1
    number = rejected["status"]["latestVersion"]
    version = api.get(VERSION, namespace, f"{NAME}-{number}")
    assert version is not None
    first = api.get(VERSION, namespace, f"{NAME}-1")
    assert first is not None
    compared = version["status"]["comparison"]
    # The data is the same, and so are the test images: the first version has to get what it got.
    assert (compared["version"], compared["metrics"]["accuracy"]) == (1, first["status"]["metrics"]["accuracy"])
    assert (
        f"accuracy is {version['status']['metrics']['accuracy']}, and its gate asks for at most 0.02 below version 1, "
        f"which has {compared['metrics']['accuracy']} on the same images"
    ) in message(rejected)
    assert api.get("Job", namespace, f"{NAME}-{number}-export") is None


def test_a_servable_that_is_too_large_is_not_published_until_its_gate_is_eased(api: ApiServer, namespace: str) -> None:
    change = {"training": {"seed": 6}}
    api.apply(quick_model(namespace, NAME, change, TOO_LARGE))
    rejected = api.wait_for(MODEL, namespace, NAME, is_stalled, "a rejected version")
    number = rejected["status"]["latestVersion"]
    assert rejected["status"]["servingVersion"] == 1
    assert "size_mb is " in message(rejected)
    assert "and its gate asks for <= 0.001" in message(rejected)
    version = api.get(VERSION, namespace, f"{NAME}-{number}")
    assert version is not None
    assert "servable" not in version["status"]
    first_export = _uid(api, "Job", namespace, f"{NAME}-{number}-export")

    api.apply(quick_model(namespace, NAME, change, NOT_TOO_LARGE))
    api.wait_for(MODEL, namespace, NAME, serves(number), "the version after its gate was eased")
    assert _uid(api, "Job", namespace, f"{NAME}-{number}-export") != first_export
    api.apply(quick_model(namespace, NAME))
    api.wait_for(MODEL, namespace, NAME, serves(1), "version 1 after the change was taken back")


def test_a_pin_decides_which_version_serves(api: ApiServer, namespace: str) -> None:
    api.apply(quick_model(namespace, NAME, {"training": {"seed": 11}}))
    newest = api.wait_for(MODEL, namespace, NAME, _serves_newest, "the newest version")
    jobs = len(api.objects("Job", namespace, SELECTOR))

    api.apply(quick_model(namespace, NAME, {"training": {"seed": 11}}, {"serving": {"version": 1}}))
    pinned = api.wait_for(MODEL, namespace, NAME, serves(1), "version 1 by its pin")
    assert pinned["status"]["latestVersion"] == newest["status"]["latestVersion"]

    api.apply(quick_model(namespace, NAME, {"training": {"seed": 11}}, {"serving": {"version": 99}}))
    stalled = api.wait_for(MODEL, namespace, NAME, is_stalled, "a pin that leads nowhere")
    assert "serving.version is 99, and there is no version 99: name a published version" in message(stalled)
    assert "version 1 serves on 1/1 pods" in message(stalled)

    api.apply(quick_model(namespace, NAME, {"training": {"seed": 11}}))
    number = newest["status"]["latestVersion"]
    api.wait_for(MODEL, namespace, NAME, serves(number), "the newest version without a pin")
    assert len(api.objects("Job", namespace, SELECTOR)) == jobs, "a pin started a Job"


def _serves_newest(model: Object) -> bool:
    return is_ready(model) and model["status"]["servingVersion"] == model["status"]["latestVersion"]


def _uid(api: ApiServer, kind: str, namespace: str, name: str) -> Any:
    content = api.get(kind, namespace, name)
    assert content is not None, f"there is no {kind} {name}"
    return content["metadata"]["uid"]
