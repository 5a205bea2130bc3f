"""The images of a run, decoded, with what is known of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model_trainer.data.decoding import Pixels
from model_trainer.data.listing import BadFile
from model_trainer.data.split import Indices, Part, Split, split_with_own_parts

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Example:
    """A usable image, or a row of a table.

    `row` in the array of pixels or cells, `key` in the store, class index, SHA-256 (hex) of the file or of the row's
    features, the file's `size` in bytes, and the `part` whose own uri it comes from; None for one that is still to be
    split.
    """

    row: int
    key: str
    label: int
    sha256: str
    size: int = 0
    part: Part | None = None


class ImageFiles(Protocol):
    """Where images are that are files, or were when somebody packed them: a store, or part of one."""

    uri: str

    def read(self, key: str, *, limit: int) -> bytes:
        """The file's bytes. Raises NotFound, and TooLarge above `limit` bytes."""
        ...


class Labelled(Protocol):
    """What has classes, and examples of them: images or rows."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names; a label is an index into them."""
        ...

    @property
    def examples(self) -> tuple[Example, ...]:
        """The images or rows that can be used."""
        ...


@dataclass(frozen=True)
class Dataset:
    """Decoded images and what is known of them.

    Attributes:
        classes: names; a label is an index into them.
        pixels: uint8 [rows, height, width, channels]; rows of bad files are not filled.
        examples: the usable images in the order of their keys.
        bad: the unusable ones.
        ignored: how many files were no images by name, by what was found.
    """

    classes: tuple[str, ...]
    pixels: Pixels
    examples: tuple[Example, ...]
    bad: tuple[BadFile, ...]
    ignored: dict[str, int]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[1], self.pixels.shape[2]

    @property
    def color_mode(self) -> str:
        """`grayscale` or `rgb`."""
        return "grayscale" if self.pixels.shape[3] == 1 else "rgb"

    def split(self, *, validation_fraction: float, test_fraction: float) -> Split:
        """Indices into `examples` of each part; a part that has its own uri is that, and its fraction says nothing."""
        return split_with_own_parts(
            [example.sha256 for example in self.examples],
            [example.label for example in self.examples],
            [example.part for example in self.examples],
            validation_fraction=validation_fraction,
            test_fraction=test_fraction,
        )

    def rows(self, indices: Indices) -> Indices:
        """Rows in `pixels` of these examples."""
        return np.array([self.examples[index].row for index in indices], dtype=np.int64)

    def labels(self, indices: Indices) -> Labels:
        """Class indices of these examples."""
        return np.array([self.examples[index].label for index in indices], dtype=np.int64)
