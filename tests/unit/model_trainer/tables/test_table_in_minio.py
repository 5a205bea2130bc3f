"""A table in real object storage, and a version of it there."""

from pathlib import Path
from typing import Any

import pytest
from keras_operator.api import Table

from benchmarks.training.minio import minio


def test_a_table_in_a_bucket_becomes_a_version_in_another(
    iris: Path, stage: Any, table_spec: Any, monkeypatch: pytest.MonkeyPatch
):
    with minio() as storage:
        for name, value in storage.environment.items():
            monkeypatch.setenv(name, value)
        storage.upload(iris.parent, "datasets")
        run = table_spec(
            "s3://datasets/iris.csv",
            "s3://models/irises",
            Table(target="species", numeric=("petal length (cm)",)),
            endpoint=storage.endpoint,
            epochs=10,
        )
        trained = stage("train", run)
        assert trained.code == 0, trained.message
        exported = stage("export", run)
        assert exported.code == 0, exported.message
    assert exported.result.servable.uri == "s3://models/irises/1"
    assert exported.result.parity <= 1e-5
    assert "serving_default petal%20length%20(cm) float32 [-1]" in exported.result.servable.inputs
