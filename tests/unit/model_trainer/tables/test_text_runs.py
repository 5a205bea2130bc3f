"""The main road of free text: train, export, publish, and ask the servable with what people write."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import pytest
import tensorflow as tf
from keras_operator.api import EarlyStopping, Gate, Metric, MixedPrecision, Monitor, Optimizer, Table, TargetKind

from model_store import open_store, read_manifest
from model_trainer import warmup
from model_trainer.tables.columns import Column, Kind
from model_trainer.tables.samples import RowSamples
from tests.unit.model_trainer.conftest import Trained, run_stage
from tests.unit.model_trainer.tables.conftest import Ask, serving, spec_of, write

FEATURES = (
    Column("review", Kind.TEXT),
    Column("shop", Kind.CATEGORICAL),
    Column("price", Kind.NUMERIC),
)
_FILLING = ["the", "film", "was", "it", "a", "book,", "that", "we", "have", "seen", "and", "read", "in", "town"]
_LIKED = {"yes": ["Great!", "lovely,", "SUPERB"], "no": ["awful", "Dull...", "broken!"]}
_KNOWN = 40


def reviews(count: int) -> list[list[Any]]:
    """Whether something was liked: by one of six words, if there is any, among others and a word that no other has."""
    chance = random.Random(count)
    rows: list[list[Any]] = [["review", "shop", "price", "liked"]]
    for number in range(count):
        liked = chance.choice(["yes", "no", "silent"])
        said = [] if liked == "silent" else [*chance.choices(_FILLING, k=chance.randrange(12)), f"word{number}"]
        if said:
            said.insert(chance.randrange(len(said)), chance.choice(_LIKED[liked]))
        rows.append([" ".join(said), chance.choice(["Ulm", "Bonn"]), chance.randrange(100), liked])
    return rows


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """An MLP on 400 reviews; costs some seconds, once."""
    folder = tmp_path_factory.mktemp("reviews")
    run = spec_of(
        write(folder / "reviews.csv", reviews(400)),
        folder / "store",
        Table(target="liked", text=("review",), max_tokens=_KNOWN, sequence_length=20),
        epochs=15,
        optimizer=Optimizer(learning_rate=0.02),
        deterministic=True,
    )
    trained = Trained(folder / "store", run, run_stage("train", run, folder))
    assert trained.ended.code == 0, trained.ended.message
    return trained


@pytest.fixture(scope="module")
def exported(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Any:
    ended = run_stage("export", trained.spec, tmp_path_factory.mktemp("exported-reviews"))
    assert ended.code == 0, ended.message
    return ended


@pytest.fixture(scope="module")
def served(trained: Trained, exported: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    assert exported.code == 0
    with serving(trained.store, tmp_path_factory.mktemp("review-server") / "log") as ask:
        yield ask


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_an_mlp_learns_what_texts_mean(trained: Trained):
    assert trained.ended.result.metrics["accuracy"] >= 0.9
    record = read(trained.run / "metrics.json")
    assert record["columns"] == [{"name": column.name, "kind": column.kind} for column in FEATURES]


def test_what_is_published_answers_as_the_trained_model_did(trained: Trained, exported: Any):
    assert 0 <= exported.result.parity <= 1e-5
    assert exported.result.servable.signatures == ("serving_classify", "serving_default")
    samples = RowSamples.load(trained.run / "samples.npz", FEATURES)
    assert any(b"word" in cell for cell in samples.cells[0])
    assert b"" in samples.cells[0].tolist()
    for name in ("model.keras", "model.h5"):
        model = keras.models.load_model(trained.run / name, compile=False)
        answers = model.predict_on_batch([tf.constant(cells) for cells in samples.cells])
        assert np.allclose(answers, samples.answers, atol=1e-5), name
    manifest = read_manifest(open_store(trained.store.as_uri()), 1)
    assert manifest.signatures["serving_default"]["inputs"]["review"] == {"dtype": "string", "shape": [-1]}
    requests = list(warmup.read_warmup(trained.store / "1"))
    assert [(name, inputs["review"].dtype, inputs["review"].shape[0]) for name, inputs in requests] == [
        ("serving_default", tf.string, 1),
        ("serving_default", tf.string, 4),
    ]


def test_card_and_report_say_what_was_read(trained: Trained, exported: Any):
    assert exported.code == 0
    extra = trained.store / "1" / "assets.extra"
    review, shop, _ = read(extra / "data-card.json")["columns"]
    assert (review["kind"], review["words"], shop["kind"]) == ("text", _KNOWN, "categorical")
    assert 0 < review["text"]["unknown"] < review["text"]["unknownElsewhere"] < 0.5
    assert review["text"]["empty"] > 50
    page = (extra / "report.html").read_text()
    assert "<td>review</td><td>text</td>" in page
    assert f"{_KNOWN} words known: " in page
    assert "without a word" in page


def test_texts_as_json_are_answered(served: Ask):
    rows = [
        {"review": "A GREAT film!", "shop": "Ulm", "price": 20},
        {"review": "awful. That was   awful", "shop": "Oslo", "price": 20},
        {"review": "", "shop": "Bonn", "price": 20},
        {"review": " ...", "shop": "Bonn", "price": 20},
    ]
    status, answer = served(":predict", {"instances": rows})
    assert status == 200, answer
    names = ["no", "silent", "yes"]
    assert [names[int(np.argmax(row))] for row in answer["predictions"]] == ["yes", "no", "silent", "silent"]
    floats = [{**row, "price": 20.0} for row in rows]
    status, told = served(":classify", {"signature_name": "serving_classify", "examples": floats})
    assert status == 200, told
    assert [max(row, key=lambda one: one[1])[0] for row in told["results"]] == ["yes", "no", "silent", "silent"]


def test_texts_without_a_known_word_and_of_any_bytes_are_answered_and_a_missing_one_is_not(served: Ask):
    long = "lovely " * 20 + "awful " * 10_000
    strange = [{"b64": "/w=="}, "日本", "nobody wrote these", long]
    rows = [{"review": text, "shop": "Ulm", "price": 1} for text in strange]
    status, answer = served(":predict", {"instances": rows})
    assert status == 200, answer
    assert [sum(row) for row in answer["predictions"]] == pytest.approx([1] * 4, abs=1e-4)
    assert int(np.argmax(answer["predictions"][3])) == 2, "nothing after sequenceLength words is read"
    status, answer = served(":predict", {"instances": [{"shop": "Ulm", "price": 1}]})
    assert (status, "review" in answer["error"]) == (400, True)
    status, answer = served(":predict", {"instances": [{"review": 7, "shop": "Ulm", "price": 1}]})
    assert status == 400


def test_a_run_of_texts_can_be_repeated_and_its_version_compared(trained: Trained, tmp_path: Path, stage: Any):
    again = msgspec.structs.replace(trained.spec, number=2, serving=1)
    ended = stage("train", again)
    assert ended.code == 0, ended.message
    history = read(trained.run / "history.json")
    assert read(trained.store / ".runs" / "2" / "history.json") == history
    assert ended.result.comparison.metrics["accuracy"] == trained.ended.result.metrics["accuracy"]


def test_gates_hold_for_texts(trained: Trained, tmp_path: Path, stage: Any):
    gates = (Gate(metric=Metric.RECALL, of_class="silent", min=0.9), Gate(metric=Metric.LATENCY_MS, max=0.0))
    shutil.copytree(trained.run, tmp_path / "store" / ".runs" / "1", ignore=shutil.ignore_patterns("manifest.json"))
    store = msgspec.structs.replace(trained.spec.store, uri=(tmp_path / "store").as_uri())
    ended = stage("export", msgspec.structs.replace(trained.spec, gates=gates, store=store))
    assert (ended.code, ended.result.servable) == (0, None)
    assert ended.result.metrics["recall of silent"] >= 0.9


def test_a_number_is_learned_from_texts_alone_with_mixed_precision(tmp_path: Path, stage: Any):
    stars = {"yes": 4.5, "no": 1.5, "silent": 3.0}
    header, *rows = reviews(300)
    data = write(tmp_path / "stars.csv", [header, *([*row[:3], stars[row[3]]] for row in rows)])
    run = spec_of(
        data,
        tmp_path / "store",
        Table(target="liked", target_kind=TargetKind.NUMERIC, text=("review",), ignored=("shop", "price")),
        epochs=15,
        optimizer=Optimizer(learning_rate=0.02),
        early_stopping=EarlyStopping(monitor=Monitor.VAL_MAE, patience=5),
        mixed_precision=MixedPrecision.MIXED_BFLOAT16,
    )
    trained = stage("train", run)
    assert trained.code == 0, trained.message
    assert trained.result.metrics["r2"] >= 0.6
    exported = stage("export", run)
    assert exported.code == 0, exported.message
    assert 0 <= exported.result.parity <= 1e-5
