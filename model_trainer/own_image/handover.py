"""What is known of the data, on its way past the team's container: a part to learn from, and a part kept from it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
from keras_operator.api import RunSpec

from model_trainer import machine
from model_trainer.context import Context
from model_trainer.data.cache import allocate
from model_trainer.data.dataset import Dataset, Example
from model_trainer.data.decoding import Pixels
from model_trainer.data.listing import BadFile
from model_trainer.data.split import Indices, Split
from model_trainer.own_image.folders import DESCRIPTION, IMAGES, LABELS, PREPARED, SAMPLES, TEST_IMAGES, Folders
from model_trainer.samples import Samples

# Images that are copied at a time: what lies on the scratch volume is never in memory as a whole.
_BLOCK = 256


class Prepared(msgspec.Struct, frozen=True):
    """prepared.json: everything of the data but its pixels.

    Attributes:
        shape: of the array of pixels: rows, height, width, channels.
        classes, examples, bad, ignored: see Dataset.
        train, validation, test: indices into `examples`.
        times: when what happened before the team's container began.
    """

    shape: tuple[int, int, int, int]
    classes: tuple[str, ...]
    examples: tuple[Example, ...]
    bad: tuple[BadFile, ...]
    ignored: dict[str, int]
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    times: dict[str, datetime]


def hand_over(
    dataset: Dataset, split: Split, samples: Samples, times: Mapping[str, datetime], spec: RunSpec, folders: Folders
) -> None:
    """Write what the team's container learns from, and beside it, unseen, all that is needed to go on after it.

    Raises:
        OSError: ENOSPC, a volume is full.
    """
    for name, part in (("train", split.train), ("validation", split.validation)):
        (folders.data / name).mkdir(exist_ok=True)
        _write_images(folders.data / name / IMAGES, dataset.pixels, dataset.rows(part))
        np.save(folders.data / name / LABELS, dataset.labels(part))
    described = {
        "model": spec.model,
        "classes": dataset.classes,
        "imageShape": dataset.pixels.shape[1:],
        "train": len(split.train),
        "validation": len(split.validation),
    }
    (folders.data / DESCRIPTION).write_bytes(msgspec.json.format(msgspec.json.encode(described), indent=1))

    _write_images(folders.prepared / TEST_IMAGES, dataset.pixels, dataset.rows(split.test))
    samples.save(folders.prepared / SAMPLES)
    rows, height, width, channels = dataset.pixels.shape
    train, validation, test = (tuple(part.tolist()) for part in (split.train, split.validation, split.test))
    prepared = Prepared(
        shape=(rows, height, width, channels),
        classes=dataset.classes,
        examples=dataset.examples,
        bad=dataset.bad,
        ignored=dataset.ignored,
        train=train,
        validation=validation,
        test=test,
        times=dict(times),
    )
    (folders.prepared / PREPARED).write_bytes(msgspec.json.encode(prepared))


def taken_up(folders: Folders, context: Context) -> tuple[Dataset, Split, Prepared]:
    """The data as it was handed over."""
    prepared = msgspec.json.decode((folders.prepared / PREPARED).read_bytes(), type=Prepared)
    split = Split(*(np.array(part, dtype=np.int64) for part in (prepared.train, prepared.validation, prepared.test)))
    rows, *shape = prepared.shape
    height, width, channels = shape
    memory = machine.memory_bytes()
    pixels = allocate(rows, (height, width, channels), memory=memory, scratch=context.scratch)
    dataset = Dataset(prepared.classes, pixels, prepared.examples, prepared.bad, prepared.ignored)
    for path, part in (
        (folders.data / "train" / IMAGES, split.train),
        (folders.data / "validation" / IMAGES, split.validation),
        (folders.prepared / TEST_IMAGES, split.test),
    ):
        _read_images(path, pixels, dataset.rows(part))
    return dataset, split, prepared


def _write_images(path: Path, pixels: Pixels, rows: Indices) -> None:
    """An .npy file of some images. Written, not mapped: a full disk is an error here, and SIGBUS in a mapping."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), *pixels.shape[1:])}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(rows), _BLOCK):
            file.write(pixels[rows[start : start + _BLOCK]].tobytes())


def _read_images(path: Path, pixels: Pixels, rows: Indices) -> None:
    if not len(rows):
        return
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    for start in range(0, len(rows), _BLOCK):
        pixels[rows[start : start + _BLOCK]] = images[start : start + _BLOCK]
