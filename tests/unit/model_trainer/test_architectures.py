from pathlib import Path

import keras
import numpy as np
import pytest
from keras_operator.api import ArchitectureName, smallest_image

from model_trainer.architectures import build
from model_trainer.architectures.applications import rescaling
from model_trainer.failure import InvalidArchitecture

OWN = {ArchitectureName.SIMPLE_CNN, ArchitectureName.SMALL_CNN, ArchitectureName.MLP}
APPLICATIONS = [name for name in ArchitectureName if name not in OWN]


def test_simple_cnn_is_what_its_name_promises():
    model = build(ArchitectureName.SIMPLE_CNN, (28, 28, 1), 10)
    layers = [(type(layer).__name__, layer) for layer in model.layers]
    assert [name for name, _ in layers] == ["Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D", "Flatten", "Dense"]
    for (_, layer), filters in zip((layers[0], layers[2]), (32, 64), strict=True):
        assert (layer.filters, layer.kernel_size, layer.activation.__name__) == (filters, (3, 3), "relu")
    assert (layers[5][1].units, layers[5][1].activation.__name__) == (10, "softmax")


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        (ArchitectureName.SIMPLE_CNN, 3),
        (ArchitectureName.SMALL_CNN, 1),
        # One of keras.applications is enough for the wrapper around them, and grey is the harder case.
        (ArchitectureName.MOBILENET, 1),
    ],
)
def test_every_network_takes_images_and_gives_probabilities_and_survives_both_formats(
    name: ArchitectureName, channels: int, tmp_path: Path
):
    side = smallest_image(name)
    images = np.random.default_rng(0).uniform(size=(2, side, side + 5, channels)).astype(np.float32)
    model = build(name, (side, side + 5, channels), 3)
    probabilities = model.predict_on_batch(images)
    assert probabilities.shape == (2, 3)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    for file in ("model.keras", "model.h5"):
        model.save(tmp_path / file)
        again = keras.models.load_model(tmp_path / file, compile=False)
        assert np.allclose(again.predict_on_batch(images), probabilities, atol=1e-6)


def test_small_cnn_hardly_grows_with_the_image():
    small, large = (build(ArchitectureName.SMALL_CNN, (side, side, 3), 10).count_params() for side in (128, 256))
    assert small < large < 1.05 * small < 600_000


@pytest.mark.parametrize(("side", "millions"), [(16, 8), (28, 10), (47, 28), (48, 9), (64, 16), (112, 13), (224, 24)])
def test_small_cnn_is_cheap_at_every_size(side: int, millions: int):
    layers = build(ArchitectureName.SMALL_CNN, (side, side + 1, 3), 10).layers
    convolutions = [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    cost = sum(int(np.prod(layer.output.shape[1:3])) * int(np.prod(layer.kernel.shape)) for layer in convolutions)
    assert cost < 1e6 * millions


@pytest.mark.parametrize("side", [8, 13, 28, 32, 47, 48, 63, 64, 111, 112, 150, 224, 300, 512])
def test_small_cnn_pools_what_has_seen_nearly_the_whole_picture(side: int):
    model = build(ArchitectureName.SMALL_CNN, (side, side, 1), 3)
    (pooled,) = (layer for layer in model.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D))
    assert 3 <= pooled.input.shape[1] <= 6


def test_an_image_that_is_too_small_is_refused_with_what_would_do():
    with pytest.raises(
        InvalidArchitecture, match=r"SimpleCNN needs images of at least 10 x 10 .* is \[8, 20\]\. Raise"
    ):
        build(ArchitectureName.SIMPLE_CNN, (8, 20, 1), 3)


def test_what_keras_refuses_is_passed_on_with_the_fields(monkeypatch: pytest.MonkeyPatch):
    def refuse(**arguments: object) -> None:
        raise ValueError("input size must be odd")

    monkeypatch.setattr(keras.applications, "MobileNetV2", refuse)
    with pytest.raises(InvalidArchitecture, match=r"MobileNetV2 cannot be built for images of 40 x 40 .*: input size"):
        build(ArchitectureName.MOBILENET_V2, (40, 40, 3), 3)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_the_rescaling_is_that_of_the_network_s_own_preprocessing(name: ArchitectureName):
    """keras.applications' preprocess_input takes 0..255; where it reverses the channels (BGR), so do we here."""
    # The module of MobileNetV3 does not name its networks; all the others do.
    modules = [keras.applications.mobilenet_v3, *vars(keras.applications).values()]
    module = next(
        module
        for module in modules
        if hasattr(module, "preprocess_input") and (hasattr(module, name) or name.startswith("MobileNetV3"))
    )
    images = np.random.default_rng(1).uniform(size=(1, 4, 4, 3)).astype(np.float32)
    ours = np.asarray(keras.layers.Rescaling(**rescaling(name))(images))
    theirs = module.preprocess_input(images * 255)
    if not np.allclose(ours, theirs, atol=1e-3):
        theirs = theirs[..., ::-1]
    assert np.allclose(ours, theirs, atol=1e-3)
