"""A .h5 or .keras file that somebody else trained becomes a servable without any training."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import msgspec
import numpy as np
import pytest
import tensorflow as tf
from keras_operator.api import RunSpec
from PIL import Image

from model_store import open_store, read_manifest
from model_trainer import keras_files, source

from . import keras_two

Stage = Callable[..., Any]
Spec = Callable[..., RunSpec]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def export(store: Path, stage: Stage, spec: Spec) -> Callable[..., Any]:
    """Export a file as version 1: (path, classes=…, pixel_range=…, allow_code=…)."""

    def run(path: Path, **fields: Any) -> Any:
        run = spec(None, store, source=path)
        assert run.source is not None
        return stage("export", msgspec.structs.replace(run, source=msgspec.structs.replace(run.source, **fields)))

    return run


def ask(store: Path, signature: str, **inputs: Any) -> Any:
    signatures = tf.saved_model.load(str(store / "1")).signatures
    return signatures[signature](**{name: tf.constant(values) for name, values in inputs.items()})


def png(pixels: Any) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def small_keras_3() -> Any:
    layers = [keras.Input((6, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    return keras.Sequential(layers)


def test_a_keras_2_h5_is_published_with_both_signatures(tmp_path: Path, store: Path, export: Any):
    model = keras_two.simple_cnn()
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    ended = export(keras_two.saved(model, tmp_path / "old" / "digits.h5"), classes=names)

    signatures = ("serving_bytes", "serving_classify", "serving_default")
    assert (ended.code, ended.result.servable.signatures) == (0, signatures)
    assert 0 <= ended.result.parity < 1e-4
    assert ended.result.classes == 10
    pixels = np.arange(100, dtype=np.uint8).reshape(10, 10)
    images = pixels[None, :, :, None].astype(np.float32) / 255
    expected = keras_two.answers(model, images)
    found = ask(store, "serving_default", images=images)["probabilities"].numpy()
    of_file = ask(store, "serving_bytes", image_bytes=[png(pixels)])["probabilities"].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(of_file, expected, atol=1e-5)
    manifest = read_manifest(open_store(store.as_uri()), 1)
    assert (manifest.classes, manifest.image_size, manifest.keras_version) == (list(names), [10, 10], "2.21.0")
    assert json.loads((store / "1/assets.extra/classes.json").read_text()) == list(names)


def test_what_only_keras_2_can_read_is_read_by_it(tmp_path: Path, store: Path, export: Any):
    model = keras_two.transfer()
    path = keras_two.saved(model, tmp_path / "dogs.h5")
    with pytest.raises((ValueError, TypeError)):
        keras.models.load_model(path, compile=False)

    ended = export(path, pixel_range=(0.0, 255.0))

    assert ended.code == 0
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    found = ask(store, "serving_bytes", image_bytes=[png(pixels)])["probabilities"].numpy()
    np.testing.assert_allclose(found, keras_two.answers(model, pixels[None].astype(np.float32)), atol=1e-4)


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "really_an_archive.h5"])
def test_a_file_of_keras_3_is_published_whatever_its_name(tmp_path: Path, store: Path, export: Any, name: str):
    model = small_keras_3()
    model.save(tmp_path / ("model.h5" if name == "model.h5" else "model.keras"))
    if name == "really_an_archive.h5":
        (tmp_path / "model.keras").rename(tmp_path / name)

    assert export(tmp_path / name).code == 0

    images = np.random.default_rng(0).random((2, 6, 8, 3), dtype=np.float32)
    found = ask(store, "serving_default", images=images)["probabilities"].numpy()
    np.testing.assert_allclose(found, np.asarray(model(images)), atol=1e-5)


def test_a_model_of_several_inputs_keeps_their_names(tmp_path: Path, store: Path, export: Any):
    model = keras_two.sequence()
    ended = export(keras_two.saved(model, tmp_path / "prices.h5"))

    assert (ended.code, ended.result.servable.signatures) == (0, ("serving_default",))
    words, numbers = np.ones((2, 6), np.int32), np.ones((2, 4), np.float32)
    found = ask(store, "serving_default", words=words, numbers=numbers)
    price, kind = model([words, numbers])
    np.testing.assert_allclose(found["price"].numpy(), price, atol=1e-5)
    np.testing.assert_allclose(found["kind"].numpy(), kind, atol=1e-5)


@pytest.mark.parametrize("ending", ["h5", "keras"])
def test_a_lambda_layer_runs_only_where_that_is_allowed(tmp_path: Path, store: Path, export: Any, ending: str):
    model = keras_two.with_lambda()
    path = keras_two.saved(model, tmp_path / f"dogs.{ending}")

    refused = export(path)
    assert (refused.code, refused.reason) == (65, "BadModelFile")
    assert "its layer twice is a Lambda layer" in refused.sentence
    assert "If you trust who made it, write spec.source.allowCode: true" in refused.sentence
    assert not (store / "1").exists()

    assert export(path, allow_code=True).code == 0
    row = np.ones((1, 4), np.float32)
    (found,) = ask(store, "serving_default", **{next(iter(signature_inputs(store))): row}).values()
    np.testing.assert_allclose(found.numpy(), keras_two.answers(model, row), atol=1e-5)


def signature_inputs(store: Path) -> list[str]:
    return list(read_manifest(open_store(store.as_uri()), 1).signatures["serving_default"]["inputs"])


def edited_config(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        edit(config)
        file.attrs["model_config"] = json.dumps(config)


def test_a_call_of_tensorflow_that_does_more_than_compute_is_refused(tmp_path: Path, export: Any):
    path = keras_two.saved(keras_two.transfer(), tmp_path / "dogs.h5")

    def write_a_file(config: dict[str, Any]) -> None:
        call = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "TFOpLambda")
        call["config"]["function"] = "io.write_file"

    edited_config(path, write_a_file)
    ended = export(path)
    assert (ended.code, ended.reason) == (65, "BadModelFile")
    assert "is a call of tf.io.write_file, which does more than compute" in ended.sentence


def test_a_class_of_the_teams_own_is_named(tmp_path: Path, export: Any):
    @keras.saving.register_keras_serializable("team")
    class Swirl(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

    keras.Sequential([keras.Input((4,)), Swirl(name="swirl"), keras.layers.Dense(2)]).save(tmp_path / "dogs.keras")
    ended = export(tmp_path / "dogs.keras", allow_code=True)
    assert (ended.code, ended.reason) == (65, "BadModelFile")
    assert "its layer swirl is of the class" in ended.sentence
    assert "Swirl, which Keras does not have. Where the class is known, export a SavedModel" in ended.sentence


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def weights_only(path: Path) -> None:
    keras_two.simple_cnn().save_weights(path)


def no_numbers(path: Path) -> None:
    model = keras_two.simple_cnn()
    weights = model.get_weights()
    weights[1][0] = np.nan
    model.set_weights(weights)
    model.save(path)


def linked(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")


def from_a_file_of_this_machine(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.create_dataset("secret", (10,), "u1", external=[("/etc/hostname", 0, 10)])


def enormous(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.create_dataset("zeros", (2**40,), "u1", chunks=(2**20,), compression="gzip")


WRONG = {
    "half of it": (cut, "is a damaged HDF5 file ("),
    "zero bytes": (lambda path: path.write_bytes(b""), "is empty. Upload it again."),
    "a web page": (lambda path: path.write_bytes(b"<!DOCTYPE html>"), "but HTML or XML, such as the page of a failed"),
    "a pickle": (lambda path: path.write_bytes(b"\x80\x04\x95"), "a Python pickle, which is never read because"),
    "a Git LFS pointer": (
        lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
        "but a Git LFS pointer: upload the file that it stands for",
    ),
    "weights alone": (weights_only, "holds weights alone and not the model that they belong to"),
    "weights that are no numbers": (no_numbers, "are no numbers (NaN or infinite), first in"),
    "a link": (linked, "has a link at /elsewhere, and Keras writes none"),
    "data of another file": (from_a_file_of_this_machine, "takes /secret from another file"),
    "an HDF5 bomb": (enormous, "bytes, more than the 21,474,836,480 that are read"),
    "no JSON": (lambda path: h5py.File(path, "r+").attrs.__setitem__("model_config", "{"), "is built cannot be read ("),
}


@pytest.mark.parametrize(("spoil", "told"), WRONG.values(), ids=WRONG)
def test_a_bad_h5_is_named_in_a_sentence(
    tmp_path: Path, store: Path, export: Any, spoil: Callable[[Path], Any], told: str
):
    path = keras_two.saved(keras_two.simple_cnn(), tmp_path / "digits.h5")
    spoil(path)
    ended = export(path)
    assert (ended.code, ended.reason) == (65, "BadModelFile")
    assert path.as_uri() in ended.sentence
    assert told in ended.sentence
    assert not (store / "1").exists()


def archive(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)


ARCHIVES = {
    "half of it": (cut, "is a damaged Keras archive ("),
    "another archive": (lambda path: archive(path, {"a.txt": b"1"}), "is a ZIP archive and no Keras archive"),
    "out of the folder": (lambda path: archive(path, {"../x": b"1"}), "has a member '../x' that leads out of it"),
    "a pickle within": (lambda path: archive(path, {"model.weights.npz": b""}), "which may hold code"),
}


@pytest.mark.parametrize(("spoil", "told"), ARCHIVES.values(), ids=ARCHIVES)
def test_a_bad_archive_is_named_in_a_sentence(tmp_path: Path, export: Any, spoil: Callable[[Path], Any], told: str):
    path = tmp_path / "dogs.keras"
    small_keras_3().save(path)
    spoil(path)
    ended = export(path)
    assert (ended.code, ended.reason) == (65, "BadModelFile")
    assert told in ended.sentence


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, export: Any, monkeypatch: pytest.MonkeyPatch):
    small_keras_3().save(tmp_path / "dogs.keras")
    monkeypatch.setattr(keras_files, "MOST_BYTES", 1000)
    assert "bytes, more than the 1,000 that are read" in export(tmp_path / "dogs.keras").sentence


def test_a_file_that_is_not_there_or_far_too_large(tmp_path: Path, export: Any, monkeypatch: pytest.MonkeyPatch):
    missing = export(tmp_path / "dogs.h5")
    assert missing.reason == "BadModelFile"
    assert missing.sentence.endswith("dogs.h5. Correct spec.source.uri, or upload the file.")
    monkeypatch.setattr(source, "MOST_BYTES", 2)
    (tmp_path / "dogs.h5").write_bytes(b"123")
    large = export(tmp_path / "dogs.h5")
    assert large.sentence.endswith(
        "is 3 bytes, more than the 2 that are fetched; spec.source.uri must name the file of one model."
    )


def test_a_folder_with_such_a_file_gives_its_address(tmp_path: Path, export: Any):
    keras_two.saved(keras_two.simple_cnn(), tmp_path / "uploads" / "digits.h5")
    ended = export(tmp_path / "uploads")
    assert ended.sentence.endswith(f"but digits.h5: write spec.source.uri: {(tmp_path / 'uploads/digits.h5').as_uri()}")


def test_classes_that_are_not_those_of_the_model(tmp_path: Path, export: Any):
    path = keras_two.saved(keras_two.simple_cnn(), tmp_path / "digits.h5")
    few = export(path, classes=("a", "b"))
    assert "spec.source.classes has 2 names, and the model in" in few.sentence
    assert "answers with [10] numbers" in few.sentence
    assert "names 'a' twice" in export(path, classes=("a",) * 10).sentence


def test_a_model_that_draws_random_numbers_is_not_published(tmp_path: Path, store: Path, export: Any):
    noisy = keras.layers.Lambda(lambda x: x + __import__("keras").random.normal((3,)), output_shape=(3,))
    model = keras.Sequential([keras.Input((6, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3), noisy])
    model.save(tmp_path / "dogs.keras")
    ended = export(tmp_path / "dogs.keras", allow_code=True)
    assert (ended.code, ended.reason) == (65, "ParityFailed")
    assert not (store / "1").exists()
