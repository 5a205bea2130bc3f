"""The two kinds as people see them, through kubectl: columns in every state, waiting, scaling, diffs that are empty."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from keras_operator.api import (
    API_VERSION,
    Condition,
    ConditionStatus,
    ConditionType,
    EpochProgress,
    KerasModelStatus,
    KerasModelVersionStatus,
    Phase,
    VersionPhase,
    VersionServable,
)

from tests.cluster.document_tables import RIGHT, VERSION_SPEC
from tests.cluster.kubectl import Kubectl

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
URL = "http://dogs.vision.svc:8501/v1/models/dogs"


@pytest.fixture
def kubectl(cluster_env, crds, namespace) -> Iterator[Kubectl]:
    kubectl = Kubectl(cluster_env, namespace)
    yield kubectl
    kubectl.run("delete", "kerasmodels,kerasmodelversions", "--all", "--wait=false")


class Reporter:
    """Writes statuses as the operator does."""

    def __init__(self, api: Any, namespace: str) -> None:
        self._api = api
        self._root = f"/apis/{API_VERSION}/namespaces/{namespace}"

    def model(self, status: KerasModelStatus) -> None:
        self._write("kerasmodels/dogs", status)

    def version(self, status: KerasModelVersionStatus) -> None:
        self._write("kerasmodelversions/dogs-3", status)

    def _write(self, name: str, status: msgspec.Struct) -> None:
        patch = [{"op": "add", "path": "/status", "value": msgspec.to_builtins(status)}]
        path = f"{self._root}/{name}/status"
        self._api.request("PATCH", path, patch, content_type="application/json-patch+json", fieldManager="operator")


@pytest.fixture
def report(api, namespace) -> Reporter:
    return Reporter(api, namespace)


def model(spec: Any) -> dict[str, Any]:
    """A model that an operator in the cluster leaves alone."""
    document = {"apiVersion": API_VERSION, "kind": "KerasModel", "metadata": {"name": "dogs"}}
    return document | {"spec": spec | {"suspend": True}}


def version() -> dict[str, Any]:
    document = {"apiVersion": API_VERSION, "kind": "KerasModelVersion", "metadata": {"name": "dogs-3"}}
    return document | {"spec": VERSION_SPEC}


def ready(status: ConditionStatus, message: str) -> Condition:
    return Condition(
        type=ConditionType.READY,
        status=status,
        reason="Because",
        message=message,
        last_transition_time=NOW,
        observed_generation=1,
    )


def model_status(phase: Phase, message: str, *, holds: bool = False, **told: Any) -> KerasModelStatus:
    truth = ConditionStatus.TRUE if holds else ConditionStatus.FALSE
    return KerasModelStatus(
        observed_generation=1,
        phase=phase,
        message=message,
        conditions=(ready(truth, message),),
        url=URL,
        **{"replicas": 0} | told,
    )


SERVES: dict[str, Any] = {"serving_version": 3, "latest_version": 4, "accuracy": "0.912", "replicas": 2}
MODEL_ROWS = {
    Phase.PENDING: (
        model_status(Phase.PENDING, "a new version is being created"),
        ["False", "Pending", "", "", "", "0", "a new version is being created"],
    ),
    Phase.TRAINING: (
        model_status(Phase.TRAINING, "version 4: epoch 3/10", progress=EpochProgress(epoch=3, epochs=10), **SERVES),
        ["False", "Training", "3", "4", "0.912", "2", "version 4: epoch 3/10"],
    ),
    Phase.EXPORTING: (
        model_status(Phase.EXPORTING, "version 1 is being exported", latest_version=1, accuracy="0.500"),
        ["False", "Exporting", "", "1", "0.500", "0", "version 1 is being exported"],
    ),
    Phase.DEPLOYING: (
        model_status(Phase.DEPLOYING, "version 4 is being rolled out: 1/2 pods are ready", **SERVES),
        ["False", "Deploying", "3", "4", "0.912", "2", "version 4 is being rolled out: 1/2 pods are ready"],
    ),
    Phase.SERVING: (
        model_status(Phase.SERVING, "version 3 serves on 2/2 pods", holds=True, **SERVES),
        ["True", "Serving", "3", "4", "0.912", "2", "version 3 serves on 2/2 pods"],
    ),
    Phase.REJECTED: (
        model_status(Phase.REJECTED, "version 4 was rejected: accuracy is 0.71", **SERVES),
        ["False", "Rejected", "3", "4", "0.912", "2", "version 4 was rejected: accuracy is 0.71"],
    ),
    Phase.FAILED: (
        model_status(Phase.FAILED, "version 1 failed: the bucket is not there", latest_version=1),
        ["False", "Failed", "", "1", "", "0", "version 1 failed: the bucket is not there"],
    ),
    Phase.SUSPENDED: (
        model_status(Phase.SUSPENDED, "suspended: no version is made", **SERVES),
        ["False", "Suspended", "3", "4", "0.912", "2", "suspended: no version is made"],
    ),
}


def test_every_phase_of_a_model_and_of_a_version_has_a_row_here():
    assert set(MODEL_ROWS) == set(Phase)
    assert set(VERSION_ROWS) == set(VersionPhase)


def test_columns_of_a_model_that_nobody_has_seen(kubectl):
    kubectl.run("apply", "-f", "-", document=model(RIGHT["training"]))

    row = kubectl.row("kerasmodels")

    assert row.pop("AGE").endswith("s")
    assert row == {"NAME": "dogs", **dict.fromkeys(["READY", "PHASE", "SERVING", "LATEST", "ACCURACY", "REPLICAS"], "")}


@pytest.mark.parametrize("phase", Phase)
def test_columns_of_a_model(kubectl, report, phase):
    status, expected = MODEL_ROWS[phase]
    kubectl.run("apply", "-f", "-", document=model(RIGHT["training"]))
    report.model(status)

    row = kubectl.row("kerasmodels", "-o", "wide")

    columns = ["READY", "PHASE", "SERVING", "LATEST", "ACCURACY", "REPLICAS", "MESSAGE"]
    assert [row[column] for column in columns] == expected
    assert row["URL"] == URL
    assert list(kubectl.row("kerasmodels")) == ["NAME", *columns[:-1], "AGE"]


def version_status(phase: VersionPhase, message: str, **told: Any) -> KerasModelVersionStatus:
    truth = ConditionStatus.TRUE if phase is VersionPhase.PUBLISHED else ConditionStatus.FALSE
    return KerasModelVersionStatus(
        observed_generation=1, phase=phase, message=message, conditions=(ready(truth, message),), **told
    )


MEASURED: dict[str, Any] = {"metrics": {"accuracy": "0.912", "loss": "0.31"}}
VERSION_ROWS = {
    VersionPhase.PENDING: (version_status(VersionPhase.PENDING, "suspended"), ["Pending", "", "", "suspended"]),
    VersionPhase.TRAINING: (
        version_status(VersionPhase.TRAINING, "is being trained"),
        ["Training", "", "", "is being trained"],
    ),
    VersionPhase.EXPORTING: (
        version_status(VersionPhase.EXPORTING, "is being exported", **MEASURED),
        ["Exporting", "0.912", "", "is being exported"],
    ),
    VersionPhase.PUBLISHED: (
        version_status(
            VersionPhase.PUBLISHED,
            "is published",
            servable=VersionServable(uri="s3://models/dogs/3", digest="sha256:0", bytes=3_000_000_000),
            **MEASURED,
        ),
        ["Published", "0.912", "3000000000", "is published"],
    ),
    VersionPhase.REJECTED: (
        version_status(VersionPhase.REJECTED, "accuracy is 0.71", metrics={"accuracy": "0.71"}),
        ["Rejected", "0.71", "", "accuracy is 0.71"],
    ),
    VersionPhase.FAILED: (
        version_status(VersionPhase.FAILED, "the bucket is not there"),
        ["Failed", "", "", "the bucket is not there"],
    ),
}


@pytest.mark.parametrize("phase", VersionPhase)
def test_columns_of_a_version(kubectl, report, phase):
    status, expected = VERSION_ROWS[phase]
    kubectl.run("apply", "-f", "-", document=version())
    report.version(status)

    row = kubectl.row("kerasmodelversions", "-o", "wide")

    assert [row[column] for column in ("PHASE", "ACCURACY", "BYTES", "MESSAGE")] == expected
    assert (row["MODEL"], row["WHY"]) == ("dogs", VERSION_SPEC["reason"])
    assert list(kubectl.row("kerasmodelversions")) == ["NAME", "PHASE", "ACCURACY", "AGE"]


def test_short_names_and_the_category_all(kubectl):
    kubectl.run("apply", "-f", "-", document=model(RIGHT["training"]))
    kubectl.run("apply", "-f", "-", document=version())

    names = {word: kubectl.run("get", word, "-o", "name").stdout for word in ("km", "kmodel", "kmv", "all")}

    assert "kerasmodel.keras-operator.dev/dogs\n" == names["km"] == names["kmodel"]
    assert names["kmv"] == "kerasmodelversion.keras-operator.dev/dogs-3\n"
    assert names["km"] in names["all"]


def test_wait_ends_when_the_model_is_ready(kubectl, report):
    kubectl.run("apply", "-f", "-", document=model(RIGHT["training"]))
    report.model(MODEL_ROWS[Phase.DEPLOYING][0])
    waiting = kubectl.start("wait", "--for=condition=Ready", "kerasmodel/dogs", "--timeout=60s")
    assert kubectl.run("wait", "--for=condition=Ready", "km/dogs", "--timeout=0s", may_fail=True).returncode != 0
    assert waiting.poll() is None

    report.model(MODEL_ROWS[Phase.SERVING][0])

    said, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, said) == (0, "kerasmodel.keras-operator.dev/dogs condition met\n")


def test_wait_ends_when_a_phase_or_a_version_is_reached(kubectl, report):
    kubectl.run("apply", "-f", "-", document=model(RIGHT["training"]))
    kubectl.run("apply", "-f", "-", document=version())
    report.model(MODEL_ROWS[Phase.SERVING][0])
    report.version(VERSION_ROWS[VersionPhase.PUBLISHED][0])

    kubectl.run("wait", "--for=jsonpath={.status.phase}=Serving", "km/dogs", "--timeout=10s")
    kubectl.run("wait", "--for=condition=Ready", "kmv/dogs-3", "--timeout=10s")


def test_scale(kubectl, report):
    kubectl.run("apply", "-f", "-", document=model(RIGHT["training"]))
    report.model(MODEL_ROWS[Phase.SERVING][0])

    kubectl.run("scale", "kerasmodel/dogs", "--current-replicas=1", "--replicas=4")

    assert kubectl.run("get", "km/dogs", "-o", "jsonpath={.spec.serving.replicas}").stdout == "4"
    assert kubectl.run("get", "km/dogs", "--subresource=scale", "-o", "jsonpath={.status.replicas}").stdout == "2"


@pytest.mark.parametrize(
    ("document", "replicas", "sentence"),
    [
        ("training", "0", "spec.serving.replicas in body should be greater than or equal to 1"),
        ("training", "1001", "spec.serving.replicas in body should be less than or equal to 1000"),
        ("autoscaling with a CPU limit alone", "3", "replicas and autoscaling are both written: remove autoscaling"),
    ],
)
def test_scale_says_why_not(kubectl, document, replicas, sentence):
    kubectl.run("apply", "-f", "-", document=model(RIGHT[document]))

    refused = kubectl.run("scale", "kerasmodel/dogs", f"--replicas={replicas}", may_fail=True)

    assert refused.returncode != 0
    assert sentence in refused.stderr


def differs(kubectl: Kubectl, document: dict[str, Any], *how: str) -> str:
    """What `kubectl diff` shows; nothing where nothing differs."""
    done = kubectl.run("diff", *how, "-f", "-", document=document, may_fail=True)
    assert done.returncode in {0, 1}, done.stderr
    assert (done.returncode == 0) == (done.stdout == "")
    return done.stdout


@pytest.mark.parametrize("how", [[], ["--server-side"]], ids=["client-side", "server-side"])
@pytest.mark.parametrize("spec", [RIGHT["training"], RIGHT["everything"]], ids=["short", "everything"])
def test_nothing_differs_after_apply_for_ever(kubectl, report, spec, how):
    """Neither what the server fills in, nor what the operator reports, nor `kubectl scale` is a difference."""
    document = model(spec)

    def difference() -> str:
        return differs(kubectl, document, *how)

    kubectl.run("apply", *how, "-f", "-", document=document)
    assert difference() == ""
    for phase in (Phase.TRAINING, Phase.SERVING, Phase.FAILED):
        report.model(msgspec.structs.replace(MODEL_ROWS[phase][0], latest_version=4))
        assert difference() == "", phase
    if "autoscaling" not in spec.get("serving", {}):
        kubectl.run("scale", "kerasmodel/dogs", "--replicas=4")
    assert difference() == ""
    kubectl.run("apply", *how, "-f", "-", document=document)
    assert difference() == ""


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_nothing_differs_after_an_example_is_applied(kubectl, file):
    documents = list(yaml.safe_load_all(file.read_text()))
    for document in documents:
        document["spec"]["suspend"] = True
        kubectl.run("apply", "-f", "-", document=document)
        assert differs(kubectl, document) == ""


def test_what_does_differ_is_shown(kubectl):
    kubectl.run("apply", "-f", "-", document=model(RIGHT["training"]))
    changed = model(RIGHT["training"] | {"serving": {"replicas": 2}})

    assert "+    replicas: 2" in differs(kubectl, changed)


def test_crds_are_applied_by_plain_kubectl(kubectl):
    """Client-side apply keeps a copy of the object in an annotation, which may have 262,144 bytes."""
    crds = str(Path(__file__).parents[2] / "crds")
    kubectl.run("apply", "--dry-run=server", "-k", crds)


def test_explain_tells_what_a_field_is_for(kubectl):
    said = kubectl.run("explain", "kerasmodel.spec.training.activeDeadlineSeconds").stdout

    assert "Seconds, from 60 to 2592000 (30 days)" in said
    assert "Example: 3600. Default: 86400." in " ".join(said.split())
