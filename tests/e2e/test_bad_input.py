"""What is wrong with data, credentials or pods becomes one sentence with the remedy, and other models go on.

All of the first test's models are applied at once, beside one that serves and has to go on answering.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e import image_sets
from tests.e2e.api_server import MODEL, VERSION, ApiServer
from tests.e2e.conftest import Served
from tests.e2e.models import (
    conditions,
    credentials,
    is_ready,
    is_stalled,
    message,
    quick_model,
    store_prefix,
)
from tests.e2e.object_store import ObjectStore

NO_BUCKET = "s3://no-such-bucket"


@dataclass(frozen=True)
class Mistake:
    """A change that spoils a model, the reason that its status then has, and what its sentence must hold."""

    change: Mapping[str, Any]
    reason: str
    says: tuple[str, ...]


def _data(uri: str, **more: Any) -> dict[str, Any]:
    return {"training": {"data": {"uri": uri, **more}}}


MISTAKES = {
    "data-bucket-missing": Mistake(
        _data(f"{NO_BUCKET}/digits"), "BucketNotFound", ("no bucket 'no-such-bucket'", "create it, or correct the uri")
    ),
    "store-bucket-missing": Mistake(
        {"store": {"uri": f"{NO_BUCKET}/models"}},
        "BucketNotFound",
        ("no bucket 'no-such-bucket'", "create it, or correct the uri"),
    ),
    "wrong-credentials": Mistake(
        {"store": {"credentials": {"secretName": "wrong"}}},
        "AccessDenied",
        ("correct AWS_SECRET_ACCESS_KEY in the Secret that spec.store.credentials.secretName names",),
    ),
    "secret-missing": Mistake(
        {"store": {"credentials": {"secretName": "not-there"}}},
        "SecretNotFound",
        ("Secret not-there is not in namespace ", "create it there or correct its name in the model"),
    ),
    "no-images": Mistake(
        _data("s3://datasets/no-images"),
        "NoImages",
        ("No images under s3://datasets/no-images", "2 other files were found", "correct spec.training.data.uri"),
    ),
    "nothing-there": Mistake(
        _data("s3://datasets/nothing-there"),
        "NoImages",
        ("No images under s3://datasets/nothing-there: nothing was found there at all",),
    ),
    "one-class": Mistake(
        _data("s3://datasets/one-class"),
        "OneClass",
        ("has one class folder, '0', with 40 images", "Put the images of each class into a folder of its own"),
    ),
    "too-many-bad-files": Mistake(
        _data("s3://datasets/spoilt", maxBadFiles=2),
        "TooManyBadFiles",
        (
            "spec.training.data.maxBadFiles allows 2",
            "0/truncated.png (",
            "1/empty.png (",
            "2/words.png (",
            "Repair or remove them, or raise maxBadFiles",
        ),
    ),
    "out-of-memory": Mistake(
        {"training": {"resources": {"limits": {"memory": "120Mi"}}}},
        "OutOfMemory",
        ("was killed for memory", "raise spec.training.resources.limits.memory"),
    ),
    "disk-full": Mistake(
        {"training": {"epochs": 100_000, "resources": {"limits": {"ephemeral-storage": "1Ki"}}}},
        "DiskFull",
        (
            "used more disk than it may: ",
            "ephemeral local storage",
            "1Ki",
            "raise spec.training.resources.limits.ephemeral-storage",
        ),
    ),
    "unschedulable": Mistake(
        {"training": {"resources": {"requests": {"cpu": 1000}}}},
        "Unschedulable",
        (
            "no node can take pod unschedulable-1-train-",
            "Insufficient cpu",
            "lower cpu under spec.training.resources, or add a larger node",
        ),
    ),
    "image-not-there": Mistake(
        {"serving": {"runtime": "TensorFlowServing"}},
        "ImagePullFailed",
        ("container runtime of pod ", "tensorflow/serving", "check the image's name in the operator's flags"),
    ),
}


# What looks as if it were wrong, and must do all the same.
SOUND: dict[str, Mapping[str, Any]] = {
    "tolerant": _data("s3://datasets/spoilt", maxBadFiles=3),
    "awkward": _data("s3://datasets/awkward-names"),
    "secret-late": {"store": {"credentials": {"secretName": "late"}}},
    "secret-corrected": {"store": {"credentials": {"secretName": "misspelt"}}},
}


@pytest.fixture(scope="module")
def namespace(api: ApiServer, digits_model: Served, s3: ObjectStore) -> Iterator[str]:
    """Where one model serves while all the others go wrong."""
    name = digits_model.namespace
    api.apply(credentials(name, "wrong", s3.access_key, "not the secret key"))
    changes = {model: mistake.change for model, mistake in MISTAKES.items()} | SOUND
    for model, change in changes.items():
        api.apply(quick_model(name, model, change))
    yield name
    for content in api.objects(MODEL, name):
        if content["metadata"]["name"] != digits_model.name:
            api.delete(MODEL, name, content["metadata"]["name"])


@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize(("name", "mistake"), MISTAKES.items(), ids=MISTAKES.keys())
def test_a_mistake_is_named_with_its_remedy(api: ApiServer, namespace: str, name: str, mistake: Mistake) -> None:
    model = api.wait_for(MODEL, namespace, name, is_stalled, "a sentence about what is wrong")

    found = conditions(model)
    assert (found["Stalled"]["reason"], found["Ready"]["status"]) == (mistake.reason, "False"), message(model)
    for words in mistake.says:
        assert words in message(model)
    warning = api.wait_for_warning(namespace, name)
    assert warning["reason"] == mistake.reason
    assert mistake.says[0] in warning["message"]


def test_a_secret_that_comes_later_is_enough(api: ApiServer, namespace: str, s3: ObjectStore) -> None:
    name = "secret-late"
    api.wait_for(MODEL, namespace, name, is_stalled, "a word about the Secret")
    api.apply(credentials(namespace, "late", s3.access_key, s3.secret_key))
    api.wait_for(MODEL, namespace, name, is_ready, "a version that serves")


def test_a_secret_that_the_model_names_rightly_later_is_enough(api: ApiServer, namespace: str) -> None:
    name = "secret-corrected"
    api.wait_for(MODEL, namespace, name, is_stalled, "a word about the Secret")
    api.patch(MODEL, namespace, name, {"spec": {"store": {"credentials": {"secretName": "minio"}}}})
    ready = api.wait_for(MODEL, namespace, name, is_ready, "a version that serves")
    assert ready["status"]["servingVersion"] == 1


def test_a_failed_version_is_tried_again_once_it_is_deleted(api: ApiServer, namespace: str, s3: ObjectStore) -> None:
    name = "wrong-credentials"
    failed = api.wait_for(MODEL, namespace, name, is_stalled, "a failed version")
    assert f"To try again, delete kerasmodelversion {name}-1" in message(failed)
    api.apply(credentials(namespace, "wrong", s3.access_key, s3.secret_key))
    api.delete(VERSION, namespace, f"{name}-1")
    api.wait_for(MODEL, namespace, name, is_ready, "a version that serves")


def test_bad_files_up_to_the_limit_are_counted_and_named(api: ApiServer, namespace: str, s3: ObjectStore) -> None:
    name = "tolerant"
    api.wait_for(MODEL, namespace, name, is_ready, "a version trained on the good files")
    version = api.get(VERSION, namespace, f"{name}-1")
    assert version is not None
    assert version["status"]["badFiles"] == 3
    known = json.loads(s3.read("models", f"{store_prefix(namespace, name)}/.runs/1/metrics.json"))
    assert len(known["badFileNames"]) == 3, known


def test_class_names_with_spaces_and_other_letters(api: ApiServer, namespace: str, s3: ObjectStore) -> None:
    name = "awkward"
    api.wait_for(MODEL, namespace, name, is_ready, "a version that serves")
    manifest = json.loads(s3.read("models", f"{store_prefix(namespace, name)}/.runs/1/manifest.json"))
    assert manifest["classes"] == sorted(image_sets.AWKWARD_CLASSES)
    version = api.get(VERSION, namespace, f"{name}-1")
    assert version is not None
    assert version["status"]["classes"] == 3
