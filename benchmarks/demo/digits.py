"""The UCI handwritten digits as PNG files, and the part of them that no trainer ever sees.

1,797 scans of 43 people's digits, 8 by 8 pixels with 17 shades of grey (archive.ics.uci.edu/dataset/80), as
scikit-learn ships them: real input without a download.
"""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_digits

HELD_OUT = 0.2
SHADES = 16


@dataclass(frozen=True)
class Digit:
    """One image. `pixels` is uint8 [8, 8], dark 0; `name` is unique among all digits; `label` is 0 to 9."""

    name: str
    label: int
    pixels: npt.NDArray[np.uint8]

    def png(self) -> bytes:
        """The image as an 8-bit grey PNG file."""
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, format="PNG")
        return file.getvalue()

    def instance(self) -> list[list[list[float]]]:
        """The image as the float signature takes it: [8][8][1], each value from 0 to 1."""
        values: list[list[list[float]]] = (self.pixels[..., np.newaxis] / 255).tolist()
        return values


def load() -> list[Digit]:
    """All digits, in scikit-learn's order."""
    bunch = load_digits()
    scaled = np.rint(bunch.images * (255 / SHADES)).astype(np.uint8)
    return [
        Digit(f"{index:04}", int(label), pixels)
        for index, (label, pixels) in enumerate(zip(bunch.target, scaled, strict=True))
    ]


def held_out(labels: Sequence[int], fraction: float = HELD_OUT) -> set[int]:
    """The indices of the images to hold out: `fraction` of each class, rounded, the same ones on every machine.

    Which ones is decided by the order of a hash of each index, because the order of random generators differs between
    releases. It cannot depend on what is in the image.
    """
    classes: dict[int, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        classes[label].append(index)
    return {
        index for members in classes.values() for index in sorted(members, key=_lot)[: round(fraction * len(members))]
    }


def _lot(index: int) -> bytes:
    return hashlib.sha256(f"held out {index}".encode()).digest()
