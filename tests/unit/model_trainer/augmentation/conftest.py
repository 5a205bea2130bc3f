"""A photo to change, and Keras' own generator to compare with."""

from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image


@pytest.fixture(scope="session")
def photo() -> Any:
    """uint8 [96, 96, 3]: the middle of scikit-learn's flower at a quarter of its size."""
    whole = Image.fromarray(load_sample_image("flower.jpg")).resize((160, 107), Image.Resampling.BOX)
    return np.asarray(whole)[5:101, 32:128].copy()


@pytest.fixture(scope="session")
def photos() -> Any:
    """uint8 [6, 64, 64, 3]: crops of both of scikit-learn's photos at a quarter of their size."""
    crops = []
    for name in ("china.jpg", "flower.jpg"):
        whole = np.asarray(Image.fromarray(load_sample_image(name)).resize((160, 107), Image.Resampling.BOX))
        crops += [whole[20:84, left : left + 64] for left in (0, 48, 96)]
    return np.stack(crops)
