"""Photographs of many classes: crops of the two pictures that scikit-learn ships, each class one neighbourhood."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

CLASSES = 120
EACH = 8
SIDE = 96
# Pixels by which the crops of one neighbourhood differ.
_ASIDE = 12


def crops() -> dict[str, bytes]:
    """JPEG files in class folders: `breed-007/3.jpg`."""
    return dict(_crops())


def _crops() -> Iterator[tuple[str, bytes]]:
    photos = [np.asarray(image) for image in load_sample_images().images]
    random = np.random.default_rng(7)
    for breed in range(CLASSES):
        photo = photos[breed % len(photos)]
        room = np.array(photo.shape[:2]) - SIDE - _ASIDE
        corner = random.integers(0, room)
        for number in range(EACH):
            top, left = corner + random.integers(0, _ASIDE, 2)
            file = io.BytesIO()
            Image.fromarray(photo[top : top + SIDE, left : left + SIDE]).save(file, "JPEG", quality=90)
            yield f"breed-{breed:03}/{number}.jpg", file.getvalue()
