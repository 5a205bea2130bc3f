"""A TFLite file beside the SavedModel: made of it, and held against it."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import pytest
import tensorflow as tf
from keras_operator.api import EvaluationData, RunSpec

from model_store import open_store, read_manifest
from model_trainer import tflite
from model_trainer.failure import ParityFailed

Stage = Callable[..., Any]
Spec = Callable[..., RunSpec]
FILE = "assets.extra/model.tflite"


def answers(path: Path, **inputs: Any) -> dict[str, Any]:
    runner = tf.lite.Interpreter(model_path=str(path)).get_signature_runner("serving_default")
    found: dict[str, Any] = runner(**inputs)
    return found


def listed(store: Path) -> dict[str, str]:
    return {file.path: file.sha256 for file in read_manifest(open_store(store.as_uri()), 1).files}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def export(store: Path, stage: Stage, spec: Spec) -> Callable[..., Any]:
    """Export a source as version 1, with a TFLite file: (path, field=…)."""

    def run(path: Path, **fields: Any) -> Any:
        made = spec(None, store, source=path)
        assert made.source is not None
        source = msgspec.structs.replace(made.source, **{"tflite": True, **fields})
        return stage("export", msgspec.structs.replace(made, source=source))

    return run


def small() -> Any:
    return keras.Sequential(
        [keras.Input((6, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    )


def test_a_training_publishes_it_and_its_checksum(simply_trained: Any, stage: Stage):
    training = msgspec.structs.replace(simply_trained.spec.training, tflite=True)
    ended = stage("export", msgspec.structs.replace(simply_trained.spec, training=training))

    assert ended.code == 0
    path = simply_trained.store / "1" / FILE
    assert listed(simply_trained.store)[FILE] == hashlib.sha256(path.read_bytes()).hexdigest()
    images = np.random.default_rng(0).random((5, 10, 10, 1), dtype=np.float32)
    signature = tf.saved_model.load(str(simply_trained.store / "1")).signatures["serving_default"]
    found = answers(path, images=images)["probabilities"]
    np.testing.assert_allclose(found, signature(images=tf.constant(images))["probabilities"].numpy(), atol=1e-5)


def test_nobody_gets_one_who_does_not_ask(tmp_path: Path, store: Path, export: Any):
    small().save(tmp_path / "model.keras")
    assert export(tmp_path / "model.keras", tflite=False).code == 0
    assert FILE not in listed(store)


@pytest.mark.parametrize("tested", [False, True], ids=["on generated inputs", "on test images"])
def test_a_file_gets_one_compared(tmp_path: Path, store: Path, export: Any, encode_image: Any, tested: bool):
    model = small()
    model.save(tmp_path / "model.keras")
    fields = {}
    if tested:
        for label in range(3):
            (tmp_path / "test" / str(label)).mkdir(parents=True)
            pixels = np.full((6, 8, 3), label * 100, np.uint8)
            (tmp_path / "test" / str(label) / "1.png").write_bytes(encode_image(pixels))
        fields = {"test_data": EvaluationData(uri=(tmp_path / "test").as_uri())}
    assert export(tmp_path / "model.keras", **fields).code == 0
    images = np.random.default_rng(1).random((2, 6, 8, 3), dtype=np.float32)
    found = answers(store / "1" / FILE, images=images)["probabilities"]
    np.testing.assert_allclose(found, np.asarray(model(images)), atol=1e-5)


class Strange(tf.Module):  # type: ignore[misc]
    """A SavedModel that TFLite has no operation for."""

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def inverse(self, x: Any) -> Any:
        return {"y": tf.math.erfinv(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def letters(self, text: Any) -> Any:
        return {"count": tf.strings.length(text)}


@pytest.mark.parametrize(
    ("signature", "told"),
    [
        ("inverse", "the model cannot become a TFLite file: TFLite has no Erfinv."),
        ("letters", "no signature of the model"),
    ],
)
def test_what_cannot_become_one_is_said(tmp_path: Path, store: Path, export: Any, signature: str, told: str):
    module = Strange()
    signatures = {"serving_default": getattr(module, signature)}
    tf.saved_model.save(module, str(tmp_path / "strange"), signatures=signatures)
    ended = export(tmp_path / "strange")
    assert (ended.code, ended.reason) == (65, "BadSavedModel")
    assert f"spec.source.tflite is true, and {told}" in ended.sentence
    assert not (store / "1").exists()


def test_another_answer_publishes_nothing(tmp_path: Path, store: Path, export: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tflite, "TOLERANCE", -1.0)
    small().save(tmp_path / "model.keras")
    ended = export(tmp_path / "model.keras")
    assert (ended.code, ended.reason) == (65, "ParityFailed")
    assert "The TFLite file answers differently from the SavedModel" in ended.sentence
    assert not (store / "1").exists()


def test_another_class_is_another_answer():
    wanted = np.array([[0.50004, 0.49996]], np.float32)
    with pytest.raises(ParityFailed, match="another class in y"):
        tflite._difference("y", wanted[:, ::-1], wanted)
