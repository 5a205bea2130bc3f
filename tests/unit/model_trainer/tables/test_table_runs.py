"""The main road of a table: train, export, publish, and ask the servable with rows as people write them."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import pytest
import tensorflow as tf
from keras_operator.api import ClassWeights, Gate, Metric, MixedPrecision, Optimizer, Table
from tensorflow.core.protobuf import saved_model_pb2

from model_store import open_store, read_manifest
from model_trainer import warmup
from model_trainer.tables.columns import Column, Kind
from model_trainer.tables.samples import RowSamples

FEATURES = (
    Column("age", Kind.NUMERIC),
    Column("town", Kind.CATEGORICAL),
    Column("shoe size (EU)", Kind.NUMERIC),
)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_an_mlp_learns_who_is_at_home_where(trained_people: Any):
    result = trained_people.ended.result
    assert (trained_people.ended.code, result.ok, result.error) == (0, True, None)
    assert result.metrics["accuracy"] >= 0.9
    assert result.classes == 4
    assert result.images.train + result.images.validation + result.images.test == 600
    record = read(trained_people.run / "metrics.json")
    assert record["classes"] == ["Aare", "Danube", "Rhine", "nowhere"]
    assert record["columns"] == [{"name": column.name, "kind": column.kind} for column in FEATURES]


def test_a_version_of_a_table_has_every_paper(trained_people: Any, exported_people: Any):
    assert exported_people.code == 0
    names = {path.name for path in trained_people.run.iterdir()}
    assert names >= {"model.keras", "model.h5", "evaluation.json", "split.json", "samples.npz", "data-card.json"}
    card = read(trained_people.store / "1" / "assets.extra" / "data-card.json")
    assert (card["rows"], card["files"], card["ignoredColumns"]) == (600, 1, ["number"])
    age, town, _ = card["columns"]
    assert (age["name"], age["kind"], age["least"] >= 18, age["greatest"] < 90) == ("age", "numeric", True, True)
    assert (town["words"], set(town["common"])) == (4, {"Köln", "Bonn", "Ulm", "Bern, BE"})
    manifest = read_manifest(open_store(trained_people.store.as_uri()), 1)
    assert manifest.lineage["data"] == f"sha256:{card['sha256']}" == trained_people.ended.result.data_hash
    assert manifest.image_size is None


def test_the_report_of_a_table_shows_columns_and_rows_and_no_picture(trained_people: Any, exported_people: Any):
    assert exported_people.code == 0
    page = (trained_people.store / "1" / "assets.extra" / "report.html").read_text()
    assert f"{trained_people.ended.result.metrics['accuracy']:.1%}" in page
    assert "test rows that training never saw" in page
    assert "<td>town</td><td>categorical</td>" in page
    assert "<img" not in page
    assert "images" not in page.partition("<body")[2].partition("How to train it again")[0]


def test_what_is_published_answers_as_the_trained_model_did(trained_people: Any, exported_people: Any):
    assert 0 <= exported_people.result.parity <= 1e-5
    assert exported_people.result.servable.signatures == ("serving_classify", "serving_default")
    samples = RowSamples.load(trained_people.run / "samples.npz", FEATURES)
    for name in ("model.keras", "model.h5"):
        model = keras.models.load_model(trained_people.run / name, compile=False)
        answers = model.predict_on_batch([tf.constant(cells) for cells in samples.cells])
        assert np.allclose(answers, samples.answers, atol=1e-5), name
    manifest = read_manifest(open_store(trained_people.store.as_uri()), 1)
    assert manifest.signatures["serving_default"]["inputs"] == {
        "age": {"dtype": "float32", "shape": [-1]},
        "town": {"dtype": "string", "shape": [-1]},
        "shoe size (EU)": {"dtype": "float32", "shape": [-1]},
    }
    saved = saved_model_pb2.SavedModel.FromString((trained_people.store / "1" / "saved_model.pb").read_bytes())
    methods = {name: one.method_name for name, one in saved.meta_graphs[0].signature_def.items()}
    assert methods["serving_classify"] == "tensorflow/serving/classify"


def test_warm_up_records_of_a_table_are_rows(trained_people: Any, exported_people: Any):
    assert exported_people.code == 0
    requests = list(warmup.read_warmup(trained_people.store / "1"))
    assert [(name, sorted(inputs), inputs["age"].shape[0]) for name, inputs in requests] == [
        ("serving_default", ["age", "shoe size (EU)", "town"], 1),
        ("serving_default", ["age", "shoe size (EU)", "town"], 4),
    ]


def test_rows_as_json_are_answered(served_people: Any):
    rows: list[dict[str, Any]] = [
        {"age": 30, "town": "Ulm", "shoe size (EU)": 41.5},
        {"age": 30, "town": "Köln", "shoe size (EU)": 41.5},
        {"age": 85, "town": "Ulm", "shoe size (EU)": 41.5},
    ]
    status, answer = served_people(":predict", {"instances": rows})
    assert status == 200, answer
    names = ["Aare", "Danube", "Rhine", "nowhere"]
    assert [names[int(np.argmax(row))] for row in answer["predictions"]] == ["Danube", "Rhine", "nowhere"]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert np.allclose(served_people(":predict", {"inputs": columns})[1]["outputs"], answer["predictions"], atol=1e-6)
    floats = [{**row, "age": float(row["age"])} for row in rows]
    status, told = served_people(":classify", {"signature_name": "serving_classify", "examples": floats})
    assert status == 200, told
    assert [max(row, key=lambda one: one[1])[0] for row in told["results"]] == ["Danube", "Rhine", "nowhere"]


def test_a_word_that_training_never_saw_is_answered_and_a_missing_column_is_not(served_people: Any):
    status, answer = served_people(":predict", {"instances": [{"age": 30, "town": "Oslo", "shoe size (EU)": 41}]})
    assert status == 200
    assert sum(answer["predictions"][0]) == pytest.approx(1, abs=1e-4)
    status, answer = served_people(":predict", {"instances": [{"age": 30, "town": "Ulm"}]})
    assert (status, "shoe size (EU)" in answer["error"]) == (400, True)


def test_irises_in_gzip_with_balanced_weights_and_mixed_precision_through_a_linear_model(
    iris: Path, tmp_path: Path, stage: Any, table_spec: Any
):
    packed = tmp_path / "iris.csv.gz"
    packed.write_bytes(gzip.compress(iris.read_bytes()))
    run = table_spec(
        packed,
        tmp_path / "store",
        Table(target="species"),
        network={"hidden_units": ()},
        epochs=20,
        optimizer=Optimizer(learning_rate=0.05),
        mixed_precision=MixedPrecision.MIXED_BFLOAT16,
        data={"class_weights": ClassWeights.BALANCED},
    )
    trained = stage("train", run)
    assert (trained.code, trained.result.classes) == (0, 3)
    assert trained.result.metrics["accuracy"] >= 0.8
    assert stage("export", run).code == 0


def test_the_serving_version_is_measured_on_the_new_rows(
    trained_people: Any, tmp_path: Path, stage: Any, table_spec: Any, write_table: Any, of_people: Any
):
    store = tmp_path / "store"
    shutil.copytree(trained_people.store, store)
    data = write_table(tmp_path / "people.csv", of_people(700))
    ignored = Table(target="at home", ignored=("number",))
    new = stage("train", table_spec(data, store, ignored, number=2, serving=1, epochs=1))
    assert new.code == 0, new.message
    assert new.result.comparison.metrics["accuracy"] >= 0.9 > new.result.metrics["accuracy"]
    other = stage(
        "train", table_spec(data, store, Table(target="at home", ignored=("number", "age")), number=3, serving=1)
    )
    assert other.result.comparison.problem == (
        "it takes the columns age (numeric), town (categorical), shoe size (EU) (numeric), and these are the columns "
        "town (categorical), shoe size (EU) (numeric)"
    )


def test_gates_of_classes_and_servable_hold_for_tables(trained_people: Any, tmp_path: Path, stage: Any):
    gates = (
        Gate(metric=Metric.RECALL, of_class="Rhine", min=0.5),
        Gate(metric=Metric.LATENCY_MS, max=0.0),
    )
    run = msgspec.structs.replace(trained_people.spec, number=1, gates=gates)
    store = tmp_path / "store"
    shutil.copytree(trained_people.store / ".runs", store / ".runs")
    (store / ".runs" / "1" / "manifest.json").unlink(missing_ok=True)
    run = msgspec.structs.replace(run, store=msgspec.structs.replace(run.store, uri=store.as_uri()))
    ended = stage("export", run)
    assert (ended.code, ended.result.servable) == (0, None)
    assert ended.result.metrics["recall of Rhine"] >= 0.5
    assert ended.result.metrics["latency_ms"] > 0
