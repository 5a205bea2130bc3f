"""Images in TFRecord files: found record by record, kept as files on the scratch volume, and decoded as files are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from keras_operator.api import Data, EvaluationData, ImageRecords, Records

from model_store import NotFound, TooLarge
from model_trainer.context import Context
from model_trainer.data.dataset import Dataset
from model_trainer.data.listing import TRAINING_DATA, Found, Listing, in_classes, in_named_classes
from model_trainer.data.reading import read_listed
from model_trainer.data.split import Part, Split
from model_trainer.failure import BadData
from model_trainer.tables.columns import MOST_WORDS
from model_trainer.tfrecord.examples import Example
from model_trainer.tfrecord.files import Record, records_at, records_of
from model_trainer.tfrecord.labels import class_of, order_of


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


@dataclass(frozen=True)
class _Wanted:
    """The features to look at, and the fields that say so: of the features, of the classes' names, and of numbers."""

    records: ImageRecords
    classes: tuple[str, ...]
    field: str
    names: str
    of_numbers: str = ""


@dataclass
class _Part:
    images: PackedImages
    file: IO[bytes]
    found: list[tuple[str, str, int]] = field(default_factory=list)

    def keep(self, record: Record, wanted: _Wanted) -> None:
        """Write the image of `record` behind the others. Raises BadData where it has none, or no class."""
        image = _image(record.example, wanted)
        label = class_of(record.example, wanted.records.label, f"{wanted.field}.label", wanted.classes, wanted.names)
        self.images.add(record.key, image, self.file)
        self.found.append((record.key, label, len(image)))


def read_record_images(data: Data, endpoint: str | None, context: Context) -> tuple[Dataset, Split, PackedPlaces]:
    """Find, unpack, decode and split the images, as `data.records` says where they are.

    Raises:
        NoImages, OneClass, BadData, TooManyBadFiles, StoreError.
    """
    records = data.records or Records()
    where = f"{TRAINING_DATA}.records"
    numbers = f"; of numbers, write {TRAINING_DATA}.table"
    wanted = _Wanted(records, records.classes, where, f"{where}.classes", numbers)
    uris = {None: data.uri, Part.VALIDATION: data.validation_uri, Part.TEST: data.test_uri}
    with ExitStack() as stack:
        parts = {}
        for part, uri in uris.items():
            if uri is not None:
                path = context.scratch / f"images-{'data' if part is None else part.name.lower()}.bin"
                parts[part] = _Part(PackedImages(uri, path), stack.enter_context(path.open("wb")))
        for record in records_of(data, endpoint, context):
            parts[record.part].keep(record, wanted)
    found = {part: _found(each, wanted) for part, each in parts.items()}
    everywhere = {label for each in parts.values() for _, label, _ in each.found}
    own = {part: each for part, each in found.items() if part is not None}
    listing = in_classes(found[None], own, order_of(everywhere, records.classes))
    places = PackedPlaces(parts[None].images, {part: each.images for part, each in parts.items() if part is not None})
    dataset, split = read_listed(data, listing, places.main, places.own, context)
    return dataset, split, places


def find_test_images(
    test: EvaluationData, classes: tuple[str, ...], names: str, endpoint: str | None, context: Context, described: str
) -> tuple[PackedImages, Listing]:
    """Find and unpack the images that a model is tested on, as `test.records` says, in the order of its outputs.

    Args:
        test: where the records are.
        classes: the outputs in their order; empty: the classes that the records have.
        names: the field that gives the classes.
        endpoint: of the store.
        described: the field of `test`.

    Raises:
        OneClass, BadData, StoreError.
    """
    wanted = _Wanted(test.records or ImageRecords(), classes, f"{described}.records", names)
    path = context.scratch / "images-test.bin"
    with path.open("wb") as file:
        part = _Part(PackedImages(test.uri, path), file)
        for record in records_at(test.uri, None, endpoint, context, "test", described):
            part.keep(record, wanted)
    found = _found(part, wanted)
    if classes:
        return part.images, in_named_classes(found, classes, names)
    return part.images, in_classes(found, order=order_of({label for _, label, _ in found.images}))


def _image(example: Example, wanted: _Wanted) -> bytes:
    name = wanted.records.image
    feature = example.feature(name, f"{wanted.field}.image")
    values = [value for value in feature.values if isinstance(value, bytes)]
    if len(values) != 1 or len(feature.values) != 1:
        raise example.bad(
            f"has {feature.said} in {name!r}, and an image is the bytes of one file. Write those, such as "
            f"tf.io.encode_png(…), or correct {wanted.field}.image{wanted.of_numbers}"
        )
    return values[0]


def _found(part: _Part, wanted: _Wanted) -> Found:
    label = wanted.records.label
    classes = {name for _, name, _ in part.found}
    if len(classes) > MOST_WORDS:
        raise BadData(
            f"The label {label!r} has {len(classes):,} different values, and {MOST_WORDS:,} classes are the most. "
            f"Correct {wanted.field}.label."
        )
    return Found(
        part.images.uri,
        tuple(part.found),
        (),
        Counter(),
        one_class=(
            f"All {len(part.found)} records under {part.images.uri} have {part.found[0][1]!r} in the label "
            f"{label!r}; a classifier needs at least two classes. Add records of another class, or correct "
            f"{wanted.field}.label."
        ),
    )
