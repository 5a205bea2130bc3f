from typing import Any

import keras
import numpy as np
import pytest
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from keras_operator.api import Augmentation

from model_trainer.augmentation.levels import Levels, relevel


def releveled(image: Any, augmentation: Augmentation, **changes: float) -> Any:
    one = {"channel_shift": 0.0, "contrast": 1.0, "brightness": 1.0} | changes
    levels = Levels(**{name: np.array([value], np.float32) for name, value in one.items()})
    return relevel(image[None].astype(np.float32), levels, augmentation).numpy()[0]


def of_keras(image: Any, **parameters: float) -> Any:
    return ImageDataGenerator().apply_transform(image.astype(np.float32), parameters)


@pytest.mark.parametrize("shift", [-40.5, 25.0])
def test_channel_shift_is_that_of_image_data_generator(photo: Any, shift: float):
    found = releveled(photo, Augmentation(channel_shift=60), channel_shift=shift)
    assert np.allclose(found, of_keras(photo, channel_shift_intensity=shift), atol=1e-3)
    assert np.abs(found - photo).mean() > 10


@pytest.mark.parametrize("factor", [0.4, 1.6])
def test_brightness_is_that_of_image_data_generator(photo: Any, factor: float):
    found = releveled(photo, Augmentation(brightness=(0.2, 2.0)), brightness=factor)
    # Keras rounds down to whole levels.
    assert np.abs(found - of_keras(photo, brightness=factor)).max() <= 1
    assert np.abs(found - photo).mean() > 10


@pytest.mark.parametrize("factor", [0.4, 1.6])
def test_contrast_is_that_of_keras_layer(photo: Any, factor: float):
    layer = keras.layers.RandomContrast(0.9, value_range=(0, 255))
    wanted = layer.transform_images(photo.astype(np.float32), {"contrast_factor": np.float32(factor)})
    found = releveled(photo, Augmentation(contrast=0.9), contrast=factor)
    assert np.abs(found - wanted).max() < 0.01
    assert np.abs(found - photo).mean() > 10


def test_channel_shift_comes_before_brightness_as_in_image_data_generator(photo: Any):
    both = Augmentation(channel_shift=60, brightness=(0.2, 2.0))
    found = releveled(photo, both, channel_shift=50.0, brightness=1.8)
    wanted = of_keras(photo, channel_shift_intensity=50.0, brightness=1.8)
    assert np.abs(found - wanted).mean() <= 1
