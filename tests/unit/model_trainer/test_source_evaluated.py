"""A model that somebody else trained is evaluated on a test set, and judged by gates, before it is published."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import pytest
import tensorflow as tf
from keras_operator.api import EvaluationData, Gate, Labels, Metric, RunSpec

from model_store import open_store, read_manifest

Stage = Callable[..., Any]
Spec = Callable[..., RunSpec]
Encode = Callable[..., bytes]

SIZE = 4
# Levels of the images of each class; the last one of the dark images is as light as a light one.
LEVELS = {"dark": (10, 20, 30, 240), "light": (200, 210, 220, 230)}
ACCURACY = 7 / 8


@pytest.fixture
def test_set(tmp_path: Path, encode_image: Encode) -> Path:
    folder = tmp_path / "test-set"
    for name, levels in LEVELS.items():
        (folder / name).mkdir(parents=True)
        for level in levels:
            pixels = np.full((SIZE, SIZE), level, np.uint8)
            pixels[0, 0] += 1
            (folder / name / f"{level}.png").write_bytes(encode_image(pixels))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def export(store: Path, stage: Stage, spec: Spec) -> Callable[..., Any]:
    """Export a source as version 1: (path, test set, number=, gates=, serving=, max_bad_files=, classes=, …)."""

    def run(path: Path, test: Path, **given: Any) -> Any:
        of_run = {name: given.pop(name) for name in ("gates", "serving") if name in given}
        of_test = {name: given.pop(name) for name in ("max_bad_files", "labels") if name in given}
        number = given.pop("number", 1)
        made = spec(None, store, source=path, number=number)
        assert made.source is not None
        data = EvaluationData(uri=test.as_uri(), **of_test)
        source = msgspec.structs.replace(made.source, test_data=data, **given)
        return stage("export", msgspec.structs.replace(made, source=source, **of_run))

    return run


def tells_light(outputs: tuple[float, ...] = (-1.0, 1.0), activation: str = "softmax", scale: float = 1.0) -> Any:
    """A model of 4 x 4 grey images in [0, `scale`]: its second output is the higher, the lighter an image is."""
    layers = [
        keras.Input((SIZE, SIZE, 1)),
        keras.layers.Flatten(),
        keras.layers.Dense(len(outputs), activation=activation),
    ]
    model = keras.Sequential(layers)
    kernel = np.tile(np.array(outputs, np.float32) / scale, (SIZE * SIZE, 1))
    model.layers[-1].set_weights([kernel, -kernel.sum(axis=0) * scale / 2])
    return model


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Right for all but one image."""
    tells_light().save(tmp_path / "good.keras")
    return tmp_path / "good.keras"


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """The same with its outputs exchanged."""
    tells_light((1.0, -1.0)).save(tmp_path / "bad.keras")
    return tmp_path / "bad.keras"


def test_a_file_is_evaluated_and_published_with_what_was_measured(good: Path, test_set: Path, store: Path, export: Any):
    ended = export(good, test_set)

    result = ended.result
    assert (ended.code, result.ok, result.classes, result.bad_files) == (0, True, 2, 0)
    assert set(result.evaluation) == {"accuracy", "accuracy_low", "macro_f1", "ece", "loss"}
    assert result.evaluation["accuracy"] == ACCURACY
    assert msgspec.to_builtins(result.images) == {"train": 0, "validation": 0, "test": 8}
    assert result.metrics.keys() == {"size_mb", "latency_ms"}
    assert (result.comparison, list(result.times)) == (
        None,
        ["started", "loaded", "evaluated", "verified", "published"],
    )
    manifest = read_manifest(open_store(store.as_uri()), 1)
    assert manifest.metrics == result.evaluation
    assert (manifest.lineage["data"], manifest.classes) == (result.data_hash, [])
    evaluation = json.loads((store / ".runs/1/evaluation.json").read_text())
    assert evaluation["confusionMatrix"] == [[3, 1], [0, 4]]
    assert [score["name"] for score in evaluation["perClass"]] == ["dark", "light"]
    assert evaluation["accuracyInterval"]["low"] < ACCURACY < evaluation["accuracyInterval"]["high"]


def test_card_and_report_lie_beside_it(good: Path, test_set: Path, store: Path, export: Any):
    assert export(good, test_set).code == 0

    beside = store / "1" / "assets.extra"
    page = (beside / "report.html").read_text()
    assert page == (store / ".runs/1/report.html").read_text()
    assert 'is <b>dark</b>, taken for <b class="wrong">light</b>' in page
    assert "How to publish it again" in page
    assert good.as_uri() in page
    assert 'id="training"' not in page
    card = json.loads((beside / "data-card.json").read_text())
    assert [(each["name"], each["train"], each["test"]) for each in card["classes"]] == [
        ("dark", 0, 4),
        ("light", 0, 4),
    ]
    assert 0.5 < card["channelMeans"][0] < 0.6


def test_an_attempt_after_it_was_published_says_the_same(good: Path, test_set: Path, export: Any):
    first, second = export(good, test_set).result, export(good, test_set).result
    assert msgspec.structs.replace(second, times={}) == msgspec.structs.replace(first, times={})


def test_names_say_which_output_a_folder_is(bad: Path, test_set: Path, export: Any, store: Path):
    ended = export(bad, test_set, classes=("light", "dark"))
    assert (ended.code, ended.result.evaluation["accuracy"]) == (0, ACCURACY)
    assert read_manifest(open_store(store.as_uri()), 1).classes == ["light", "dark"]


def test_a_class_of_which_there_is_no_image_is_only_that(tmp_path: Path, test_set: Path, export: Any):
    tells_light((-1.0, 1.0, 0.0)).save(tmp_path / "three.keras")
    gates = (Gate(metric=Metric.RECALL, of_class="grey", min=0.5),)
    ended = export(tmp_path / "three.keras", test_set, classes=("dark", "light", "grey"), gates=gates)
    assert (ended.code, ended.result.servable) == (0, None)
    assert ended.result.evaluation["accuracy"] == ACCURACY
    assert ended.result.unmeasured == {"recall of grey": "no test image is of this class"}


def test_a_table_may_say_the_classes(good: Path, tmp_path: Path, test_set: Path, export: Any):
    folder = tmp_path / "flat"
    folder.mkdir()
    lines = ["id,kind"]
    for path in sorted(test_set.glob("*/*.png")):
        (folder / path.name).write_bytes(path.read_bytes())
        lines.append(f"{path.stem},{path.parent.name}")
    (folder / "labels.csv").write_text("\n".join(lines))
    labels = Labels(file_column="id", class_column="kind")
    assert export(good, folder, labels=labels).result.evaluation["accuracy"] == ACCURACY


class Served(tf.Module):  # type: ignore[misc]
    """A model as somebody's own SavedModel: images as numbers, as files, or as something else."""

    def __init__(self, model: Any, kind: str) -> None:
        super().__init__()
        self.model = model
        self.answers = {"numbers": self._numbers, "files": self._files, "vectors": self._vectors}[kind]

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 1], tf.float32, name="x")])
    def _numbers(self, x: Any) -> Any:
        return {"y": self.model(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="file")])
    def _files(self, file: Any) -> Any:
        def pixels(one: Any) -> Any:
            return tf.image.resize(tf.io.decode_png(one, channels=1), [SIZE, SIZE]) / 255.0

        return {"y": self.model(tf.map_fn(pixels, file, fn_output_signature=tf.TensorSpec([SIZE, SIZE, 1])))}

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE * SIZE], tf.float32, name="x")])
    def _vectors(self, x: Any) -> Any:
        return {"y": self.model(tf.reshape(x, [-1, SIZE, SIZE, 1]))}


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Save a model as a SavedModel: (model, "numbers", "files" or "vectors")."""

    def save(model: Any, kind: str) -> Path:
        served = Served(model, kind)
        tf.saved_model.save(served, str(tmp_path / "saved"), signatures={"serving_default": served.answers})
        return tmp_path / "saved"

    return save


@pytest.mark.parametrize(
    ("scale", "kind", "pixel_range"),
    [(1.0, "numbers", (0.0, 1.0)), (255.0, "numbers", (0.0, 255.0)), (1.0, "files", (0.0, 1.0))],
    ids=["numbers", "numbers up to 255", "files"],
)
def test_a_saved_model_is_asked_as_it_takes_images(
    saved: Any, test_set: Path, export: Any, scale: float, kind: str, pixel_range: tuple[float, float]
):
    ended = export(saved(tells_light(scale=scale), kind), test_set, pixel_range=pixel_range)
    assert (ended.code, ended.result.evaluation["accuracy"]) == (0, ACCURACY)
    assert ended.result.evaluation["loss"] > 0


def test_files_are_sent_as_their_own_pictures(saved: Any, test_set: Path, export: Any, encode_image: Encode):
    """A BMP is one that this graph cannot read, and a large image one that only the graph resizes."""
    (test_set / "dark" / "20.png").unlink()
    (test_set / "dark" / "20.bmp").write_bytes(encode_image(np.full((300, 200), 20, np.uint8), "BMP"))
    assert export(saved(tells_light(), "files"), test_set).result.evaluation["accuracy"] == ACCURACY


GATES = {
    "accuracy": (Gate(metric=Metric.ACCURACY, min=0.9), "accuracy is 0.875, and its gate asks for >= 0.9"),
    "recall of a class": (
        Gate(metric=Metric.RECALL, of_class="dark", min=0.8),
        "recall of dark is 0.75, and its gate asks for >= 0.8",
    ),
    "a class that there is not": (
        Gate(metric=Metric.RECALL, of_class="drak", min=0.8),
        "recall of drak was not measured (there is no such class; the nearest is dark)",
    ),
    "size": (Gate(metric=Metric.SIZE_MB, max=1e-6), "and its gate asks for <= 1e-06"),
    "latency": (Gate(metric=Metric.LATENCY_MS, max=0), "and its gate asks for <= 0"),
}


@pytest.mark.parametrize(("gate", "sentence"), GATES.values(), ids=GATES)
def test_a_gate_that_is_not_met_publishes_nothing(
    good: Path, test_set: Path, store: Path, export: Any, gate: Gate, sentence: str
):
    from model_trainer.export_gates import Measured, unmet

    ended = export(good, test_set, gates=(gate,))
    assert (ended.code, ended.result.servable) == (0, None)
    assert ended.result.evaluation["accuracy"] == ACCURACY
    assert not (store / "1").exists()
    assert (store / ".runs/1/report.html").is_file()
    measured = Measured(ended.result.metrics | ended.result.evaluation, ended.result.unmeasured)
    if gate.known_after_export:
        assert sentence in unmet([gate], measured)[0]


def test_a_gate_that_is_met_publishes(good: Path, test_set: Path, export: Any):
    gates = (Gate(metric=Metric.ACCURACY, min=0.8, max_drop_from_serving=0), Gate(metric=Metric.SIZE_MB, max=10))
    assert export(good, test_set, gates=gates).result.servable is not None


NO_WORSE = (Gate(metric=Metric.ACCURACY, max_drop_from_serving=0.1),)


def test_a_source_is_held_against_the_source_that_serves(
    good: Path, bad: Path, test_set: Path, store: Path, export: Any, saved: Any
):
    assert export(good, test_set, classes=("dark", "light")).code == 0

    worse = export(bad, test_set, number=2, serving=1, gates=NO_WORSE).result
    assert (worse.servable, worse.evaluation["accuracy"]) == (None, 1 - ACCURACY)
    assert (worse.comparison.version, worse.comparison.metrics["accuracy"]) == (1, ACCURACY)
    # Its outputs are in another order, and it takes files: it is as good all the same.
    alike = export(
        saved(tells_light((1.0, -1.0)), "files"),
        test_set,
        number=3,
        serving=1,
        gates=NO_WORSE,
        classes=("light", "dark"),
    )
    assert alike.result.servable is not None
    assert alike.result.comparison.metrics == pytest.approx(alike.result.evaluation, abs=1e-5)


def test_a_source_is_held_against_the_trained_version_that_serves(
    simply_trained: Any, few_digits: Path, tmp_path: Path, stage: Stage, spec: Spec
):
    assert stage("export", simply_trained.spec).code == 0
    theirs = simply_trained.store / ".runs/1/model.keras"
    made = spec(None, simply_trained.store, source=theirs, number=2)
    assert made.source is not None
    source = msgspec.structs.replace(made.source, test_data=EvaluationData(uri=few_digits.as_uri()))
    result = stage("export", msgspec.structs.replace(made, source=source, serving=1)).result
    assert result.comparison.metrics == pytest.approx(result.evaluation, abs=1e-5)
    assert result.images.test == 120


def test_what_serves_without_a_test_set_cannot_be_compared(
    good: Path, test_set: Path, store: Path, export: Any, stage: Stage, spec: Spec
):
    assert stage("export", spec(None, store, source=good)).code == 0
    result = export(good, test_set, number=2, serving=1, gates=NO_WORSE).result
    assert (result.servable, result.comparison.metrics) == (None, {})
    assert result.comparison.problem.startswith("it came without spec.source.testData")


def test_what_serves_and_knows_other_classes_cannot_be_compared(
    good: Path, test_set: Path, tmp_path: Path, export: Any
):
    assert export(good, test_set).code == 0
    (test_set / "light").rename(test_set / "bright")
    comparison = export(good, test_set, number=2, serving=1).result.comparison
    assert comparison.problem == "its classes are others: bright came and light went"


def without_images(test_set: Path) -> None:
    for path in test_set.rglob("*.png"):
        path.rename(path.with_suffix(".txt"))


def one_class(test_set: Path) -> None:
    for path in (test_set / "light").iterdir():
        path.unlink()


def a_third_class(test_set: Path) -> None:
    (test_set / "grey").mkdir()
    (test_set / "light" / "200.png").rename(test_set / "grey" / "200.png")


def unreadable(test_set: Path) -> None:
    (test_set / "dark" / "10.png").write_bytes(b"no picture")


BAD_TEST_SETS = {
    "no images": (without_images, {}, "NoImages", "or correct spec.source.testData.uri."),
    "one class": (one_class, {}, "OneClass", "has one class folder, 'dark'"),
    "more classes than outputs": (
        a_third_class,
        {},
        "BadData",
        "has 3 classes, and the model in {uri} answers with 2 numbers",
    ),
    "a class that is not named": (
        a_third_class,
        {"classes": ("dark", "light")},
        "BadData",
        "has the class 'grey', which spec.source.classes does not name; it names dark, light.",
    ),
    "unreadable images": (
        unreadable,
        {"max_bad_files": 0},
        "TooManyBadFiles",
        "spec.source.testData.maxBadFiles allows 0: dark/10.png (",
    ),
    "no table": (
        lambda _: None,
        {"labels": Labels()},
        "BadData",
        "Put it there, or correct spec.source.testData.labels.file.",
    ),
}


@pytest.mark.parametrize(("spoil", "given", "reason", "told"), BAD_TEST_SETS.values(), ids=BAD_TEST_SETS)
def test_what_is_wrong_with_a_test_set_is_said(
    good: Path, test_set: Path, store: Path, export: Any, spoil: Any, given: Any, reason: str, told: str
):
    spoil(test_set)
    ended = export(good, test_set, **given)
    assert (ended.code, ended.reason) == (65, reason)
    assert told.format(uri=good.as_uri()) in ended.sentence
    assert not (store / "1").exists()


def test_an_unreadable_image_is_left_out_and_counted(good: Path, test_set: Path, export: Any):
    unreadable(test_set)
    result = export(good, test_set).result
    assert (result.bad_files, result.images.test, result.evaluation["accuracy"]) == (1, 7, 6 / 7)


def test_answers_that_are_no_probabilities_are_refused(tmp_path: Path, test_set: Path, store: Path, export: Any):
    tells_light(activation="sigmoid", outputs=(1.0, 1.0)).save(tmp_path / "sigmoid.keras")
    ended = export(tmp_path / "sigmoid.keras", test_set)
    assert (ended.code, ended.reason) == (65, "BadModelFile")
    assert "serving_default answers dark/10.png with numbers that are no probabilities: the least is " in ended.sentence
    assert "instead of 1. End the model with a softmax over its classes." in ended.sentence
    assert not (store / "1").exists()


def test_a_saved_model_that_takes_no_images_is_refused(saved: Any, test_set: Path, export: Any):
    ended = export(saved(tells_light(), "vectors"), test_set)
    assert (ended.code, ended.reason) == (65, "BadSavedModel")
    assert "cannot be asked about test images: that needs a signature with one input" in ended.sentence
    assert "It takes serving_default x float32 [-1,16]. Export one, or remove spec.source.testData." in ended.sentence


def test_names_are_counted_against_the_outputs_of_a_saved_model(saved: Any, test_set: Path, export: Any):
    folder = saved(tells_light(), "numbers")
    ended = export(folder, test_set, classes=("dark", "light", "grey"))
    assert (ended.code, ended.reason) == (65, "BadData")
    assert (
        f"spec.source.classes has 3 names, and the model in {folder.as_uri()} answers with 2 numbers."
    ) in ended.sentence


def test_a_range_of_pixels_means_nothing_to_what_takes_files(saved: Any, test_set: Path, export: Any):
    ended = export(saved(tells_light(), "files"), test_set, pixel_range=(0.0, 255.0))
    assert (ended.code, ended.reason) == (65, "BadSavedModel")
    assert "remove spec.source.pixelRange" in ended.sentence


class Picky(tf.Module):  # type: ignore[misc]
    """Takes PNG files alone."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="file")])
    def answer(self, file: Any) -> Any:
        png = tf.strings.regex_full_match(tf.strings.substr(file, 1, 3), "PNG")
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(png), ["it is no PNG"])]):
            return {"y": tf.one_hot(tf.zeros(tf.shape(file), tf.int32), 2)}


def test_a_graph_that_cannot_read_the_images_is_said_to(saved: Any, test_set: Path, export: Any, encode_image: Encode):
    for path in test_set.rglob("*.png"):
        path.write_bytes(encode_image(np.full((8, 8), int(path.stem), np.uint8), "JPEG"))

    module = Picky()
    where = test_set.parent / "picky"
    tf.saved_model.save(module, str(where), signatures={"serving_default": module.answer})
    ended = export(where, test_set)
    assert (ended.code, ended.reason) == (65, "BadSavedModel")
    assert "serving_default does not answer test images such as dark/10.png" in ended.sentence
