"""Images of known classes that a source is evaluated on: found and decoded by training's own reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from keras_operator.api import (
    ColorMode,
    Data,
    DataFormat,
    EvaluationData,
    EvaluationFormat,
    ProgressStage,
    Records,
    Training,
)

from model_trainer import machine
from model_trainer.context import Context
from model_trainer.data.dataset import Dataset, ImageFiles
from model_trainer.data.decoding import CHANNELS, Decoder
from model_trainer.data.fetching import Resources, fetch_images
from model_trainer.data.file_batches import FileBatches
from model_trainer.data.listing import Listing, in_classes, in_named_classes
from model_trainer.data.pipeline import Batched
from model_trainer.data.reading import images_in, open_data
from model_trainer.data.split import Split
from model_trainer.evaluation.answers import Answers, ask
from model_trainer.evaluation.servable import AskedServable
from model_trainer.evaluation.source_record import Way
from model_trainer.failure import BadData
from model_trainer.report.pictures import LONGEST_SIDE
from model_trainer.samples import MOST_SAMPLES, PREDICT_BATCH
from model_trainer.tfrecord.images import find_test_images

FIELD = "spec.source.testData"
_NAMES = "spec.source.classes"
_NONE = np.array([], dtype=np.int64)


@dataclass(frozen=True)
class LabelledSet:
    """The test images as `way` takes them, and as files in `store`. All of them are one part."""

    dataset: Dataset
    store: ImageFiles
    way: Way
    training: Training

    @property
    def split(self) -> Split:
        """Nothing to learn from, and everything to test on."""
        return Split(_NONE, _NONE, np.arange(len(self.dataset.examples), dtype=np.int64))

    @property
    def keys(self) -> list[str]:
        """Names of the images, in the order in which a model is asked about them."""
        return [example.key for example in self.dataset.examples]

    def samples(self) -> Iterator[npt.NDArray[np.float32]]:
        """Up to 256 of the images as a signature takes them that has numbers, spread evenly, a few at a time."""
        rows = self.dataset.rows(self.split.test)
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_SAMPLES, dtype=np.int64))]
        low, high = self.way.pixel_range
        for start in range(0, len(chosen), PREDICT_BATCH):
            pixels = self.dataset.pixels[chosen[start : start + PREDICT_BATCH]].astype(np.float32)
            yield np.float32(low) + pixels / np.float32(255.0) * np.float32(high - low)


class LabelledImages:
    """What lies under the address of a test set: listed once, and decoded as often as another size is asked for.

    Args:
        test: where the images are.
        names: the classes in the order of the model's outputs; empty: the sorted names that the images bring, or the
            sorted numbers of records.
        endpoint: of the store.

    Raises:
        NoImages, OneClass, BadData, StoreError.
    """

    def __init__(self, test: EvaluationData, names: tuple[str, ...], endpoint: str | None, context: Context) -> None:
        self._test = test
        self._context = context
        self._store, self._listing = _listed(test, names, endpoint, context)

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names; a label is an index into them."""
        return self._listing.classes

    def read(self, way: Way, *, beside: bool = False) -> LabelledSet:
        """Fetch and decode the images as `way` takes them; `beside` those that are in memory already.

        Raises TooManyBadFiles and StoreError.
        """
        test, context = self._test, self._context
        memory = machine.memory_bytes() // (4 if beside else 1)
        height, width = way.size or (LONGEST_SIDE, LONGEST_SIDE)
        mode = next(mode for mode, channels in CHANNELS.items() if channels == way.channels)
        dataset = fetch_images(
            self._store,
            self._listing,
            Decoder(height, width, way.channels, machine.processors()),
            max_bad_files=test.max_bad_files,
            patience=context.patience,
            resources=Resources(memory, context.scratch),
            on_progress=lambda done, total: context.board.say(f"read {done} of {total} test images"),
            field=FIELD,
        )
        data = Data(
            uri=test.uri,
            format=DataFormat(test.format),
            labels=test.labels,
            records=None if test.records is None else Records(image=test.records.image, label=test.records.label),
            image_size=(height, width),
            color_mode=ColorMode(mode),
        )
        # What is measured is what every training measures that asks for nothing more.
        return LabelledSet(dataset, self._store, way, Training(data=data))


def _listed(
    test: EvaluationData, names: tuple[str, ...], endpoint: str | None, context: Context
) -> tuple[ImageFiles, Listing]:
    if test.format is EvaluationFormat.TFRECORD:
        found = find_test_images(test, names, _NAMES, endpoint, context, FIELD)
        context.board.enter(ProgressStage.EVALUATING, f"decoding the test images under {test.uri}")
        return found
    store = open_data(test.uri, endpoint, context, "test", FIELD)
    context.board.enter(ProgressStage.EVALUATING, f"looking for test images under {test.uri}")

    def by_files() -> Listing:
        images = images_in(store, test.labels, FIELD)
        return in_named_classes(images, names, _NAMES) if names else in_classes(images)

    return store, context.patience(f"listing {test.uri}", by_files)


def check_count(test: EvaluationData, classes: tuple[str, ...], outputs: int, what: str) -> None:
    """Hold the classes of the test images against the outputs of the model `what`, as far as it says how many.

    Raises:
        BadData: there are others.
    """
    if outputs not in {-1, len(classes)}:
        raise BadData(
            f"{test.uri} has {len(classes)} classes, and {what} answers with {outputs} numbers. Name every output of "
            "the model, in their order, in spec.source.classes, or put images of each class there."
        )


def ask_images(servable: AskedServable, images: LabelledSet, context: Context) -> Answers:
    """What a servable says to each of the images."""
    part, training = images.split.test, images.training
    batches: Batched | None = None
    if images.way.size is None:
        batches = FileBatches(images.store, images.dataset, part, context.patience, batch_size=training.batch_size)
    return ask(servable, images.dataset, part, training, batches=batches)
