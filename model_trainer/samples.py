"""Held-out images that travel from training to export, to compare the exported model with the trained one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store import NotFound, TooLarge
from model_trainer.data.dataset import Dataset
from model_trainer.data.decoding import Pixels, served_form
from model_trainer.data.formats import MOST_BYTES
from model_trainer.data.reading import Places
from model_trainer.data.split import Indices
from model_trainer.failure import NoImages

MOST_SAMPLES = 64

# Images at a time through the network: the largest ones are 1024 x 1024, and memory is sized for training.
PREDICT_BATCH = 8

# Of the files' bytes together; a few hundred photos of 4 MB would make every export download them.
MOST_SAMPLE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Samples:
    """Images of the test part.

    Attributes:
        files: the bytes of each image's file as they lie in the store, or as a PNG where that is what clients send.
        pixels: uint8 [samples, height, width, channels], decoded from them; divided by 255 they are the model's input.
        probabilities: float32 [samples, classes], what the model answered when it had been trained.
    """

    files: tuple[bytes, ...]
    pixels: Pixels
    probabilities: npt.NDArray[np.float32]

    @property
    def images(self) -> npt.NDArray[np.float32]:
        """The model's input: float32 in [0, 1]."""
        return self.pixels.astype(np.float32) / np.float32(255.0)

    def save(self, path: Path) -> None:
        """Write samples.npz: `pixels`, `probabilities`, and the files one after the other with their `sizes`."""
        np.savez(
            path,
            pixels=self.pixels,
            probabilities=self.probabilities,
            files=np.frombuffer(b"".join(self.files), dtype=np.uint8),
            sizes=np.array([len(data) for data in self.files], dtype=np.int64),
        )

    @classmethod
    def load(cls, path: Path) -> Samples:
        """Read samples.npz."""
        with np.load(path, allow_pickle=False) as saved:
            ends = np.cumsum(saved["sizes"])
            joined = saved["files"].tobytes()
            files = tuple(joined[end - size : end] for size, end in zip(saved["sizes"], ends, strict=True))
            return cls(files, saved["pixels"], saved["probabilities"])


def choose(model: Any, dataset: Dataset, part: Indices, places: Places) -> Samples:
    """Up to 64 images of `part`, spread evenly over it, read from the store again.

    A file that has changed since it was decoded, or that cannot be read now, is left out. Raises NoImages if none is.
    """
    files: list[bytes] = []
    rows: list[int] = []
    room = MOST_SAMPLE_BYTES
    for index in part[np.unique(np.linspace(0, len(part) - 1, MOST_SAMPLES, dtype=np.int64))]:
        example = dataset.examples[index]
        try:
            data = places.of(example.part).read(example.key, limit=MOST_BYTES)
        except (NotFound, TooLarge):
            continue
        if hashlib.sha256(data).hexdigest() == example.sha256 and (len(data) <= room or not files):
            room -= len(data)
            files.append(served_form(data, dataset.pixels[example.row]))
            rows.append(example.row)
    if not files:
        raise NoImages(
            f"The test images under {places.main.uri} were changed or removed while the model was trained, so the "
            "exported model could not be compared with it. Train again when the data is at rest."
        )
    chosen = Samples(tuple(files), dataset.pixels[rows], np.empty((0, 0), np.float32))
    return replace(chosen, probabilities=model.predict(chosen.images, batch_size=PREDICT_BATCH, verbose=0))
