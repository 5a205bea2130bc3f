"""Held-out images that travel from training to export, to compare the exported model with the trained one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model_store import NotFound, TooLarge
from model_trainer.data.dataset import Dataset
from model_trainer.data.decoding import Pixels, served_form
from model_trainer.data.formats import MOST_BYTES
from model_trainer.data.reading import Origin
from model_trainer.data.split import Indices
from model_trainer.failure import NoImages

MOST_SAMPLES = 256

# Images at a time through the network: the largest ones are 1024 x 1024, and memory is sized for training.
PREDICT_BATCH = 8

# Of the files' bytes together, and of the decoded images: enough for 256 photos of 500 kB at 400 by 400, and little
# enough for the memory of every Job. Where images are larger there are fewer of them, but one at least.
MOST_SAMPLE_BYTES = 128 * 1024 * 1024


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

    def images(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float32]:
        """The model's input, of some of the images: float32 in [0, 1]."""
        return self.pixels[start:stop].astype(np.float32) / np.float32(255.0)

    def batches(self) -> Iterator[npt.NDArray[np.float32]]:
        """The model's input, a few images at a time: as floats all together they might not fit into memory."""
        for start in range(0, len(self.files), PREDICT_BATCH):
            yield self.images(start, start + PREDICT_BATCH)

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


def choose(model: Any, dataset: Dataset, part: Indices, places: Origin | None) -> Samples:
    """Up to 256 images of `part`, with what `model` answers to them; see `held_out`. Raises NoImages."""
    return answered(held_out(dataset, part, places), model)


def answered(samples: Samples, model: Any) -> Samples:
    """The same images with what `model` answers to them."""
    answers = [model.predict_on_batch(batch) for batch in samples.batches()]
    return replace(samples, probabilities=np.concatenate(answers))


def held_out(dataset: Dataset, part: Indices, places: Origin | None) -> Samples:
    """Up to 256 images of `part`, spread evenly over it, read from the store again; nobody has answered to them yet.

    A file that has changed since it was decoded, or that cannot be read now, is left out. Raises NoImages if none is.
    Images without files, where there are no `places`, are written as PNGs, as a client would send them.
    """
    files: list[bytes] = []
    rows: list[int] = []
    room = MOST_SAMPLE_BYTES
    most = min(MOST_SAMPLES, max(1, MOST_SAMPLE_BYTES // int(np.prod(dataset.pixels.shape[1:]))))
    for index in part[np.unique(np.linspace(0, len(part) - 1, most, dtype=np.int64))]:
        example = dataset.examples[index]
        if places is None:
            files.append(tf.io.encode_png(dataset.pixels[example.row]).numpy())
            rows.append(example.row)
            continue
        try:
            data = places.of(example.part).read(example.key, limit=MOST_BYTES)
        except (NotFound, TooLarge):
            continue
        if hashlib.sha256(data).hexdigest() == example.sha256 and (len(data) <= room or not files):
            room -= len(data)
            files.append(served_form(data, dataset.pixels[example.row]))
            rows.append(example.row)
    if not files and places is not None:
        raise NoImages(
            f"The test images under {places.main.uri} were changed or removed while the model was trained, so the "
            "exported model could not be compared with it. Train again when the data is at rest."
        )
    return Samples(tuple(files), dataset.pixels[rows], np.empty((0, 0), np.float32))
