from typing import Any

import numpy as np
import pytest
from keras_operator.api import Augmentation, FillMode, RandAugment
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from model_trainer.augmentation.rand_augment import NAMES, Operations, operations_of, rand_augment

ASKED = Augmentation(rand_augment=RandAugment(layers=1, magnitude=5), fill_mode=FillMode.CONSTANT)


def done(photos: Any, name: str, sign: float, asked: Augmentation = ASKED) -> Any:
    return rand_augment(photos.astype(np.float32), operations([[name]] * len(photos), sign, asked), asked).numpy()


def operations(names: list[list[str]], signs: Any, asked: Augmentation = ASKED) -> Operations:
    which = np.array([[NAMES.index(name) for name in layers] for layers in names], np.int32)
    return operations_of(which, np.broadcast_to(signs, which.shape), asked.rand_augment, 64, 64)


# What torchvision's RandAugment asks of Pillow for a magnitude of 5 of 10; the sign is that of the coin.
OF_PILLOW: dict[str, Any] = {
    "identity": lambda image, sign: image,
    "autocontrast": lambda image, sign: ImageOps.autocontrast(image),
    "equalize": lambda image, sign: ImageOps.equalize(image),
    "rotate": lambda image, sign: image.rotate(sign * 15, Image.Resampling.BILINEAR),
    "solarize": lambda image, sign: ImageOps.solarize(image, 128),
    "color": lambda image, sign: ImageEnhance.Color(image).enhance(1 + sign * 0.45),
    "posterize": lambda image, sign: ImageOps.posterize(image, 6),
    "contrast": lambda image, sign: ImageEnhance.Contrast(image).enhance(1 + sign * 0.45),
    "brightness": lambda image, sign: ImageEnhance.Brightness(image).enhance(1 + sign * 0.45),
    "sharpness": lambda image, sign: ImageEnhance.Sharpness(image).enhance(1 + sign * 0.45),
    "shear x": lambda image, sign: sheared(image, sign * 0.15, 0),
    "shear y": lambda image, sign: sheared(image, 0, sign * 0.15),
    "shift x": lambda image, sign: shifted(image, sign * 64 * 75 / 331, 0),
    "shift y": lambda image, sign: shifted(image, 0, sign * 64 * 75 / 331),
}


def sheared(image: Any, x: float, y: float) -> Any:
    # Pillow counts from a pixel's corner, TensorFlow from its middle.
    matrix = (1, x, -x / 2, y, 1, -y / 2)
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def shifted(image: Any, x: float, y: float) -> Any:
    return image.transform(image.size, Image.Transform.AFFINE, (1, 0, x, 0, 1, y), Image.Resampling.BILINEAR)


def interior(name: str, sign: float) -> Any:
    """Where no neighbour is from beyond the edge, which Pillow and TensorFlow blend with it differently."""
    white = Image.new("L", (64, 64), 255)
    moved = OF_PILLOW[name](white, sign) if name in {"rotate", "shear x", "shear y", "shift x", "shift y"} else white
    return np.pad(np.asarray(moved.filter(ImageFilter.MinFilter(5)))[2:-2, 2:-2] == 255, 2)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("name", NAMES)
def test_operations_are_those_of_pillow(photos: Any, name: str, sign: float):
    found = done(photos, name, sign)
    wanted = np.stack([np.asarray(OF_PILLOW[name](Image.fromarray(photo), sign)) for photo in photos])
    difference = np.abs(found - wanted)[:, interior(name, sign)]
    assert difference.mean() < 1
    if name != "identity":
        assert np.abs(found - photos).mean() > 1.0


def test_each_image_gets_its_own_operations_in_its_own_place(photos: Any):
    names = ["rotate", "identity", "solarize", "rotate", "equalize", "identity"]
    signs = np.array([[1], [1], [1], [-1], [1], [1]], np.float32)
    found = rand_augment(photos.astype(np.float32), operations([[name] for name in names], signs), ASKED).numpy()
    for index, name in enumerate(names):
        assert np.allclose(found[index], done(photos, name, signs[index, 0])[index], atol=1e-3)


def test_layers_come_one_after_the_other(photos: Any):
    asked = Augmentation(rand_augment=RandAugment(layers=2, magnitude=5), fill_mode=FillMode.CONSTANT)
    both = operations([["solarize", "brightness"]] * 6, 1.0, asked)
    found = rand_augment(photos.astype(np.float32), both, asked).numpy()
    assert np.allclose(found, done(done(photos, "solarize", 1.0), "brightness", 1.0))


def test_grey_images_have_every_operation(photos: Any):
    grey = photos[..., :1]
    for name in NAMES:
        assert done(grey, name, 1.0).shape == grey.shape
    assert np.allclose(done(grey, "color", 1.0), grey)


def test_strength_grows_with_the_magnitude(photos: Any):
    def change(name: str, magnitude: int) -> float:
        asked = Augmentation(rand_augment=RandAugment(layers=1, magnitude=magnitude))
        return float(np.abs(done(photos, name, 1.0, asked) - photos).mean())

    for name in set(NAMES) - {"identity", "autocontrast", "equalize"}:
        assert change(name, 0) < 0.01, name
        assert change(name, 2) < change(name, 9), name
