"""The main roads of arrays: read, train, export, publish."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from keras_operator.api import ClassWeights, Optimizer

from model_store import open_store, read_manifest
from model_trainer import warmup
from model_trainer.data.dataset import Dataset
from model_trainer.samples import Samples
from model_trainer.tables.columns import Column, Kind
from model_trainer.tables.samples import RowSamples


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def test_images_keep_every_pixel_whatever_holds_them(tmp_path: Path, read: Any, digit_arrays: dict[str, Any]):
    images, labels = digit_arrays["x_train"][:60], digit_arrays["y_train"][:60]
    forms = {
        "bytes": images,
        "with a channel": images[..., None],
        "by columns": np.asfortranarray(images),
        "16 bits, the other way round": images.astype(">i2"),
        "floats from 0 to 1": (images / 255.0).astype(np.float32),
        "doubles": images / 255.0,
    }
    for name, form in forms.items():
        dataset, split = read(tmp_path, {"x_train": form, "y_train": labels})
        assert isinstance(dataset, Dataset)
        assert np.array_equal(np.asarray(dataset.pixels)[..., 0], images), name
        assert dataset.labels(np.arange(60)).tolist() == labels.tolist()
        assert (dataset.classes, dataset.image_size, dataset.color_mode) == (
            tuple("0123456789"),
            (8, 8),
            "grayscale",
        )
        assert len(split.train) + len(split.validation) + len(split.test) == 60


def test_photos_have_three_channels_and_classes_with_gaps_their_numbers(tmp_path: Path, read: Any):
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (40, 9, 12, 3), dtype=np.uint8)
    dataset, _ = read(tmp_path, {"x_train": images, "y_train": np.where(np.arange(40) % 2, 12, 3).astype(np.uint8)})
    assert (dataset.classes, dataset.image_size, dataset.color_mode) == (("3", "12"), (9, 12), "rgb")
    assert np.array_equal(dataset.pixels, images)
    assert dataset.examples[7].key == "x_train[7]"


def test_more_rows_move_no_row_to_another_part_and_copies_stay_together(
    tmp_path: Path, read: Any, digit_arrays: dict[str, Any]
):
    images, labels = digit_arrays["x_train"], digit_arrays["y_train"]

    def parts(x: Any, y: Any) -> dict[str, str]:
        dataset, split = read(tmp_path, {"x_train": x, "y_train": y})
        named = {"train": split.train, "validation": split.validation, "test": split.test}
        found: dict[str, str] = {}
        for name, indices in named.items():
            for index in indices:
                assert found.setdefault(dataset.examples[index].sha256, name) == name
        return found

    few = parts(images[:300], labels[:300])
    more = parts(np.concatenate([images[300:600], images[:300][::-1], images[:50]]),
                 np.concatenate([labels[300:600], labels[:300][::-1], labels[:50]]))  # fmt: skip
    assert {row: more[row] for row in few} == few
    assert {*few.values()} == {"train", "validation", "test"}


def test_parts_of_one_s_own_stay_as_they_are(tmp_path: Path, read: Any, digit_arrays: dict[str, Any]):
    images, labels = digit_arrays["x_train"], digit_arrays["y_train"]
    arrays = {
        "x_train": np.concatenate([images[:200], images[1000:1001]]),
        "y_train": np.concatenate([labels[:200], labels[1000:1001]]),
        "x_val": images[900:930],
        "y_val": labels[900:930],
        "x_test": images[1000:1040],
        "y_test": labels[1000:1040],
        "notes": np.zeros(3),
    }
    dataset, split = read(tmp_path, arrays)
    keys = {name: {dataset.examples[i].key.partition("[")[0] for i in getattr(split, name)} for name in
            ("train", "validation", "test")}  # fmt: skip
    assert keys == {"train": {"x_train"}, "validation": {"x_val"}, "test": {"x_test"}}
    assert (len(split.train), len(split.validation), len(split.test)) == (200, 30, 40), "a copy of a test row is unused"


def test_nothing_of_an_archive_stays_on_the_scratch_volume(
    tmp_path: Path, read: Any, context: Any, digit_arrays: dict[str, Any]
):
    read(tmp_path, digit_arrays)
    assert list(context.scratch.iterdir()) == []


def test_images_become_a_version_as_files_do(trained_images: Any, tmp_path: Path, stage: Any):
    assert trained_images.ended.code == 0, trained_images.ended.message
    result = trained_images.ended.result
    assert result.classes == 10
    assert result.images.test == 297
    assert result.metrics["accuracy"] >= 0.6
    exported = stage("export", trained_images.spec)
    assert exported.code == 0, exported.message
    assert exported.result.parity <= 1e-5
    assert exported.result.servable.signatures == ("serving_bytes", "serving_classify", "serving_default")
    manifest = read_manifest(open_store(trained_images.store.as_uri()), 1)
    assert manifest.signatures["serving_default"]["inputs"] == {
        "images": {"dtype": "float32", "shape": [-1, 16, 16, 1]}
    }
    samples = Samples.load(trained_images.run / "samples.npz")
    decoded = tf.io.decode_png(samples.files[0]).numpy()
    assert np.array_equal(decoded, samples.pixels[0])
    papers = trained_images.store / "1" / "assets.extra"
    assert load(papers / "data-card.json")["imageShape"] == [16, 16, 1]
    assert load(papers / "classes.json") == list("0123456789")
    assert "confusion matrix" in (papers / "report.html").read_text()


def test_rows_become_a_version_that_takes_arrays(trained_rows: Any, tmp_path: Path, stage: Any):
    assert trained_rows.ended.code == 0, trained_rows.ended.message
    assert trained_rows.ended.result.metrics["accuracy"] >= 0.8
    exported = stage("export", trained_rows.spec)
    assert exported.code == 0, exported.message
    assert exported.result.parity <= 1e-5
    assert exported.result.servable.signatures == ("serving_classify", "serving_default")
    assert "serving_default features float32 [-1,64]" in exported.result.servable.inputs
    samples = RowSamples.load(trained_rows.run / "samples.npz", (Column("features", Kind.NUMERIC, 64),))
    assert samples.cells[0].shape == (256, 64)
    loaded = tf.saved_model.load(str(trained_rows.store / "1"))
    answers = loaded.signatures["serving_default"](features=tf.constant(samples.cells[0]))["probabilities"].numpy()
    assert np.allclose(answers, samples.answers, atol=1e-5)
    assert [inputs["features"].shape for _, inputs in warmup.read_warmup(trained_rows.store / "1")] == [
        (1, 64),
        (4, 64),
    ]
    papers = trained_rows.store / "1" / "assets.extra"
    (column,) = load(papers / "data-card.json")["columns"]
    assert (column["name"], column["least"], round(column["greatest"], 2)) == ("features", 0, 15.94)
    page = (papers / "report.html").read_text()
    assert "and 56 more" in page
    assert "x_test[" in page


def test_a_version_of_arrays_is_measured_on_the_new_ones(
    trained_rows: Any, tmp_path: Path, stage: Any, npz_spec: Any, digit_arrays: dict[str, Any]
):
    rows = {
        name: array if name.startswith("y") else array.reshape(len(array), -1) / 16.0
        for name, array in digit_arrays.items()
    }
    np.savez(tmp_path / "digits.npz", **rows)
    network = {"name": "MLP", "hidden_units": ()}
    run = npz_spec(
        tmp_path / "digits.npz",
        trained_rows.store,
        number=2,
        serving=1,
        network=network,
        data={"class_weights": ClassWeights.BALANCED},
        optimizer=Optimizer(learning_rate=0.01),
    )
    new = stage("train", run)
    assert new.code == 0, new.message
    assert new.result.comparison.metrics["accuracy"] >= 0.8
