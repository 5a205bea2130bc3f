"""The version that serves, measured on the new version's test images: the only fair way to tell which is better.

Its own test images are others wherever the data has changed since.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras_operator.api import Comparison, Training

from model_store import Corrupt, NotFound, StoreError, fetch_described, read_manifest
from model_trainer import run_folder
from model_trainer.batching import AnyDataset
from model_trainer.builder import load_kept
from model_trainer.context import Context
from model_trainer.data.dataset import Dataset
from model_trainer.data.decoding import CHANNELS
from model_trainer.data.split import Indices, Split
from model_trainer.evaluation.answers import Answers, ask
from model_trainer.evaluation.labelled_images import LabelledImages, ask_images
from model_trainer.evaluation.measuring import AnyAnswers, answers_of, record_of
from model_trainer.evaluation.servable import AskedServable
from model_trainer.evaluation.source_record import Way
from model_trainer.export import FLOAT_SIGNATURE, IMAGES, PROBABILITIES
from model_trainer.failure import RunFailure
from model_trainer.result import finite
from model_trainer.run_folder import Record, RunFolder
from model_trainer.tables.columns import Column
from model_trainer.tables.table import Table

log = logging.getLogger(__name__)

# Of classes that differ, in a sentence.
_NAMED = 3
# Of a problem in letters: it travels in a Job's answer, which has 4,000 bytes.
_LONGEST = 500


def measure_serving(
    number: int, folder: RunFolder, dataset: AnyDataset, split: Split, training: Training, context: Context
) -> Comparison:
    """What the record of version `number` would say on the test part of `split`.

    A version that cannot be measured so is no fault of the new one: the comparison says why, and a gate that needs it
    is not met. Raises StoreError while the store is away.
    """
    serving = folder.of(number)
    record = serving.record()
    if record is None and not isinstance(dataset, Table):
        return _measure_source(number, serving, dataset, split, training, context)
    elsewhere = record is None and serving.export_record() is not None
    problem = "it was trained elsewhere, and is not asked about a training's rows" if elsewhere else ""
    problem = problem or _difference(record, dataset)
    if problem:
        log.info("version %d, which serves, cannot be compared: %s", number, problem)
        return Comparison(version=number, problem=problem)
    context.board.say(f"evaluating version {number}, which serves, on the same images")
    path = context.scratch / f"version-{number}.keras"
    try:
        serving.download(run_folder.MODEL, path)
    except NotFound:
        return Comparison(version=number, problem=GONE)
    try:
        own_code = load_kept(serving)
        model = keras.models.load_model(path, compile=False, safe_mode=not own_code)
    except Exception as error:  # whatever Keras raises about a file that an older release wrote
        log.exception("version %d, which serves, cannot be loaded", number)
        return Comparison(version=number, problem=f"its model.keras cannot be loaded ({type(error).__name__})")
    finally:
        path.unlink()
    answers = answers_of(model, dataset, split.test, training, served=True)
    metrics = finite(record_of(answers, dataset.classes, training.seed).metrics)
    return Comparison(version=number, metrics=metrics)


def _measure_source(
    number: int, serving: RunFolder, dataset: Dataset, split: Split, training: Training, context: Context
) -> Comparison:
    """The same where no training made what serves: its servable is asked about the pixels that training reads."""
    known = _asked(serving)
    if isinstance(known, str):
        return Comparison(version=number, problem=known)
    way, classes = known
    if way.size is None:
        return Comparison(version=number, problem="it takes images as files, and these are pixels by now")
    mode = next(mode for mode, channels in CHANNELS.items() if channels == way.channels)
    if problem := _size(way.size, mode, dataset):
        return Comparison(version=number, problem=problem)
    keys = [dataset.examples[index].key for index in split.test]

    def answers(directory: Path, order: Indices) -> Answers:
        servable = AskedServable(directory, way, len(classes), keys, ValueError, order)
        return ask(servable, dataset, split.test, training)

    return measure_published(number, serving, classes, dataset.classes, answers, training.seed, context)


def measure_serving_servable(number: int, folder: RunFolder, images: LabelledImages, context: Context) -> Comparison:
    """The same for the test images of a source, by what version `number` serves: its own size, its own signature.

    Raises StoreError while the store is away.
    """
    serving = folder.of(number)
    known = _asked(serving)
    if isinstance(known, str):
        return Comparison(version=number, problem=known)
    way, classes = known
    if problem := _other_classes(images.classes, classes):
        return Comparison(version=number, problem=problem)
    read = images.read(way, beside=True)

    def answers(directory: Path, order: Indices) -> Answers:
        return ask_images(AskedServable(directory, way, len(classes), read.keys, ValueError, order), read, context)

    return measure_published(number, serving, classes, images.classes, answers, read.training.seed, context)


def measure_published(
    number: int,
    serving: RunFolder,
    classes: tuple[str, ...],
    wanted: tuple[str, ...],
    answers: Callable[[Path, Indices], AnyAnswers],
    seed: int,
    context: Context,
) -> Comparison:
    """What the servable in the store says, its outputs, which are `classes`, put into the order of `wanted`.

    `answers` asks the one in a folder, whose output for each class of `wanted` is at the place that is given; a
    ValueError says what is wrong with it.
    """
    if problem := _other_classes(wanted, classes):
        return Comparison(version=number, problem=problem)
    context.board.say(f"evaluating version {number}, which serves, on the same images")
    where = context.scratch / "serving"
    patience = context.patience
    try:
        manifest = patience("looking for what serves", lambda: read_manifest(serving.store, number))
        patience("fetching what serves", lambda: fetch_described(serving.store, manifest, where))
    except (NotFound, Corrupt):
        return Comparison(version=number, problem="its files in the store are not there or are damaged")
    order = np.array([classes.index(name) for name in wanted], dtype=np.int64)
    try:
        answered = answers(where / str(number), order)
    except (RunFailure, StoreError):
        raise
    except Exception as error:  # whatever its graph raises about images that it was not made for
        log.exception("version %d, which serves, cannot be asked", number)
        problem = str(error) if isinstance(error, ValueError) else f"it cannot be asked ({type(error).__name__})"
        return Comparison(version=number, problem=problem[:_LONGEST].rstrip("."))
    finally:
        shutil.rmtree(where)
    return Comparison(version=number, metrics=finite(record_of(answered, wanted, seed).metrics))


def _other_classes(wanted: tuple[str, ...], classes: tuple[str, ...]) -> str:
    """What is said of two sets of classes that differ, whatever their order; empty where they do not."""
    if set(classes) == set(wanted):
        return ""
    return f"its classes are others: {_classes(set(wanted), set(classes))}"


def _asked(serving: RunFolder) -> tuple[Way, tuple[str, ...]] | str:
    """How a published version is asked about images, and its classes; or why it cannot be."""
    record = serving.record()
    if record is not None:
        if record.image_size is None or record.color_mode is None:
            return "it learned from a table, and these are images"
        channels = CHANNELS[record.color_mode]
        return Way(FLOAT_SIGNATURE, IMAGES, PROBABILITIES, record.image_size, channels), record.classes
    export = serving.export_record()
    if export is None:
        return GONE
    if export.source is None:
        return "it came without spec.source.testData, so nobody knows which class each of its outputs is"
    if export.source.way is None:
        return "it was tested on rows, and these are images"
    return export.source.way, export.source.classes


GONE = "there is no trained model of it in the store"
"""What is said of a version of which nothing is left."""


def _difference(record: Record | None, dataset: AnyDataset) -> str:
    """What makes the test images no test for a version, empty where nothing does."""
    if record is None:
        return GONE
    learned = record.target.name if record.target else ""
    wanted = dataset.target.name if isinstance(dataset, Table) and dataset.target else ""
    if learned != wanted:
        return f"it learned {_what(learned)}, and this one learns {_what(wanted)}"
    if record.classes != dataset.classes:
        return f"its classes are others: {_classes(set(dataset.classes), set(record.classes))}"
    if isinstance(dataset, Table) or record.image_size is None:
        return _columns(dataset.columns if isinstance(dataset, Table) else (), record.columns)
    return _size(record.image_size, str(record.color_mode), dataset)


def _size(size: tuple[int, int], mode: str, dataset: Dataset) -> str:
    if (size, mode) == (dataset.image_size, dataset.color_mode):
        return ""
    return f"it takes {_images(*size, mode)}, and these are {_images(*dataset.image_size, dataset.color_mode)}"


def _what(number: str) -> str:
    return f"the number {number!r}" if number else "classes"


def _classes(new: set[str], old: set[str]) -> str:
    said = [f"{_some(names)} {how}" for names, how in ((new - old, "came"), (old - new, "went")) if names]
    return " and ".join(said) if said else "they are in another order"


def _columns(new: tuple[Column, ...], old: tuple[Column, ...]) -> str:
    if set(new) == set(old) and new != old:
        return "its columns are in another order"
    return "" if new == old else f"it takes {_in_words(old)}, and these are {_in_words(new)}"


def _in_words(columns: tuple[Column, ...]) -> str:
    if not columns:
        return "images"
    more = f" and {len(columns) - _NAMED} more" if len(columns) > _NAMED else ""
    return f"the columns {', '.join(f'{column.name} ({column.kind})' for column in columns[:_NAMED])}{more}"


def _some(names: set[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(sorted(names)[:_NAMED]) + more


def _images(height: Any, width: Any, mode: str) -> str:
    return f"{mode} images of {height} by {width} pixels"
