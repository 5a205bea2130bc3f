"""A training starts from the weights of a file or of an earlier version; only the last layer may be another."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras_operator.api import ArchitectureName, InitialWeights, RunSpec

from model_trainer.architectures import build
from model_trainer.context import Context
from model_trainer.failure import BadModelFile, RunFailure
from model_trainer.weights import start_from

from . import keras_two

Stage = Callable[..., Any]
Spec = Callable[..., RunSpec]


def network(classes: int = 10, side: int = 10, channels: int = 1) -> Any:
    return build(ArchitectureName.SIMPLE_CNN, (side, side, channels), classes)


@pytest.fixture
def start(tmp_path: Path, context: Context, spec: Spec) -> Callable[..., str]:
    """Start a network from a file or folder; returns what is said of it."""

    def run(path: Path, model: Any) -> str:
        start_from(InitialWeights(uri=path.as_uri()), model, spec(tmp_path, tmp_path / "store"), context)
        return context.board.progress.message

    return run


def saved_by_keras_2(folder: Path, classes: int, ending: str) -> tuple[Any, Path]:
    model, path = keras_two.simple_cnn(classes=classes), folder / f"old{ending}"
    if ending.endswith("weights.h5"):
        model.save_weights(path)
    elif ending:
        model.save(path)
    else:
        model.save(path, save_format="tf")
    return model, path


ENDINGS = [".h5", ".keras", ".weights.h5", "-weights.h5", ""]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_kind_of_file_of_keras_2_gives_its_weights(tmp_path: Path, start: Any, ending: str):
    theirs, path = saved_by_keras_2(tmp_path, 10, ending)
    ours = network()
    assert start(path, ours) == f"every layer begins with the weights of {path.as_uri()}"
    images = np.random.default_rng(0).random((3, 10, 10, 1), dtype=np.float32)
    np.testing.assert_allclose(np.asarray(ours(images)), keras_two.answers(theirs, images), atol=1e-6)


@pytest.mark.parametrize("ending", ENDINGS)
def test_another_number_of_classes_replaces_only_the_last_layer(tmp_path: Path, start: Any, ending: str):
    theirs, path = saved_by_keras_2(tmp_path, 10, ending)
    ours = network(classes=4)
    before = [np.array(weight) for weight in ours.weights]
    said = start(path, ours)
    assert said.startswith(f"every layer but the last begins with the weights of {path.as_uri()}; probabilities begins")
    if ending != ".weights.h5":
        assert said.endswith("because they are for 10 classes and the data has 4")
    for mine, old in zip(ours.weights[:-2], theirs.weights[:-2], strict=True):
        np.testing.assert_array_equal(np.asarray(mine), old.numpy())
    for mine, old in zip(ours.weights[-2:], before[-2:], strict=True):
        np.testing.assert_array_equal(np.asarray(mine), old)


@pytest.mark.parametrize("ending", [".h5", ".keras", ".weights.h5", ""])
def test_files_of_keras_3_give_their_weights(tmp_path: Path, start: Any, ending: str):
    theirs, ours, path = network(), network(), tmp_path / f"new{ending}"
    if ending == ".weights.h5":
        theirs.save_weights(path)
    elif ending:
        theirs.save(path)
    else:
        theirs.export(path, verbose=False)
    assert "every layer begins" in start(path, ours)
    for mine, old in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(old))


def test_a_network_within_the_network_is_taken_over_too(tmp_path: Path, start: Any):
    import tf_keras

    inner = tf_keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3))
    pooled = tf_keras.layers.GlobalAveragePooling2D()
    theirs = tf_keras.Sequential([inner, pooled, tf_keras.layers.Dense(7, activation="softmax")])
    random = np.random.default_rng(0)
    theirs.set_weights([random.random(weight.shape) for weight in theirs.get_weights()])
    theirs.save(tmp_path / "dogs.h5")
    ours = build(ArchitectureName.MOBILENET_V2, (32, 32, 3), 3)
    assert "for 7 classes and the data has 3" in start(tmp_path / "dogs.h5", ours)
    by_name = {weight.name.partition(":")[0]: weight.numpy() for weight in inner.weights}
    mine = {weight.path: np.asarray(weight) for weight in ours.weights}
    for name in ("Conv1/kernel", "bn_Conv1/moving_mean", "block_5_depthwise_BN/gamma", "Conv_1_bn/moving_variance"):
        np.testing.assert_array_equal(mine[name], by_name[name].astype(np.float32))


def deeper(side: int = 10) -> Any:
    layers = [keras.Input((side, side, 1)), *(keras.layers.Conv2D(32, 3, activation="relu") for _ in range(2))]
    return keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(10)])


OTHERS = {
    "another network": (deeper, "its layer conv2d", "32 x 32, and layer conv2d"),
    "colours": (lambda: network(channels=3), "3 x 3 x 3 x 32, and layer conv2d", "3 x 3 x 1 x 32"),
    "another size": (lambda: network(side=20), "its layer probabilities has an array of", "and layer probabilities an"),
}


@pytest.mark.parametrize(("other", "found", "wanted"), OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_the_first_layer_that_differs_is_named(tmp_path, start, other, found, wanted, ending):
    other().save(tmp_path / f"other{ending}")
    with pytest.raises(RunFailure) as caught:
        start(tmp_path / f"other{ending}", network())
    assert "are those of another network than SimpleCNN: " in str(caught.value)
    assert found in str(caught.value)
    assert wanted in str(caught.value)


def test_numbered_weights_of_another_network_are_refused(tmp_path: Path, start: Any):
    deeper().save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(RunFailure, match="it has nothing that fits layer conv2d"):
        start(tmp_path / "other.weights.h5", network())


def longer(path: Path) -> None:
    theirs = keras.Sequential([keras.Input((10, 10, 1)), *network().layers, keras.layers.Dense(2)])
    theirs.save_weights(path) if path.name.endswith(".weights.h5") else theirs.save(path)


@pytest.mark.parametrize("name", ["longer.h5", "longer.weights.h5"])
def test_a_network_that_goes_on_is_another_one(tmp_path: Path, start: Any, name: str):
    longer(tmp_path / name)
    with pytest.raises(RunFailure, match=r"it has (a layer more, dense|8 arrays of weights, and the network takes 6)"):
        start(tmp_path / name, network())


def not_numbers(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        arrays: list[Any] = []
        file.visititems(lambda _, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
        arrays[0][...] = np.nan


@pytest.mark.parametrize("name", ["spoilt.h5", "spoilt.weights.h5"])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, start: Any, name: str):
    network().save_weights(tmp_path / name) if "weights" in name else network().save(tmp_path / name)
    not_numbers(tmp_path / name)
    with pytest.raises(RunFailure, match="are no numbers"):
        start(tmp_path / name, network())


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "half of it": lambda data: data[: len(data) // 2],
    "zero bytes": lambda data: b"",
    "a web page": lambda data: b"<!DOCTYPE html>",
}


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("name", ["old.h5", "old.keras", "old.weights.h5"])
def test_a_damaged_file_is_named_in_a_sentence(tmp_path: Path, start: Any, name: str, damage: str):
    path = tmp_path / name
    network().save_weights(path) if "weights" in name else network().save(path)
    path.write_bytes(DAMAGED[damage](path.read_bytes()))
    with pytest.raises(BadModelFile, match=re.escape(path.as_uri())):
        start(path, network())


def test_a_foreign_class_is_not_run_for_its_weights(tmp_path: Path, start: Any):
    @keras.saving.register_keras_serializable("team")
    class Nothing(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            assert not tmp_path.joinpath("saved").exists(), "it was built for its weights"

        def call(self, x: Any) -> Any:
            return x

    theirs = keras.Sequential([Nothing(), *network().layers])
    theirs.build((None, 10, 10, 1))
    theirs.save(tmp_path / "team.keras")
    (tmp_path / "saved").touch()
    ours = network()
    assert "every layer begins" in start(tmp_path / "team.keras", ours)
    np.testing.assert_array_equal(np.asarray(ours.weights[0]), np.asarray(theirs.weights[0]))


def test_an_earlier_version_is_trained_on(
    tmp_path: Path, few_digits: Path, simply_trained: Any, stage: Stage, spec: Spec
):
    store = simply_trained.store
    for label in range(4, 10):
        shutil.rmtree(few_digits / str(label))
    again = spec(few_digits, store, number=2, owner="uid-2", initial_weights=InitialWeights(version=1))
    ended = stage("train", again)
    assert ended.code == 0
    assert ended.result.classes == 4
    before = keras.models.load_model(store / ".runs/1/model.keras")
    after = keras.models.load_model(store / ".runs/2/model.keras")
    moved = float(np.abs(np.asarray(before.weights[0]) - np.asarray(after.weights[0])).max())
    assert moved < 0.05, "a few steps from where version 1 ended, not from another random start"


def test_a_version_without_a_trained_model_is_named(tmp_path: Path, few_digits: Path, stage: Stage, spec: Spec):
    ended = stage("train", spec(few_digits, tmp_path / "store", number=2, initial_weights=InitialWeights(version=1)))
    assert (ended.code, ended.reason) == (65, "BadModelFile")
    assert ended.sentence.startswith("Version 1 has no trained model under file://")


def test_a_file_that_is_not_there_is_named(tmp_path: Path, few_digits: Path, stage: Stage, spec: Spec):
    missing = (tmp_path / "dogs.h5").as_uri()
    ended = stage("train", spec(few_digits, tmp_path / "store", initial_weights=InitialWeights(uri=missing)))
    assert ended.sentence == (
        f"There is no file {missing}. Correct spec.training.initialWeights.uri, or upload the file."
    )
