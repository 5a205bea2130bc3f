"""The main roads of records: read, train, export, publish."""

import json
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from model_trainer import warmup
from model_trainer.samples import Samples
from tests.unit.model_trainer.conftest import encode
from tests.unit.model_trainer.tfrecord.conftest import digits, images, record_spec, write


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def test_images_become_a_version_as_files_do(trained_images: Any, stage: Any):
    assert trained_images.ended.code == 0, trained_images.ended.message
    result = trained_images.ended.result
    assert (result.classes, result.images.test) == (10, 100)
    samples = Samples.load(trained_images.run / "samples.npz")
    pixels, _ = digits()
    assert samples.files[0] == encode(pixels[300]), "the bytes that stand in the record"
    exported = stage("export", trained_images.spec)
    assert exported.code == 0, exported.message
    assert exported.result.parity <= 1e-5
    assert exported.result.servable.signatures == ("serving_bytes", "serving_classify", "serving_default")
    papers = trained_images.store / "1" / "assets.extra"
    assert load(papers / "classes.json") == [f"digit {n}" for n in range(10)]
    card = load(papers / "data-card.json")
    assert (card["images"], card["imageShape"]) == (400, [10, 10, 1])
    parts = load(trained_images.run / "split.json")
    assert parts["test"][3]["key"] == "digits.tfrecord:3"


def test_rows_become_a_version_that_takes_each_feature_by_its_name(trained_rows: Any, stage: Any):
    assert trained_rows.ended.code == 0, trained_rows.ended.message
    assert trained_rows.ended.result.metrics["accuracy"] >= 0.6
    exported = stage("export", trained_rows.spec)
    assert exported.code == 0, exported.message
    assert exported.result.parity <= 1e-5
    assert exported.result.servable.signatures == ("serving_classify", "serving_default")
    for said in ("hand string [-1]", "ink float32 [-1]", "pixels float32 [-1,64]"):
        assert any(said in each for each in exported.result.servable.inputs)
    loaded = tf.saved_model.load(str(trained_rows.store / "1"))
    pixels, labels = digits()
    rows = {
        "pixels": tf.constant(pixels[:50].reshape(50, -1) / 255.0, tf.float32),
        "ink": tf.constant(pixels[:50].sum(axis=(1, 2)), tf.float32),
        "hand": tf.constant(["hand 1"] * 49 + ["nobody knows"]),
    }
    answers = loaded.signatures["serving_default"](**rows)["probabilities"].numpy()
    assert (answers.argmax(axis=1) == labels[:50]).mean() >= 0.7
    (_, inputs), *_ = warmup.read_warmup(trained_rows.store / "1")
    assert inputs["pixels"].shape == (1, 64)
    papers = trained_rows.store / "1" / "assets.extra"
    columns = {each["name"]: each for each in load(papers / "data-card.json")["columns"]}
    assert (columns["pixels"]["least"], columns["pixels"]["greatest"]) == (0, 1)
    assert columns["ink"]["least"] > 1000
    assert "hand hand 1, ink " in (papers / "report.html").read_text()


@pytest.mark.parametrize("stays", [20, 21], ids=["in the middle of a record", "in the middle of the next"])
def test_a_user_s_mistake_is_not_tried_again(tmp_path: Path, stage: Any, stays: int):
    path = write(tmp_path / "a.tfrecord", images())
    data = path.read_bytes()
    path.write_bytes(data[: stays * len(data) // 40 + 30])
    ended = stage("train", record_spec(path, tmp_path / "store", data={}))
    assert (ended.code, ended.reason) == (65, "BadData")
    assert ended.sentence.endswith("it is cut off. Write it again, or upload it again.")
    assert not (tmp_path / "store" / ".runs" / "1" / "model.keras").exists()
