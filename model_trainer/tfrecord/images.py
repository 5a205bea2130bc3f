"""Images in TFRecord files: found record by record, kept as files on the scratch volume, and decoded as files are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from keras_operator.api import Data, Records

from model_store import NotFound, TooLarge
from model_trainer.context import Context
from model_trainer.data.dataset import Dataset
from model_trainer.data.listing import Found, in_classes
from model_trainer.data.reading import read_listed
from model_trainer.data.split import Part, Split
from model_trainer.failure import BadData
from model_trainer.tables.columns import MOST_WORDS
from model_trainer.tfrecord.examples import Example
from model_trainer.tfrecord.files import records_of
from model_trainer.tfrecord.labels import class_of, order_of

_FIELD = "spec.training.data.records"


class PackedImages:
    """The files of images that records hold, one after the other in a file of the scratch volume."""

    def __init__(self, uri: str, path: Path) -> None:
        self.uri = uri
        self._path = path
        self._places: dict[str, tuple[int, int]] = {}
        self._end = 0

    def add(self, key: str, data: bytes, file: IO[bytes]) -> None:
        """Keep one, at the end of `file`."""
        file.write(data)
        self._places[key] = (self._end, len(data))
        self._end += len(data)

    def read(self, key: str, *, limit: int) -> bytes:
        """An image's bytes. Raises NotFound, and TooLarge above `limit` bytes."""
        if key not in self._places:
            raise NotFound(f"There is no {self.uri}/{key}.")
        start, size = self._places[key]
        if size > limit:
            raise TooLarge(f"{self.uri}/{key} has {size:,} bytes, more than {limit:,}.")
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read(size)


@dataclass(frozen=True)
class PackedPlaces:
    """Where the images of each part are."""

    main: PackedImages
    own: Mapping[Part, PackedImages]

    def of(self, part: Part | None) -> PackedImages:
        """What holds the images of `part`, None for those that were split here."""
        return self.main if part is None else self.own[part]


@dataclass
class _Part:
    images: PackedImages
    file: IO[bytes]
    found: list[tuple[str, str, int]] = field(default_factory=list)


def read_record_images(data: Data, endpoint: str | None, context: Context) -> tuple[Dataset, Split, PackedPlaces]:
    """Find, unpack, decode and split the images, as `data.records` says where they are.

    Raises:
        NoImages, OneClass, BadData, TooManyBadFiles, StoreError.
    """
    wanted = data.records or Records()
    uris = {None: data.uri, Part.VALIDATION: data.validation_uri, Part.TEST: data.test_uri}
    with ExitStack() as stack:
        parts = {}
        for part, uri in uris.items():
            if uri is not None:
                path = context.scratch / f"images-{'data' if part is None else part.name.lower()}.bin"
                parts[part] = _Part(PackedImages(uri, path), stack.enter_context(path.open("wb")))
        for record in records_of(data, endpoint, context):
            image = _image(record.example, wanted)
            label = class_of(record.example, wanted.label, f"{_FIELD}.label", wanted.classes)
            of_part = parts[record.part]
            of_part.images.add(record.key, image, of_part.file)
            of_part.found.append((record.key, label, len(image)))
    classes = {label for _, label, _ in parts[None].found}
    if len(classes) > MOST_WORDS:
        raise BadData(
            f"The label {wanted.label!r} has {len(classes):,} different values, and {MOST_WORDS:,} classes are the "
            f"most. Correct {_FIELD}.label."
        )
    found = {part: _found(each, wanted) for part, each in parts.items()}
    everywhere = {label for each in parts.values() for _, label, _ in each.found}
    own = {part: each for part, each in found.items() if part is not None}
    listing = in_classes(found[None], own, order_of(everywhere, wanted.classes))
    places = PackedPlaces(parts[None].images, {part: each.images for part, each in parts.items() if part is not None})
    dataset, split = read_listed(data, listing, places.main, places.own, context)
    return dataset, split, places


def _image(example: Example, wanted: Records) -> bytes:
    feature = example.feature(wanted.image, f"{_FIELD}.image")
    values = [value for value in feature.values if isinstance(value, bytes)]
    if len(values) != 1 or len(feature.values) != 1:
        raise example.bad(
            f"has {feature.said} in {wanted.image!r}, and an image is the bytes of one file. Write those, such as "
            f"tf.io.encode_png(…), or correct {_FIELD}.image; of numbers, write spec.training.data.table"
        )
    return values[0]


def _found(part: _Part, wanted: Records) -> Found:
    return Found(
        part.images.uri,
        tuple(part.found),
        (),
        Counter(),
        one_class=(
            f"All {len(part.found)} records under {part.images.uri} have {part.found[0][1]!r} in the label "
            f"{wanted.label!r}; a classifier needs at least two classes. Add records of another class, or correct "
            f"{_FIELD}.label."
        ),
    )
