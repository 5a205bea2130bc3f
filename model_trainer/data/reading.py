"""The data of a run: found, fetched, decoded and split, as `spec.training.data` describes it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from keras_operator.api import Data, Labels, ProgressStage

from model_store import Store, open_store
from model_trainer import machine
from model_trainer.context import Context
from model_trainer.data.archive import is_archive, open_archive
from model_trainer.data.dataset import Dataset, ImageFiles
from model_trainer.data.decoding import CHANNELS, Decoder
from model_trainer.data.fetching import Resources, fetch_images, named
from model_trainer.data.labels import in_labels
from model_trainer.data.listing import TRAINING_DATA, Found, Listing, in_class_folders, in_classes
from model_trainer.data.quick_reads import quick_reads
from model_trainer.data.split import Part, Split
from model_trainer.failure import BadData, NoImages

log = logging.getLogger(__name__)


class Origin(Protocol):
    """Where each image can be read again."""

    @property
    def main(self) -> ImageFiles:
        """The data's uri."""
        ...

    def of(self, part: Part | None) -> ImageFiles:
        """What holds the images of `part`, None for those that were split here."""
        ...


@dataclass(frozen=True)
class Places:
    """Where the data is: the store at the data's uri, and one for each part that has a uri of its own."""

    main: Store
    own: Mapping[Part, Store]

    def of(self, part: Part | None) -> Store:
        """The store that holds the images of `part`, None for those that were split here."""
        return self.main if part is None else self.own[part]


def places_of(data: Data, endpoint: str | None, context: Context) -> Places:
    """Open every store of the data; archives are fetched and unpacked. Raises BadData and StoreError."""
    uris = ((Part.VALIDATION, data.validation_uri), (Part.TEST, data.test_uri))
    return Places(
        open_data(data.uri, endpoint, context, "data"),
        {part: open_data(uri, endpoint, context, part.name.lower()) for part, uri in uris if uri is not None},
    )


def open_data(uri: str, endpoint: str | None, context: Context, name: str, field: str = TRAINING_DATA) -> Store:
    """The folder at `uri`, or the archive's content, in the folder `name` of the scratch volume. Raises BadData."""
    if is_archive(uri):
        context.board.enter(ProgressStage.FETCHING, f"fetching {uri}")
        return open_archive(uri, endpoint, context, name, field)
    store = quick_reads(open_store(uri, endpoint=endpoint), endpoint)
    return context.cached(store if context.ahead is None else context.ahead.before(store), endpoint)


def read_data(data: Data, places: Places, context: Context) -> tuple[Dataset, Split]:
    """Find, fetch and split the images.

    Raises:
        NoImages, OneClass, BadData, TooManyBadFiles, StoreError.
    """
    context.board.enter(ProgressStage.FETCHING, f"looking for images under {data.uri}")
    listing = context.patience(f"listing {data.uri}", lambda: list_data(data, places))
    dataset, split = read_listed(data, listing, places.main, places.own, context)
    if context.ahead is not None:
        context.ahead.forget()
    return dataset, split


def read_listed(
    data: Data, listing: Listing, main: ImageFiles, own: Mapping[Part, ImageFiles], context: Context
) -> tuple[Dataset, Split]:
    """Fetch and split the images of `listing`, which are in `main` and, of parts with a uri of their own, in `own`.

    Raises:
        NoImages, BadData, TooManyBadFiles, StoreError.
    """
    height, width = data.image_size
    dataset = fetch_images(
        main,
        listing,
        Decoder(height, width, CHANNELS[data.color_mode.value], machine.processors()),
        max_bad_files=data.max_bad_files,
        patience=context.patience,
        resources=Resources(machine.memory_bytes(), context.scratch),
        own=own,
        on_progress=lambda done, total: context.board.say(f"read {done} of {total} images"),
    )
    split = dataset.split(validation_fraction=data.validation_fraction, test_fraction=data.test_fraction)
    _check_parts(data, dataset, split)
    _log_data(dataset, split)
    return dataset, split


def list_data(data: Data, places: Places) -> Listing:
    """What lies under the data's uris. Raises NoImages, OneClass and BadData."""
    return in_classes(
        images_in(places.main, data.labels), {part: images_in(store, data.labels) for part, store in places.own.items()}
    )


def images_in(store: Store, labels: Labels | None, field: str = TRAINING_DATA) -> Found:
    """The images in `store`, of the classes that `labels` or their folders say. Raises NoImages and BadData."""
    if labels is not None:
        return in_labels(store, store.list(), labels, field)
    return in_class_folders(store.uri, store.list(), field)


def _check_parts(data: Data, dataset: Dataset, split: Split) -> None:
    learned = set(dataset.labels(split.train).tolist())
    for label, name in enumerate(dataset.classes):
        if label not in learned:
            raise BadData(
                f"Every image of the class {name!r} under {data.uri} is also in the part that was split off, so none "
                "is left to learn from. Add other images of it."
            )
    for part, uri, indices in (
        ("validation", data.validation_uri, split.validation),
        ("test", data.test_uri, split.test),
    ):
        if uri is not None and not len(indices):
            raise NoImages(f"No image under {uri} can be used, so there is no {part} part. Repair or replace them.")
    if not len(split.test) or not len(split.validation):
        raise NoImages(
            f"{data.uri} has {len(dataset.examples)} different images that can be used, too few for a train, a "
            "validation and a test part. Add images: each class needs one, and two more are needed in all."
        )


def _log_data(dataset: Dataset, split: Split) -> None:
    if dataset.bad:
        log.warning("%d files cannot be used: %s", len(dataset.bad), named(list(dataset.bad)))
    if dataset.ignored:
        log.info("other files were left out", extra={"ignored": dataset.ignored})
    sizes = {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)}
    if copies := len(dataset.examples) - sum(sizes.values()):
        log.info("copies of images of the validation and test parts are not learned from", extra={"copies": copies})
    log.info("the data is read", extra={"classes": len(dataset.classes), "images": sizes})
