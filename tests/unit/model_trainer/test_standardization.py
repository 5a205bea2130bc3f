"""The first layers of a network do what `ImageDataGenerator.standardize` does, wherever the network is asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from keras_operator.api import Architecture, ArchitectureName, Augmentation, InitialWeights, Normalization, RunSpec

from model_store import open_store
from model_trainer.architectures import build
from model_trainer.data.dataset import Dataset, Example
from model_trainer.data.moments import moments_of
from model_trainer.failure import InvalidArchitecture
from model_trainer.network import network_of
from model_trainer.run_folder import RunFolder
from model_trainer.samples import Samples
from model_trainer.standardization import standardized

LEVELS = np.random.default_rng(4).integers(0, 200, (300, 6, 5, 3), dtype=np.uint8) // np.array([1, 2, 5], np.uint8)
LEARNED = np.arange(0, 300, 2)
AS_IMAGES = (LEVELS / np.float32(255)).astype(np.float32)

WANTED = {
    "featurewise center": Normalization(featurewise_center=True),
    "featurewise deviation": Normalization(featurewise_std_normalization=True),
    "samplewise center": Normalization(samplewise_center=True),
    "samplewise deviation": Normalization(samplewise_std_normalization=True),
    "rescale": Normalization(rescale=0.5),
    "ZCA": Normalization(zca_whitening=True),
    "ZCA and a deviation": Normalization(zca_whitening=True, zca_epsilon=0.1, featurewise_std_normalization=True),
    "ZCA of images by themselves": Normalization(zca_whitening=True, samplewise_std_normalization=True, rescale=0.01),
    "everything": Normalization(
        rescale=1 / 127.5,
        samplewise_center=True,
        samplewise_std_normalization=True,
        featurewise_center=True,
        featurewise_std_normalization=True,
    ),
}


def layers_of(wanted: Normalization) -> Any:
    """A network that does nothing else."""
    inputs = keras.Input((6, 5, 3))
    nothing = keras.Model(inputs, keras.layers.Identity()(inputs))
    return standardized(nothing, wanted, LEVELS, LEARNED)


def of_keras(wanted: Normalization) -> Any:
    """What `ImageDataGenerator` makes of the levels, one image after the other, as its `flow` does."""
    fields = (
        "samplewise_center",
        "samplewise_std_normalization",
        "featurewise_center",
        "featurewise_std_normalization",
        "zca_whitening",
        "zca_epsilon",
    )
    generator = ImageDataGenerator(
        # In 32 bits NumPy's own mean over so many pixels is off by 2e-5.
        dtype="float64",
        rescale=wanted.rescale or 1 / 255,
        **{field: getattr(wanted, field) for field in fields},
    )
    generator.fit(LEVELS[LEARNED].astype(np.float64))
    return np.stack([generator.standardize(image.astype(np.float64)) for image in LEVELS])


@pytest.mark.filterwarnings("ignore:This ImageDataGenerator specifies")
@pytest.mark.parametrize("wanted", WANTED.values(), ids=WANTED)
def test_images_are_those_of_image_data_generator(wanted: Normalization):
    found, true = layers_of(wanted).predict(AS_IMAGES, verbose=0), of_keras(wanted)
    assert np.abs(true - AS_IMAGES).mean() > 0.01, "the change is large enough to be missed"
    assert np.abs(found - true).mean() <= 1e-5 * max(1.0, np.abs(true).mean())


def test_a_picture_of_one_level_becomes_no_infinity():
    flat = np.full((2, 6, 5, 3), 0.25, np.float32)
    found = layers_of(Normalization(samplewise_std_normalization=True)).predict(flat, verbose=0)
    assert np.abs(found).max() < 1


def test_nothing_asked_for_is_the_network_itself():
    model = build(ArchitectureName.SIMPLE_CNN, (10, 10, 1), 3)

    # Of no images there is no mean.
    unread = np.empty((0, 10, 10, 1), np.uint8), np.arange(0)
    assert standardized(model, Normalization(zca_epsilon=1.0), *unread) is model
    assert standardized(model, Normalization(samplewise_center=True), *unread) is not model


def test_moments_are_exact_and_read_piece_by_piece():
    rows = np.random.default_rng(1).permutation(len(LEVELS))
    found, in_order = moments_of(LEVELS, rows), moments_of(LEVELS, np.arange(len(LEVELS)))
    assert (found.means, found.deviations) == (in_order.means, in_order.deviations), "to the last bit"
    assert np.allclose(found.means, (LEVELS / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    assert np.allclose(found.deviations, (LEVELS / 255).std(axis=(0, 1, 2)), rtol=1e-12)


def test_networks_of_keras_applications_take_what_it_makes_and_no_scaling_of_their_own(
    spec: Callable[..., RunSpec], tmp_path: Path, context: Any
):
    pixels = np.random.default_rng(2).integers(0, 255, (6, 32, 32, 3), np.uint8)
    examples = tuple(Example(row, f"{row}.png", row % 2, f"{row:064x}") for row in range(6))
    dataset = Dataset(("a", "b"), pixels, examples, (), {})

    def layers(normalization: Normalization | None) -> list[str]:
        run = spec(
            tmp_path,
            tmp_path,
            architecture=Architecture(name=ArchitectureName.MOBILENET_V2),
            normalization=normalization,
        )
        folder = RunFolder(open_store(run.store.uri), 1, context.patience)
        assert run.training is not None
        model = network_of(run, run.training, dataset, np.arange(6), folder, context).model
        before = [type(layer).__name__ for layer in model.layers]
        return before if normalization is None else [*before, *(type(one).__name__ for one in model.layers[-1].layers)]

    assert layers(None) == ["InputLayer", "Rescaling", "Functional"]
    asked = Normalization(featurewise_center=True)
    assert layers(asked) == ["InputLayer", "Normalization", "Functional", "InputLayer", "Functional"]


def test_what_no_training_image_has_is_whitened_to_nothing():
    """ImageDataGenerator divides such rounding errors by epsilon."""
    levels = LEVELS.copy()
    # The mean of each channel does not take these away: what is the same in all images is one direction of theirs.
    levels[:, 1] = levels[:, 0]
    levels[1::2, 1] = 255 - levels[1::2, 1]
    inputs = keras.Input((6, 5, 3))
    nothing = keras.Model(inputs, keras.layers.Identity()(inputs))
    whitened = standardized(nothing, Normalization(zca_whitening=True), levels, LEARNED)
    found = whitened.predict(levels.astype(np.float32) / 255, verbose=0)
    assert np.abs(found[LEARNED]).max() < 20
    assert np.abs(found).max() < 100


def test_pictures_are_not_whitened_where_the_matrix_would_be_too_large():
    pixels = np.zeros((2, 40, 30, 3), np.uint8)
    with pytest.raises(InvalidArchitecture, match=r"40 x 30 pixels of 3 channels are 3,600 levels; 3,072 are the most"):
        standardized(build(ArchitectureName.SIMPLE_CNN, (40, 30, 3), 3), WANTED["ZCA"], pixels, np.arange(2))


ASKED = Normalization(
    samplewise_center=True,
    samplewise_std_normalization=True,
    featurewise_center=True,
    featurewise_std_normalization=True,
)
WHITENED = Normalization(zca_whitening=True, zca_epsilon=0.1)


@pytest.fixture
def run(few_digits: Path, tmp_path: Path, spec: Callable[..., RunSpec]) -> Callable[..., RunSpec]:
    return lambda **changes: spec(few_digits, tmp_path / "store", **{"normalization": ASKED, **changes})


@pytest.mark.parametrize("asked", [ASKED, WHITENED], ids=["by means", "by ZCA"])
def test_a_published_version_normalises_by_itself(
    tmp_path: Path, stage: Callable[..., Any], run: Callable[..., RunSpec], asked: Normalization
):
    wanted = run(augmentation=Augmentation(rotation=10), tflite=True, normalization=asked)
    assert stage("train", wanted).code == 0
    ended = stage("export", wanted)
    assert (ended.code, ended.result.parity <= 1e-5) == (0, True)
    left = tmp_path / "store" / ".runs" / "1"
    samples = Samples.load(left / "samples.npz")
    files = {name: keras.models.load_model(left / name, compile=False) for name in ("model.keras", "model.h5")}
    for model in files.values():
        assert np.allclose(model.predict(samples.images(), verbose=0), samples.probabilities, atol=1e-5)
    signatures = tf.saved_model.load(str(tmp_path / "store" / "1")).signatures
    from_bytes = signatures["serving_bytes"](image_bytes=tf.constant(list(samples.files)))["probabilities"]
    assert np.allclose(from_bytes, samples.probabilities, atol=1e-4)
    if asked is WHITENED:
        return
    # Darker and of less contrast is the same to a network that sees each image by its own mean and deviation.
    dim = files["model.keras"].predict(samples.images() * 0.5 + 0.1, verbose=0)
    assert np.allclose(dim, samples.probabilities, atol=1e-3)


def test_weights_go_from_a_network_without_to_one_with_and_back(stage: Callable[..., Any], run: Callable[..., RunSpec]):
    assert stage("train", run(normalization=None)).code == 0
    for number, normalization in ((2, ASKED), (3, WHITENED), (4, WHITENED), (5, None)):
        again = run(
            number=number,
            owner=f"uid-{number}",
            normalization=normalization,
            initial_weights=InitialWeights(version=number - 1),
            trainable_layers=1,
        )
        assert stage("train", again).code == 0
