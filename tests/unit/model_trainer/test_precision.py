"""Mixed precision is of the training alone: 16 bits while it learns, 32 in everything that it leaves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_operator.api import ArchitectureName, Data, MixedPrecision, RunSpec, Training

from model_trainer.architectures import build
from model_trainer.compiling import compile_for
from model_trainer.precision import answer_in_full, built_for, compute_in_full

IMAGES = np.random.default_rng(0).random((6, 32, 32, 3), np.float32)
LABELS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]


def mixed(name: ArchitectureName, precision: MixedPrecision) -> Any:
    with built_for(precision):
        model = build(name, (32, 32, 3), 3)
    answer_in_full(model)
    compile_for(Training(data=Data(uri="s3://x/y"), mixed_precision=precision), model, 10)
    return model


def precisions(model: Any) -> set[str]:
    return {layer.compute_dtype for layer in model._flatten_layers()}


@pytest.mark.parametrize("name", [ArchitectureName.SMALL_CNN, ArchitectureName.MOBILENET_V2])
def test_layers_compute_in_16_bits_and_weights_and_answers_have_32(name: ArchitectureName):
    model = mixed(name, MixedPrecision.MIXED_FLOAT16)
    first = keras.Model(model.input, model.layers[1].output)
    assert first(IMAGES).dtype == "float16"
    assert model(IMAGES).dtype == "float32"
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32", "what is built afterwards is as ever"


@pytest.mark.parametrize("precision", MixedPrecision)
def test_a_loss_is_scaled_where_16_bits_would_lose_small_gradients(precision: MixedPrecision):
    optimizer = mixed(ArchitectureName.SIMPLE_CNN, precision).optimizer
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (precision is MixedPrecision.MIXED_FLOAT16)


def test_layers_with_a_policy_of_their_own_keep_it():
    with built_for(MixedPrecision.MIXED_BFLOAT16):
        layers = [keras.layers.Dense(2), keras.layers.Dense(2, dtype="float32")]
    assert [layer.compute_dtype for layer in layers] == ["bfloat16", "float32"]


@pytest.mark.parametrize("precision", MixedPrecision)
def test_a_trained_network_computes_in_32_bits_from_then_on(precision: MixedPrecision, tmp_path: Path):
    model = mixed(ArchitectureName.SIMPLE_CNN, precision)
    model.fit(IMAGES, LABELS, verbose=0)
    in_16_bits = model.predict_on_batch(IMAGES)
    compute_in_full(model)
    answers = model.predict_on_batch(IMAGES)
    assert precisions(model) == {"float32"}
    assert np.abs(answers - in_16_bits).max() > 1e-7, "the rounding of 16 bits is gone"
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert precisions(loaded) == {"float32"}
    assert np.array_equal(loaded.predict_on_batch(IMAGES), answers)
    assert len(loaded.optimizer.variables) == len(model.optimizer.variables)
    assert float(loaded.optimizer.iterations) == 1


def test_what_was_trained_in_16_bits_is_published_and_compared_as_ever(
    few_digits: Path, tmp_path: Path, stage: Callable[[str, RunSpec], Any], spec: Callable[..., RunSpec]
):
    run = spec(few_digits, tmp_path / "store", epochs=2, mixed_precision=MixedPrecision.MIXED_FLOAT16)
    ended = stage("train", run)
    assert ended.code == 0
    kept = keras.models.load_model(tmp_path / "store/.runs/1/model.keras")
    assert precisions(kept) == {"float32"}
    published = stage("export", run)
    assert published.code == 0
    assert published.result.parity <= 1e-5
