"""The main road: train on real images, export, publish, and ask the servable."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import pytest
import tensorflow as tf
from keras_operator.api import (
    Augmentation,
    ColorMode,
    EarlyStopping,
    InitialWeights,
    RunSpec,
)
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from model_store import open_store, read_manifest, upload
from model_trainer import export_stage, train_stage, warmup
from model_trainer.data.dataset import Dataset, Example
from model_trainer.export import export_saved_model
from model_trainer.lineage import lineage_of
from model_trainer.parity import check_parity
from model_trainer.report import page as report_page
from model_trainer.samples import Samples, held_out


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_small_cnn_learns_the_digits(trained: Any):
    result = trained.ended.result
    assert (trained.ended.code, result.ok, result.error) == (0, True, None)
    assert result.metrics["accuracy"] >= 0.97
    assert set(result.metrics) == {
        "accuracy",
        "accuracy_low",
        "top_5_accuracy",
        "macro_f1",
        "ece",
        "loss",
        "val_accuracy",
        "val_loss",
    }
    assert result.classes == 10
    assert (result.images.train, result.images.validation, result.images.test) == (1261, 350, 186)
    assert result.bad_files == 0
    epochs = [f"epoch{n}" for n in range(1, 7)]
    assert list(result.times) == ["started", "dataReady", *epochs, "trained", "evaluated", "saved"]
    assert list(result.times.values()) == sorted(result.times.values())


def test_the_run_folder_has_everything(trained: Any):
    assert {path.name for path in trained.run.iterdir()} >= {
        "claim.json",
        "model.keras",
        "model.h5",
        "metrics.json",
        "history.json",
        "evaluation.json",
        "report.html",
        "split.json",
        "samples.npz",
    }
    assert len(read(trained.run / "history.json")["val_loss"]) == 6
    metrics = read(trained.run / "metrics.json")
    assert metrics["metrics"] == pytest.approx(trained.ended.result.metrics)
    assert metrics["classes"] == [str(digit) for digit in range(10)]


def test_both_saved_models_answer_as_the_trained_one_did(trained: Any):
    samples = Samples.load(trained.run / "samples.npz")
    for name in ("model.keras", "model.h5"):
        model = keras.models.load_model(trained.run / name, compile=False)
        assert np.allclose(model.predict(samples.images(), verbose=0), samples.probabilities, atol=1e-5)


def test_the_samples_were_held_out(trained: Any, all_digits: Path):
    samples = Samples.load(trained.run / "samples.npz")
    split = read(trained.run / "split.json")
    held_out = {(all_digits / entry["key"]).read_bytes() for entry in split["test"]}
    assert len(samples.files) == 186
    assert set(samples.files) <= held_out


def test_the_evaluation_adds_up(trained: Any):
    evaluation = read(trained.run / "evaluation.json")
    confusion = np.array(evaluation["confusionMatrix"])
    assert confusion.sum() == evaluation["images"] == 186
    assert np.trace(confusion) / 186 == pytest.approx(trained.ended.result.metrics["accuracy"])
    assert [of_class["images"] for of_class in evaluation["perClass"]] == confusion.sum(axis=1).tolist()


def test_the_export_is_published_and_described(trained: Any, exported: Any):
    result = exported.result
    assert (exported.code, result.ok) == (0, True)
    assert result.parity is not None
    assert 0 <= result.parity <= 1e-5
    assert list(result.times) == ["started", "loaded", "exported", "verified", "published"]
    manifest = read_manifest(open_store(trained.store.as_uri()), 1)
    assert (result.servable.uri, result.servable.digest) == (f"{trained.store.as_uri()}/1", manifest.digest)
    assert result.servable.signatures == ("serving_bytes", "serving_classify", "serving_default")
    assert manifest.classes == [str(digit) for digit in range(10)]
    assert manifest.image_size == [16, 16]
    assert manifest.metrics == pytest.approx(trained.ended.result.metrics)
    assert manifest.signatures["serving_default"] == {
        "inputs": {"images": {"dtype": "float32", "shape": [-1, 16, 16, 1]}},
        "outputs": {"probabilities": {"dtype": "float32", "shape": [-1, 10]}},
    }
    assert read(trained.store / "1" / "assets.extra" / "classes.json") == manifest.classes


@pytest.fixture(scope="module")
def signatures(trained: Any, exported: Any) -> Any:
    """The signatures of the published servable, loaded afresh."""
    assert exported.code == 0
    return tf.saved_model.load(str(trained.store / "1")).signatures


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG"])
def test_the_bytes_signature_takes_files_of_any_format_and_size(trained: Any, signatures: Any, kind: str):
    samples = Samples.load(trained.run / "samples.npz")
    files = []
    for index, file in enumerate(samples.files[:20]):
        side = 16 + index
        image = Image.open(io.BytesIO(file)).resize((side, side), Image.Resampling.BILINEAR)
        data = io.BytesIO()
        image.save(data, kind)
        files.append(data.getvalue())
    answers = signatures["serving_bytes"](image_bytes=tf.constant(files))["probabilities"].numpy()
    assert answers.shape == (20, 10)
    assert (answers.argmax(axis=1) == samples.probabilities[:20].argmax(axis=1)).mean() >= 0.9


def test_bytes_that_are_no_image_are_an_error_of_the_request(signatures: Any, encode_image: Any, picture: Any):
    frames = [Image.fromarray(255 - picture)]
    moving = encode_image(picture, "WEBP", save_all=True, append_images=frames)
    for data in (b"no image", b"", encode_image(picture)[:200], moving):
        with pytest.raises(tf.errors.InvalidArgumentError):
            signatures["serving_bytes"](image_bytes=tf.constant([data]))


def test_warm_up_records_name_the_model_and_cover_both_signatures(trained: Any, exported: Any):
    assert exported.code == 0
    requests = list(warmup.read_warmup(trained.store / "1"))
    shapes = [(name, next(iter(inputs.values())).shape[0]) for name, inputs in requests]
    assert shapes == [("serving_default", 1), ("serving_bytes", 1), ("serving_default", 4), ("serving_bytes", 4)]
    assert warmup.replay(trained.store / "1", tf.saved_model.load(str(trained.store / "1"))) == 4


def test_a_job_that_is_tried_again_goes_straight_to_its_result(
    trained: Any, exported: Any, stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(train_stage, "network_of", None)
    again = stage("train", trained.spec)
    assert again.code == 0
    assert again.result == trained.ended.result
    again = stage("export", trained.spec)
    assert (again.code, again.result.servable, again.result.parity) == (
        0,
        exported.result.servable,
        exported.result.parity,
    )
    assert {"loaded", "exported", "verified", "published"} <= set(again.result.times)


def test_another_owner_gets_the_next_free_number(trained: Any, stage: Callable[..., Any], spec: Callable[..., RunSpec]):
    data = Path(trained.spec.training.data.uri.removeprefix("file://"))
    for name in ("train", "export"):
        ended = stage(name, spec(data, trained.store, owner="uid-2"))
        assert (ended.code, ended.reason, ended.result.error.next_number) == (65, "NumberTaken", 2)


def test_colour_augmentation_and_early_stopping_go_through(
    few_digits: Path, tmp_path: Path, stage: Callable[..., Any], spec: Callable[..., RunSpec]
):
    run = spec(
        few_digits,
        tmp_path / "store",
        epochs=3,
        batch_size=16,
        augmentation=Augmentation(
            rotation=10, width_shift=0.1, height_shift=0.1, shear=5, zoom=0.1, horizontal_flip=True, vertical_flip=True
        ),
        early_stopping=EarlyStopping(patience=1),
        data={"image_size": (12, 10), "color_mode": ColorMode.RGB},
    )
    assert stage("train", run).code == 0
    ended = stage("export", run)
    assert (ended.code, ended.result.parity <= 1e-4) == (0, True)
    loaded = tf.saved_model.load(str(tmp_path / "store" / "1")).signatures["serving_default"]
    assert loaded.structured_input_signature[1]["images"].shape.as_list() == [None, 12, 10, 3]


def test_a_thousand_classes_fit_into_the_result(
    tmp_path: Path, encode_image: Any, stage: Callable[..., Any], spec: Callable[..., RunSpec]
):
    for number in range(1000):
        folder = tmp_path / "data" / f"class {number:04} äöü"
        folder.mkdir(parents=True)
        for copy in range(2):
            pixels = np.full((8, 8), number // 4 + copy * 3, np.uint8)
            pixels[0, 0], pixels[0, 1] = number % 256, number // 256
            (folder / f"{copy}.png").write_bytes(encode_image(pixels))
    ended = stage("train", spec(tmp_path / "data", tmp_path / "store", batch_size=256))
    assert (ended.code, ended.result.classes) == (0, 1000)
    assert len(ended.message) <= 4000
    assert len(read(tmp_path / "store" / ".runs" / "1" / "evaluation.json")["perClass"]) == 1000


def test_a_model_that_changed_after_its_training_is_not_published(simply_trained: Any, stage: Callable[..., Any]):
    path = simply_trained.run / "model.keras"
    model = keras.models.load_model(path, compile=False)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, bias + np.eye(10)[3]])
    model.save(path)
    ended = stage("export", simply_trained.spec)
    assert (ended.code, ended.reason) == (65, "ParityFailed")
    assert "the saved model.keras differs from the model in training by " in ended.sentence
    assert not [path for path in (simply_trained.store / "1").rglob("*") if path.is_file()]


def test_a_signature_that_prepares_images_differently_is_not_published(
    simply_trained: Any, stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("model_trainer.export.rescale", lambda pixels: tf.cast(pixels, tf.float32))
    ended = stage("export", simply_trained.spec)
    assert (ended.code, ended.reason) == (65, "ParityFailed")
    assert "serving_bytes differs" in ended.sentence
    assert not [path for path in (simply_trained.store / "1").rglob("*") if path.is_file()]


def test_the_classify_signature_names_the_classes_of_files(trained: Any, signatures: Any):
    samples = Samples.load(trained.run / "samples.npz")
    examples = [
        tf.train.Example(
            features=tf.train.Features(
                feature={"image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[file]))}
            )
        ).SerializeToString()
        for file in samples.files[:12]
    ]
    told = signatures["serving_classify"](inputs=tf.constant(examples))
    assert [list(row) for row in told["classes"].numpy()] == [[str(digit).encode() for digit in range(10)]] * 12
    assert np.allclose(told["scores"].numpy(), samples.probabilities[:12], atol=1e-5)
    # TensorFlow Serving refuses to classify by a signature that says that it predicts.
    saved = saved_model_pb2.SavedModel.FromString((trained.store / "1" / "saved_model.pb").read_bytes())
    methods = {name: one.method_name for name, one in saved.meta_graphs[0].signature_def.items()}
    assert methods["serving_classify"] == "tensorflow/serving/classify"
    assert methods["serving_default"] == "tensorflow/serving/predict"


def test_the_report_travels_with_the_version(trained: Any, exported: Any):
    assert exported.code == 0
    page = (trained.store / "1" / "assets.extra" / "report.html").read_text()
    assert page == (trained.run / "report.html").read_text()
    assert f"{trained.ended.result.metrics['accuracy']:.1%}" in page
    assert "<title>vision/digits, version 1</title>" in page


def test_a_report_that_cannot_be_made_costs_no_training(
    few_digits: Path, tmp_path: Path, stage: Callable[..., Any], spec: Callable[..., RunSpec], monkeypatch: Any
):
    monkeypatch.setattr(report_page, "page_of", None)
    ended = stage("train", spec(few_digits, tmp_path / "store"))
    assert (ended.code, ended.result.ok) == (0, True)
    assert not (tmp_path / "store" / ".runs" / "1" / "report.html").exists()
    assert stage("export", spec(few_digits, tmp_path / "store")).code == 0


def test_a_version_says_what_it_was_made_from(trained: Any, exported: Any):
    assert exported.code == 0
    lineage = read_manifest(open_store(trained.store.as_uri()), 1).lineage
    card = read(trained.run / "data-card.json")
    assert lineage["data"] == trained.ended.result.data_hash == f"sha256:{card['sha256']}"
    assert (lineage["model"], lineage["seed"], lineage["tensorflow"], lineage["keras"]) == (
        "vision/digits",
        "42",
        tf.__version__,
        keras.__version__,
    )


def test_a_version_trained_on_from_another_says_which_and_by_what_image(
    simply_trained: Any, stage: Callable[..., Any], spec: Callable[..., RunSpec]
):
    data = Path(simply_trained.spec.training.data.uri.removeprefix("file://"))
    weights = InitialWeights(version=1)
    again = spec(data, simply_trained.store, number=2, owner="uid-2", initial_weights=weights)
    again = msgspec.structs.replace(again, inputs_hash="sha256:4567", image="trainer@sha256:89ab")
    assert (stage("train", again).code, stage("export", again).code) == (0, 0)
    lineage = read_manifest(open_store(simply_trained.store.as_uri()), 2).lineage
    assert (lineage["parent"], lineage["inputs"], lineage["image"]) == ("1", "sha256:4567", "trainer@sha256:89ab")
    assert "parent" not in lineage_of(simply_trained.spec, "0123")


def test_what_the_store_damaged_is_not_published(
    simply_trained: Any, stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    def upload_and_damage(store: Any, number: int, directory: Path, info: Any) -> Any:
        manifest = upload(store, number, directory, info)
        graph = simply_trained.store / "1" / "saved_model.pb"
        graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
        return manifest

    monkeypatch.setattr(export_stage, "upload", upload_and_damage)
    ended = stage("export", simply_trained.spec)
    assert ended.code != 0
    assert "saved_model.pb is" in ended.sentence
    assert not (simply_trained.run / "manifest.json").exists()


def test_it_is_the_stored_copy_that_is_compared(
    simply_trained: Any, stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    compared: list[Path] = []

    def watched(directory: Path, *rest: Any) -> float:
        compared.append(directory)
        assert not (simply_trained.run / "manifest.json").exists()
        assert (simply_trained.store / "1" / "saved_model.pb").exists()
        return check_parity(directory, *rest)

    monkeypatch.setattr(export_stage, "check_parity", watched)
    ended = stage("export", simply_trained.spec)
    assert (ended.code, [path.parent.name for path in compared]) == (0, ["stored"])
    assert ended.result.parity <= 1e-5


def test_floats_that_are_answered_a_little_differently_are_not_published(
    simply_trained: Any, stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    def other_bias(model: Any, classes: tuple[str, ...], directory: Path) -> None:
        bias = model.layers[-1].bias
        before = np.asarray(bias)
        # Some 3e-5 of a probability.
        bias.assign(before + 3e-4 * np.eye(10)[3])
        export_saved_model(model, classes, directory)
        bias.assign(before)

    monkeypatch.setattr(export_stage, "export_saved_model", other_bias)
    ended = stage("export", simply_trained.spec)
    assert (ended.code, ended.reason) == (65, "ParityFailed")
    assert "serving_default differs from the model in training by " in ended.sentence
    assert "and 1e-05 is allowed" in ended.sentence
    assert not [path for path in (simply_trained.store / "1").rglob("*") if path.is_file()]


def test_256_images_spread_over_the_test_part_are_held_out():
    pixels = np.arange(2 * 400, dtype=np.uint16).astype(np.uint8).reshape(400, 2, 1, 1)
    examples = tuple(Example(row, f"{row}.png", row % 2, f"{row:064x}") for row in range(400))
    dataset = Dataset(("even", "odd"), pixels, examples, (), {})
    part = np.arange(0, 400)[::-1][:390]
    samples = held_out(dataset, part, None)
    assert len(samples.files) == len(samples.pixels) == 256
    assert np.array_equal(samples.pixels[[0, -1]], pixels[part[[0, -1]]])
    assert len(held_out(dataset, part[:200], None).files) == 200


def test_classes_in_another_order_are_not_published(
    simply_trained: Any, stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    def other_names(model: Any, classes: tuple[str, ...], directory: Path) -> None:
        export_saved_model(model, tuple(reversed(classes)), directory)

    monkeypatch.setattr(export_stage, "export_saved_model", other_names)
    ended = stage("export", simply_trained.spec)
    assert (ended.code, ended.reason) == (65, "ParityFailed")
    assert "serving_classify names other classes" in ended.sentence
    assert not [path for path in (simply_trained.store / "1").rglob("*") if path.is_file()]
