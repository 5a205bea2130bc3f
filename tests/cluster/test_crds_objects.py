"""Objects of the two kinds on a real API server: defaults, what may change, status, scale, columns, documentation."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from keras_operator.api import (
    API_VERSION,
    KERAS_MODEL,
    KERAS_MODEL_VERSION,
    Condition,
    ConditionStatus,
    ConditionType,
    EpochProgress,
    GateResult,
    ImageCounts,
    KerasModelStatus,
    KerasModelVersionSpec,
    KerasModelVersionStatus,
    Kind,
    Metric,
    Phase,
    Reason,
    VersionPhase,
    VersionServable,
    decode_model,
    decode_version,
    inputs_hash,
)
from keras_operator.api.status import UNSEEN

from tests.cluster.document_tables import RIGHT

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


class Objects:
    """Objects of one kind in one namespace."""

    def __init__(self, api: Any, namespace: str, kind: Kind) -> None:
        self.api = api
        self.path = f"/apis/{API_VERSION}/namespaces/{namespace}/{kind.plural}"
        self.kind = kind.name

    def apply(self, name: str, spec: Any, **query: str) -> dict[str, Any]:
        """Server-side apply, as kubectl and GitOps tools do it."""
        return self._apply(f"{self.path}/{name}", name, {"spec": spec}, **query)

    def report(self, name: str, status: msgspec.Struct) -> dict[str, Any]:
        """Server-side apply of the status, as the operator does it."""
        return self._apply(f"{self.path}/{name}/status", name, {"status": msgspec.to_builtins(status)})

    def _apply(self, path: str, name: str, change: Any, **query: str) -> dict[str, Any]:
        body = {"apiVersion": API_VERSION, "kind": self.kind, "metadata": {"name": name}} | change
        answer: dict[str, Any] = self.api.apply(path, body, **query)
        return answer

    def get(self, name: str = "", **options: str) -> dict[str, Any]:
        """One object or, without a name, the list."""
        answer: dict[str, Any] = self.api.request("GET", f"{self.path}/{name}".rstrip("/"), **options)
        return answer

    def scale(self, name: str, replicas: int) -> None:
        """What `kubectl scale` does."""
        change = {"spec": {"replicas": replicas}}
        self.api.request("PATCH", f"{self.path}/{name}/scale", change, content_type="application/merge-patch+json")

    def delete_all(self) -> None:
        """Remove whatever a test has left."""
        self.api.request("DELETE", self.path)


@pytest.fixture
def models(api, crds, namespace) -> Iterator[Objects]:
    models = Objects(api, namespace, KERAS_MODEL)
    yield models
    models.delete_all()


@pytest.fixture
def versions(api, crds, namespace) -> Iterator[Objects]:
    versions = Objects(api, namespace, KERAS_MODEL_VERSION)
    yield versions
    versions.delete_all()


def suspended(spec: dict[str, Any]) -> dict[str, Any]:
    """So that an operator in the cluster leaves the object alone."""
    return spec | {"suspend": True}


def version_spec() -> dict[str, Any]:
    model = decode_model(RIGHT["everything"])
    spec = KerasModelVersionSpec(
        model_name="dogs",
        number=3,
        inputs_hash=inputs_hash(model),
        reason="first version",
        training=model.training,
        store=model.store,
    )
    written: dict[str, Any] = msgspec.to_builtins(spec)
    return written


def condition(kind: ConditionType) -> Condition:
    return Condition(
        type=kind,
        status=ConditionStatus.TRUE,
        reason=Reason.SERVING,
        message="version 3 serves on 2/2 pods",
        last_transition_time=NOW,
        observed_generation=1,
    )


@pytest.mark.parametrize("kind", [KERAS_MODEL, KERAS_MODEL_VERSION], ids=lambda kind: kind.name)
def test_schema_is_structural(crds, kind):
    conditions = {one["type"]: one["status"] for one in crds[kind.name]["status"]["conditions"]}

    assert conditions["NamesAccepted"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("spec", RIGHT.values(), ids=RIGHT)
def test_defaults_of_the_server_are_those_of_the_types(models, spec):
    stored = models.apply("defaults", spec, dryRun="All")["spec"]

    assert decode_model(stored) == decode_model(spec)
    assert inputs_hash(decode_model(stored)) == inputs_hash(decode_model(spec))


def test_server_writes_what_was_left_out(models):
    assert models.apply("defaults", RIGHT["training"], dryRun="All")["spec"] == {
        "training": {
            "data": {
                "uri": "s3://datasets/dogs",
                "format": "ImageFolder",
                "imageSize": [224, 224],
                "colorMode": "rgb",
                "validationFraction": 0.2,
                "testFraction": 0.1,
                "maxBadFiles": 100,
            },
            "architecture": {"name": "SmallCNN", "weights": "none"},
            "optimizer": {"name": "adam", "learningRate": 0.001},
            "labelSmoothing": 0,
            "tflite": False,
            "checkpoint": {"everySeconds": 300},
            "deterministic": False,
            "workers": 1,
            "gpusPerWorker": 0,
            "epochs": 10,
            "batchSize": 32,
            "seed": 42,
            "augmentation": {
                "rotation": 0,
                "widthShift": 0,
                "heightShift": 0,
                "shear": 0,
                "zoom": 0,
                "horizontalFlip": False,
                "verticalFlip": False,
                "channelShift": 0,
                "contrast": 0,
                "fillMode": "nearest",
                "fillValue": 0,
                "cutout": 0,
                "mixup": 0,
                "cutmix": 0,
            },
            "activeDeadlineSeconds": 86400,
        },
        "store": {"uri": "s3://models/dogs"},
        "serving": {
            "runtime": "KerasServer",
            "replicas": 1,
            "maxRequestSeconds": 30,
            "rollout": {"strategy": "Rolling", "signatureChange": "Deny"},
        },
        "suspend": False,
    }


def test_optional_parts_have_defaults_of_their_own(models):
    spec = RIGHT["training"] | {
        "training": RIGHT["training"]["training"] | {"earlyStopping": {}},
        "serving": {"autoscaling": {}, "batching": {}, "resources": {"requests": {"cpu": 1}}},
    }
    stored = models.apply("defaults", spec, dryRun="All")["spec"]

    assert stored["training"]["earlyStopping"] == {
        "monitor": "val_loss",
        "patience": 3,
        "minDelta": 0,
        "restoreBestWeights": True,
    }
    assert stored["serving"]["autoscaling"] == {"minReplicas": 1, "maxReplicas": 5}
    assert stored["serving"]["batching"] == {"maxBatchSize": 64, "timeoutMicros": 2000}
    data = RIGHT["training"]["training"]["data"] | {"format": "TFRecord", "records": {"classes": ["beagle"]}}
    of_records = RIGHT["training"] | {"training": RIGHT["training"]["training"] | {"data": data}}
    assert models.apply("records", of_records, dryRun="All")["spec"]["training"]["data"]["records"] == {
        "image": "image/encoded",
        "label": "image/class/label",
        "classes": ["beagle"],
    }
    source = RIGHT["source"]["source"] | {"testData": {"uri": "s3://datasets/dogs", "labels": {}}}
    brought = models.apply("brought", RIGHT["source"] | {"source": source}, dryRun="All")["spec"]
    assert brought["source"]["testData"] == {
        "uri": "s3://datasets/dogs",
        "format": "ImageFolder",
        "labels": {"file": "labels.csv", "fileColumn": "file", "classColumn": "class"},
        "maxBadFiles": 100,
    }
    records = {"testData": {"uri": "s3://datasets/dogs", "format": "TFRecord", "records": {"label": "kind"}}}
    brought = models.apply("packed", RIGHT["source"] | {"source": source | records}, dryRun="All")["spec"]
    assert brought["source"]["testData"]["records"] == {"image": "image/encoded", "label": "kind"}
    table = {"testData": {"uri": "s3://datasets/dogs", "format": "CSV", "table": {"target": "breed"}}}
    brought = models.apply("tabled", RIGHT["source"] | {"source": source | table}, dryRun="All")["spec"]
    assert brought["source"]["testData"]["table"] == {"target": "breed", "targetKind": "categorical"}


def test_store_cannot_move(models):
    models.apply("dogs", suspended(RIGHT["training"]))

    with pytest.raises(Exception, match="cannot be changed, because published versions live there"):
        models.apply("dogs", suspended(RIGHT["training"] | {"store": {"uri": "s3://models/elsewhere"}}))


def test_everything_else_of_a_model_may_change(models):
    models.apply("dogs", suspended(RIGHT["training"]))
    changed = RIGHT["everything"] | {"store": RIGHT["everything"]["store"] | RIGHT["training"]["store"]}

    assert models.apply("dogs", suspended(changed))["metadata"]["generation"] == 2
    assert models.apply("dogs", suspended(RIGHT["source"]))["metadata"]["generation"] == 3


def test_version_never_changes(versions):
    versions.apply("dogs-3", version_spec())

    for change in ({"reason": "another"}, {"inputsHash": "f" * 16}, {"store": {"uri": "s3://models/elsewhere"}}):
        with pytest.raises(Exception, match="a version never changes: change the KerasModel"):
            versions.apply("dogs-3", version_spec() | change)


def test_version_written_twice_is_the_same(versions):
    versions.apply("dogs-3", version_spec())
    first = versions.report("dogs-3", KerasModelVersionStatus(observed_generation=1))
    again = versions.apply("dogs-3", version_spec())

    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert decode_version(again["spec"]) == decode_version(version_spec())


def test_what_the_operator_has_not_seen_says_so_until_it_has(models, versions):
    """Tools that wait compare it with metadata.generation, and take an object without it for done."""
    models.apply("dogs", suspended(RIGHT["source"]))
    versions.apply("dogs-3", version_spec())
    assert models.get("dogs")["status"] == versions.get("dogs-3")["status"] == UNSEEN

    models.report("dogs", KerasModelStatus(observed_generation=1, phase=Phase.PENDING))
    assert models.get("dogs")["status"] == {"observedGeneration": 1, "phase": "Pending"}


def test_status_of_a_model_comes_back_as_it_was_written(models):
    models.apply("dogs", suspended(RIGHT["training"]))
    status = KerasModelStatus(
        observed_generation=1,
        phase=Phase.SERVING,
        message="version 3 serves on 2/2 pods",
        conditions=(condition(ConditionType.READY), condition(ConditionType.AVAILABLE)),
        latest_version=4,
        serving_version=3,
        accuracy="0.912",
        mae="43.7",
        replicas=2,
        selector="keras-operator.dev/model=dogs",
        url="http://dogs.vision.svc:8501/v1/models/dogs",
        progress=EpochProgress(epoch=3, epochs=10, seconds_left=240),
    )
    stored = models.report("dogs", status)

    assert msgspec.convert(stored["status"], KerasModelStatus) == status
    assert stored["metadata"]["generation"] == 1


def test_status_of_a_version_comes_back_as_it_was_written(versions):
    versions.apply("dogs-3", version_spec())
    status = KerasModelVersionStatus(
        observed_generation=1,
        phase=VersionPhase.PUBLISHED,
        message="published 31 MB",
        conditions=(condition(ConditionType.PUBLISHED),),
        metrics={"accuracy": "0.912", "val_loss": "0.31"},
        servable=VersionServable(
            uri="s3://models/dogs/3", digest=f"sha256:{'0' * 64}", bytes=3_000_000_000, signatures=("serving_default",)
        ),
        images=ImageCounts(train=700, validation=200, test=100),
        bad_files=2,
        classes=10,
        parity="2.4e-07",
        gates=(GateResult(metric=Metric.ACCURACY, bound=">= 0.85", value="0.912", met=True),),
        times={"started": NOW, "epoch1": NOW},
        started_at=NOW,
        finished_at=NOW,
        next_number=5,
    )

    assert msgspec.convert(versions.report("dogs-3", status)["status"], KerasModelVersionStatus) == status


def test_two_conditions_of_one_type_are_refused(models):
    models.apply("dogs", suspended(RIGHT["training"]))

    with pytest.raises(Exception, match="duplicate entries for key"):
        models.report("dogs", KerasModelStatus(conditions=(condition(ConditionType.READY),) * 2))


def test_scale_reads_and_sets_the_replicas(models):
    models.apply("dogs", suspended(RIGHT["training"]))
    models.report("dogs", KerasModelStatus(replicas=1, selector="keras-operator.dev/model=dogs"))
    read = models.get("dogs/scale")

    assert (read["spec"]["replicas"], read["status"]["replicas"]) == (1, 1)
    assert read["status"]["selector"] == "keras-operator.dev/model=dogs"

    models.scale("dogs", 4)

    assert models.get("dogs")["spec"]["serving"]["replicas"] == 4


def test_scale_does_not_fight_autoscaling(models):
    models.apply("dogs", suspended(RIGHT["autoscaling with a CPU limit alone"]))

    with pytest.raises(Exception, match="replicas and autoscaling are both written: remove autoscaling"):
        models.scale("dogs", 4)


def table(objects: Objects) -> tuple[list[tuple[str, int]], list[Any]]:
    """(column, priority) and the first row, as `kubectl get` is given them."""
    answer = objects.get(accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    columns = [(column["name"].upper(), column["priority"]) for column in answer["columnDefinitions"]]
    return columns, answer["rows"][0]["cells"]


def test_columns_answer_at_a_glance(models):
    models.apply("dogs", suspended(RIGHT["training"]))
    models.report(
        "dogs",
        KerasModelStatus(
            phase=Phase.TRAINING,
            message="epoch 3/10",
            conditions=(condition(ConditionType.READY),),
            latest_version=4,
            serving_version=3,
            accuracy="0.912",
            mae="43.7",
            replicas=2,
            url="http://dogs:8501/v1/models/dogs",
        ),
    )
    columns, row = table(models)

    shown = ["NAME", "READY", "PHASE", "SERVING", "LATEST", "ACCURACY", "REPLICAS", "AGE"]
    assert columns == [(name, 0) for name in shown] + [("MESSAGE", 1), ("URL", 1), ("MAE", 1)]
    assert row[:7] == ["dogs", "True", "Training", 3, 4, "0.912", 2]
    assert row[8:] == ["epoch 3/10", "http://dogs:8501/v1/models/dogs", "43.7"]


def test_columns_of_a_version(versions):
    versions.apply("dogs-3", version_spec())
    versions.report("dogs-3", KerasModelVersionStatus(phase=VersionPhase.REJECTED, metrics={"accuracy": "0.71"}))
    columns, row = table(versions)

    assert [name for name, priority in columns if not priority] == ["NAME", "PHASE", "ACCURACY", "AGE"]
    assert row[:3] == ["dogs-3", "Rejected", "0.71"]


def test_columns_of_a_version_that_learned_a_number(versions):
    versions.apply("dogs-3", version_spec())
    versions.report("dogs-3", KerasModelVersionStatus(metrics={"mae": "43.7131", "r2": "0.4"}))
    columns, row = table(versions)

    told = dict(zip((name for name, _ in columns), row, strict=True))
    assert (told["ACCURACY"], told["MAE"]) == (None, "43.7131")


def test_versions_are_found_by_their_model(versions):
    versions.apply("dogs-3", version_spec())

    found = versions.get(fieldSelector="spec.modelName=dogs")
    other = versions.get(fieldSelector="spec.modelName=cats")

    assert ([one["metadata"]["name"] for one in found["items"]], other["items"]) == (["dogs-3"], [])


def test_short_names_and_category(crds):
    names = crds["KerasModel"]["spec"]["names"]

    assert (names["shortNames"], names["categories"]) == (["km", "kmodel"], ["all"])
    assert crds["KerasModelVersion"]["spec"]["names"]["shortNames"] == ["kmv"]
