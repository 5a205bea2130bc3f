"""Class folders of real photo crops: JPEG files cut from the two photographs that scikit-learn ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

CLASSES = 10

# Both photographs are 640 x 427; at twice their size a crop of 256 pixels holds some texture and no whole motif.
_ENLARGED = (1280, 854)
_QUALITY = 90


def write_photos(folder: Path, count: int, side: int) -> Path:
    """Write `count` crops of `side` x `side` pixels into ten class folders, where they are not there yet.

    A class is a fifth of one photograph's width; a crop lies anywhere in it. The same count and side give the same
    files.
    """
    done = folder / "complete"
    images = folder / "images"
    if done.is_file():
        return images
    random = np.random.default_rng(7)
    wholes = [Image.fromarray(photo).resize(_ENLARGED) for photo in load_sample_images().images]
    width, height = _ENLARGED
    strip = width // (CLASSES // 2)
    for index in range(count):
        label = index % CLASSES
        whole, place = wholes[label % 2], label // 2
        left = int(np.clip(place * strip + random.integers(-strip // 4, strip // 4), 0, width - side))
        top = int(random.integers(0, height - side))
        path = images / f"class-{label}" / f"{index:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        whole.crop((left, top, left + side, top + side)).save(path, quality=_QUALITY)
    done.touch()
    return images
