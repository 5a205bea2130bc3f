"""One YAML document becomes a trained, evaluated, exported and served model."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from benchmarks.demo.digits import Digit
from benchmarks.demo.kubectl import Kubectl
from tests.e2e import image_sets, predictions
from tests.e2e.api_server import MODEL, VERSION, ApiServer, Object
from tests.e2e.conftest import Served
from tests.e2e.models import service_address, store_prefix
from tests.e2e.object_store import ObjectStore

GOOD_ENOUGH = 0.95


@pytest.fixture(scope="module")
def never_seen() -> Sequence[Digit]:
    """The digits that no trainer has seen."""
    return image_sets.known_and_held_out()[1]


@pytest.fixture(scope="module")
def version(api: ApiServer, digits_model: Served) -> Object:
    """The model's first version."""
    found = api.get(VERSION, digits_model.namespace, f"{digits_model.name}-1")
    assert found is not None
    return found


def test_every_phase_is_told_once_and_in_order(digits_model: Served) -> None:
    phases = [phase for phase, _ in digits_model.told]
    assert list(dict.fromkeys(phases)) == ["Pending", "Training", "Exporting", "Deploying", "Serving"]
    assert phases == sorted(phases, key=list(dict.fromkeys(phases)).index), "a phase came back"


def test_training_tells_its_epochs_and_its_accuracy(digits_model: Served) -> None:
    told = [message for phase, message in digits_model.told if phase == "Training"]
    assert any(re.search(r"epoch \d+/15( · step \d+/\d+)? · accuracy [01]\.\d\d", message) for message in told), told


def test_answers_are_right_for_images_as_floats(digits_model: Served, never_seen: Sequence[Digit]) -> None:
    found = predictions.by_floats(digits_model.url, never_seen)
    assert predictions.accuracy(found, never_seen) >= GOOD_ENOUGH


def test_answers_are_right_for_png_files(digits_model: Served, never_seen: Sequence[Digit]) -> None:
    found = predictions.by_files(digits_model.url, never_seen)
    assert predictions.accuracy(found, never_seen) >= GOOD_ENOUGH
    assert found == predictions.by_floats(digits_model.url, never_seen), "both ways in must lead to the same answer"


def test_answers_are_right_over_grpc(api: ApiServer, digits_model: Served, never_seen: Sequence[Digit]) -> None:
    target = service_address(api, digits_model.namespace, digits_model.name, "grpc")
    found, number = predictions.by_grpc(target, digits_model.name, never_seen)
    assert predictions.accuracy(found, never_seen) >= GOOD_ENOUGH
    assert number == 1


def test_the_status_page_says_available(digits_model: Served) -> None:
    (version,) = predictions.ask(digits_model.url)["model_version_status"]
    assert (version["version"], version["state"]) == ("1", "AVAILABLE")


def test_kubectl_get_says_it_at_a_glance(kubectl: Kubectl, digits_model: Served) -> None:
    header, row = kubectl.run("get", "kerasmodels", digits_model.name, "-n", digits_model.namespace).splitlines()
    assert header.split() == ["NAME", "READY", "PHASE", "SERVING", "LATEST", "ACCURACY", "REPLICAS", "AGE"]
    cells = row.split()
    assert cells[:5] == [digits_model.name, "True", "Serving", "1", "1"]
    assert 0.95 <= float(cells[5]) <= 1
    assert cells[6] == "1"
    wide = kubectl.run("get", "km", digits_model.name, "-n", digits_model.namespace, "-o", "wide")
    assert "version 1 serves on 1/1 pods" in wide
    assert f"http://digits.{digits_model.namespace}.svc:8501/v1/models/digits" in wide


def test_children_belong_to_the_model(api: ApiServer, digits_model: Served, version: Object) -> None:
    namespace, name = digits_model.namespace, digits_model.name
    model = api.get(MODEL, namespace, name)
    assert model is not None
    wanted = {(kind, name): model for kind in ("ServiceAccount", "Deployment", "Service", "NetworkPolicy")}
    wanted |= {(VERSION, "digits-1"): model, ("Job", "digits-1-train"): version, ("Job", "digits-1-export"): version}
    for (kind, child_name), owner in wanted.items():
        child = api.get(kind, namespace, child_name)
        assert child is not None, f"there is no {kind} {child_name}"
        (reference,) = child["metadata"]["ownerReferences"]
        assert (reference["uid"], reference["controller"]) == (owner["metadata"]["uid"], True), f"{kind} {child_name}"
    for kind in ("HorizontalPodAutoscaler", "PodDisruptionBudget"):
        assert api.get(kind, namespace, name) is None, f"one pod needs no {kind}"


def test_the_version_tells_what_it_is(s3: ObjectStore, digits_model: Served, version: Object) -> None:
    status = version["status"]
    assert status["phase"] == "Published"
    assert float(status["metrics"]["accuracy"]) >= GOOD_ENOUGH
    assert {"accuracy", "loss", "val_accuracy", "val_loss"} <= status["metrics"].keys()
    assert status["gates"] == [
        {"metric": "accuracy", "bound": ">= 0.95", "value": status["metrics"]["accuracy"], "met": True}
    ]
    known, _ = image_sets.known_and_held_out()
    assert sum(status["images"].values()) <= len(known)
    assert min(status["images"].values()) > 0
    assert (status["classes"], status.get("badFiles", 0)) == (10, 0)
    prefix = store_prefix(digits_model.namespace, digits_model.name)
    servable = status["servable"]
    assert servable["uri"] == f"s3://models/{prefix}/1"
    assert sorted(servable["signatures"]) == ["serving_bytes", "serving_classify", "serving_default"]
    files = s3.listing("models", f"{prefix}/1")
    assert sum(files.values()) == servable["bytes"]
    assert f"{prefix}/1/saved_model.pb" in files
    assert f"{prefix}/1/assets.extra/tf_serving_warmup_requests" in files
    assert float(status["parity"]) < 1e-3
    reached = ["trainJobCreated", "dataReady", "epoch1", "epoch15", "trained", "evaluated", "saved"]
    reached += ["exportJobCreated", "loaded", "exported", "verified", "published"]
    times = [status["times"][event] for event in reached]
    assert times == sorted(times)


def test_nothing_of_kopf_is_on_any_object(api: ApiServer, digits_model: Served) -> None:
    for content in api.everything(digits_model.namespace):
        metadata = content["metadata"]
        where = f"{content['kind']} {metadata['name']}"
        # The Job controller's own, by which it counts pods.
        foreign = set(metadata.get("finalizers", [])) - {"batch.kubernetes.io/job-tracking"}
        assert not foreign, f"{where} has a finalizer: {foreign}"
        assert not any("kopf" in key for key in metadata.get("annotations", {})), f"{where} has an annotation of kopf"


def test_kubectl_wait_works(kubectl: Kubectl, digits_model: Served) -> None:
    words = ("wait", "--for=condition=Ready", f"kerasmodel/{digits_model.name}", "-n", digits_model.namespace)
    assert "condition met" in kubectl.run(*words, "--timeout=5s")


def test_kubectl_explain_reads_well(kubectl: Kubectl, digits_model: Served) -> None:
    text = kubectl.run("explain", "kerasmodel.spec", "--recursive")
    for field in ("training", "imageSize", "earlyStopping", "gates", "secretName", "autoscaling"):
        assert field in text
    assert "Folder in S3 that holds one folder of images" in kubectl.run("explain", "kerasmodel.spec.training.data.uri")
