"""The arrays of a run, `x_train`, `y_train` and those of the other parts: checked, and split by content.

Images become a `Dataset`, as those in files do; rows of features become a `Table` of one column that holds them all.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from keras_operator.api import ArchitectureName, ProgressStage, Training, smallest_image

from model_store import NotFound, open_store
from model_trainer import machine
from model_trainer.batching import AnyDataset
from model_trainer.context import Context
from model_trainer.data.cache import MEMORY_SHARE, allocate
from model_trainer.data.dataset import Dataset, Example
from model_trainer.data.decoding import Pixels
from model_trainer.data.split import Part, Split
from model_trainer.failure import BadData, OneClass
from model_trainer.npz.arrays import Header, NpzFile, opened
from model_trainer.npz.checks import (
    check_finite,
    check_lengths,
    check_one_number,
    features_of,
    labels_of,
    no_array,
)
from model_trainer.tables.columns import MOST_WORDS, Column, Kind
from model_trainer.tables.encoding import learn_encoding
from model_trainer.tables.rows import BYTES_OF_A_ROW, split_rows
from model_trainer.tables.table import Table

log = logging.getLogger(__name__)

FEATURES = "features"
_PARTS: dict[str, Part | None] = {"train": None, "val": Part.VALIDATION, "test": Part.TEST}
_ROW_SHAPE, _IMAGE_SHAPES = 2, (3, 4)
_CHANNELS = (1, 3)


@dataclass(frozen=True)
class _Pair:
    """The arrays of one part: what is learned from, and the classes."""

    part: Part | None
    x: Header
    y: Header


def read_npz(training: Training, endpoint: str | None, context: Context) -> tuple[AnyDataset, Split]:
    """Fetch, check and split what `training.data.uri` holds: rows for an MLP, images for every other network.

    Raises:
        BadData, OneClass: nothing can be learned from it.
        StoreError: the store failed for longer than the context's patience, or for good.
    """
    data = training.data
    folder, _, key = data.uri.rpartition("/")
    path = context.scratch / "data.npz"
    context.board.enter(ProgressStage.FETCHING, f"fetching {data.uri}")
    store = context.cached(open_store(folder, endpoint=endpoint), endpoint)
    try:
        context.patience(f"downloading {data.uri}", lambda: store.download(key, path))
    except NotFound as error:
        raise BadData(f"There is no {data.uri}. Put the arrays there, or correct spec.training.data.uri.") from error
    try:
        with opened(path, data.uri) as file:
            return _Reader(file, training, context).read()
    finally:
        path.unlink(missing_ok=True)


class _Reader:
    """Takes one pair of arrays after the other."""

    def __init__(self, file: NpzFile, training: Training, context: Context) -> None:
        self._file = file
        self._training = training
        self._context = context
        self._address = file.address

    def read(self) -> tuple[AnyDataset, Split]:
        """The whole set, and which of its rows are in which part."""
        pairs = self._pairs()
        self._check_memory(pairs)
        labels = np.concatenate([labels_of(self._file, pair.y) for pair in pairs])
        parts = [pair.part for pair in pairs for _ in range(pair.x.shape[0])]
        classes, indices = self._classes(labels, parts)
        shape = pairs[0].x.shape[1:]
        if len(shape) + 1 == _ROW_SHAPE:
            rows: npt.NDArray[Any] = np.empty((len(labels), *shape), dtype=np.float32)
        else:
            image = (shape[0], shape[1], shape[2] if len(shape) == 3 else 1)
            scratch = self._context.scratch
            rows = allocate(len(labels), image, memory=machine.memory_bytes(), scratch=scratch)
        keys: list[str] = []
        hashes: list[str] = []
        for pair in pairs:
            for first, block in self._blocks(pair.x):
                start = len(keys)
                rows[start : start + len(block)] = block.reshape((len(block), *rows.shape[1:]))
                keys += [f"{pair.x.name}[{first + place}]" for place in range(len(block))]
                written = rows[start : start + len(block)]
                hashes += [hashlib.sha256(np.ascontiguousarray(row).data).hexdigest() for row in written]
        size = int(np.prod(rows.shape[1:])) * rows.dtype.itemsize
        examples = tuple(
            Example(place, key, label, sha256, size, part)
            for place, (key, label, sha256, part) in enumerate(zip(keys, indices.tolist(), hashes, parts, strict=True))
        )
        names = tuple(str(label) for label in classes)
        split = split_rows(examples, names, self._training.data)
        sizes = {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)}
        log.info("the arrays are read", extra={"classes": len(names), "rows": sizes, "arrays": list(self._file.names)})
        if rows.dtype == np.uint8:
            return Dataset(names, rows, examples, (), {}), split
        return _table(names, rows, examples, split), split

    def _pairs(self) -> list[_Pair]:
        found = self._file.names
        pairs: list[_Pair] = []
        for name, part in _PARTS.items():
            both = [f"x_{name}", f"y_{name}"]
            there = [array for array in both if array in found]
            if not there and part is not None:
                continue
            if len(there) < len(both):
                raise no_array(
                    self._file,
                    next(array for array in both if array not in there),
                    "Save it by numpy.savez(x_train=…, y_train=…), and x_val, y_val, x_test and y_test where those "
                    "parts are split off already.",
                )
            pair = _Pair(part, self._file.header(both[0]), self._file.header(both[1]))
            self._check_shapes(pair, pairs[0] if pairs else pair)
            pairs.append(pair)
        return pairs

    def _check_shapes(self, pair: _Pair, first: _Pair) -> None:
        x, y, where = pair.x, pair.y, f"in {self._address}"
        if len(x.shape) not in (_ROW_SHAPE, *_IMAGE_SHAPES) or 0 in x.shape:
            raise BadData(
                f"{x.said} {where} has neither images, [images, height, width] or [images, height, width, channels], "
                "nor rows, [rows, features]. Reshape it, and let there be no 0 in its shape."
            )
        network = self._training.architecture.name
        rows = len(x.shape) == _ROW_SHAPE
        if rows and self._training.container is not None:
            raise BadData(
                f"{x.said} {where} has rows of features, and an image of your own is given images, or tables of other "
                "formats. Write the rows to a .csv file and data.format: CSV, or save images, [images, height, width]."
            )
        if rows and (self._training.builder is not None or network is not ArchitectureName.MLP):
            raise BadData(
                f"{x.said} {where} has rows of features, and the network takes images. Write architecture: {{name: "
                "MLP}, or save images, [images, height, width]."
            )
        if not rows and network is ArchitectureName.MLP and self._training.builder is None:
            raise BadData(
                f"{x.said} {where} has images, and MLP takes rows. Write another architecture.name, such as SmallCNN, "
                "or save rows, [rows, features]."
            )
        if len(x.shape) == max(_IMAGE_SHAPES) and x.shape[-1] not in _CHANNELS:
            raise BadData(
                f"{x.said} {where} has {x.shape[-1]} channels in its last dimension, and images have 1 or 3. Save them "
                "with those, as [images, height, width, channels]."
            )
        least = smallest_image(network)
        named = self._training.builder is None and self._training.container is None
        if not rows and named and min(x.shape[1:3]) < least:
            raise BadData(
                f"{x.said} {where} has images that are too small for {network}, which needs {least} by {least} pixels. "
                "Save larger ones, or write another architecture.name, such as SmallCNN."
            )
        check_one_number(y, where)
        if len(y.shape) not in (1, _ROW_SHAPE) or y.dtype.kind == "f":
            raise BadData(
                f"{y.said} {where} has no whole numbers, one for each row, which say its class from 0 up. Save "
                "y.astype('int64')."
            )
        check_lengths(x, y, where)
        if x.shape[1:] != first.x.shape[1:]:
            raise BadData(f"{x.said} {where} has rows of another shape than {first.x.said}. Save them alike.")

    def _check_memory(self, pairs: list[_Pair]) -> None:
        room = machine.memory_bytes() * MEMORY_SHARE
        count = sum(pair.x.shape[0] for pair in pairs)
        needed = count * BYTES_OF_A_ROW + sum(pair.y.bytes for pair in pairs)
        # Of an array by columns no row is there before the last column is: it is read as a whole, and turned.
        needed += 3 * max((pair.x.bytes for pair in pairs if pair.x.fortran), default=0)
        if len(pairs[0].x.shape) == _ROW_SHAPE:
            needed += count * pairs[0].x.shape[1] * np.dtype(np.float32).itemsize
        if needed > room:
            raise BadData(
                f"The arrays in {self._address} do not fit into half of the memory: {count:,} rows need "
                f"{needed / 1e9:.3g} GB, and there are {room / 1e9:.3g} GB. Raise "
                "spec.training.resources.limits.memory, or save fewer rows."
            )

    def _classes(
        self, labels: npt.NDArray[np.int64], parts: list[Part | None]
    ) -> tuple[list[int], npt.NDArray[np.int64]]:
        """The different labels of what is split here, and for each row its place among them."""
        own = np.array([part is not None for part in parts])
        known = np.unique(labels[~own])
        strange = np.setdiff1d(labels[own], known)
        if len(strange):
            raise BadData(
                f"The class {strange[0]} in y_val or y_test of {self._address} is not in y_train, so no model could "
                "ever get it right. Add rows of it to x_train, or remove it."
            )
        if len(known) == 1:
            raise OneClass(
                f"All {int((~own).sum())} rows of y_train in {self._address} are of the class {known[0]}; a classifier "
                "needs at least two classes. Add rows of another class."
            )
        if len(known) > MOST_WORDS:
            raise BadData(
                f"y_train in {self._address} has {len(known):,} different values, and {MOST_WORDS:,} classes are the "
                "most. Save the number of each row's class."
            )
        return known.tolist(), np.searchsorted(known, labels)

    def _blocks(self, x: Header) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Rows as they are learned from: uint8 images, or float32 features."""
        images = len(x.shape) != _ROW_SHAPE
        for first, block in self._file.blocks(x):
            self._context.interruption.check()
            self._context.board.say(f"read {first:,} of {x.shape[0]:,} rows of {x.name}")
            check_finite(x, self._address, first, block)
            yield first, self._pixels(x, first, block) if images else features_of(x, self._address, first, block)

    def _pixels(self, x: Header, first: int, block: npt.NDArray[Any]) -> Pixels:
        most = 1 if x.dtype.kind == "f" else 255
        low, high = block.min(), block.max()
        if low < 0 or high > most:
            place = int(np.argwhere((block < 0) | (block > most))[0][0])
            raise BadData(
                f"{x.name}[{first + place}] in {self._address} has numbers from {low:g} to {high:g}, and images are "
                "integers from 0 to 255 or floats from 0 to 1. Scale them, such as by (255 * x).astype('uint8')."
            )
        return np.round(block * 255.0).astype(np.uint8) if x.dtype.kind == "f" else block.astype(np.uint8)


def _table(names: tuple[str, ...], rows: npt.NDArray[Any], examples: tuple[Example, ...], split: Split) -> Table:
    codes = np.empty((len(rows), 0), dtype=np.int32)
    return Table(
        classes=names,
        columns=(Column(FEATURES, Kind.NUMERIC, rows.shape[1]),),
        numbers=rows,
        codes=codes,
        words=(),
        examples=examples,
        encoding=learn_encoding(rows[split.train], codes[split.train], ()),
        ignored=(),
        files=1,
    )
