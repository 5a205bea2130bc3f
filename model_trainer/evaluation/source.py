"""A model that somebody else trained, on a test set: asked as the servable that answers later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_operator.api import Comparison, EvaluationData, ProgressStage, RunSpec, Source, Training

from model_trainer import run_folder
from model_trainer.batching import AnyDataset
from model_trainer.context import Context
from model_trainer.data.data_card import data_card
from model_trainer.data.dataset import Dataset
from model_trainer.data.split import Split
from model_trainer.evaluation.labelled_images import LabelledImages, ask_images, check_count
from model_trainer.evaluation.labelled_rows import labelled_rows, read_rows
from model_trainer.evaluation.measuring import AnyAnswers, AnyRecord, record_of
from model_trainer.evaluation.servable import AskedServable, way_of
from model_trainer.evaluation.serving_rows import measure_serving_rows
from model_trainer.evaluation.serving_version import measure_serving_servable
from model_trainer.evaluation.source_record import RowsWay, SourceRecord, Way
from model_trainer.export import EXTRA_ASSETS
from model_trainer.failure import BadData, BadModelFile, BadSavedModel, RunFailure
from model_trainer.keras_files import is_model_file
from model_trainer.lineage import lineage_of
from model_trainer.npz.labelled import LabelledArrays
from model_trainer.report.facts import Trained, facts_of
from model_trainer.report.page import page_or_none
from model_trainer.result import finite
from model_trainer.run_folder import RunFolder
from model_trainer.signatures import Signature
from model_trainer.tables.card import table_card
from model_trainer.tables.table import Table

_FLOAT_IMAGES = 3
_CHANNELS = (1, 3)


@dataclass(frozen=True)
class EvaluatedSource:
    """What was measured: for a version's status, and as a whole; and where the version comes from.

    `asked` is a signature that takes numbers, with some of the test data as it was asked about them; None of words and
    of files.
    """

    source: SourceRecord
    record: AnyRecord
    lineage: dict[str, str]
    asked: tuple[str, Iterable[Mapping[str, Any]]] | None


@dataclass(frozen=True)
class _Asked:
    """What was asked about, how, and what was answered."""

    way: Way | RowsWay
    dataset: AnyDataset
    split: Split
    training: Training
    answers: AnyAnswers
    comparison: Comparison | None
    samples: Iterable[Mapping[str, Any]] | None


@dataclass(frozen=True)
class _Model:
    """The servable of a source in a folder, and who is to blame for it."""

    spec: RunSpec
    source: Source
    test: EvaluationData
    folder: RunFolder
    directory: Path
    signatures: dict[str, Signature]
    context: Context

    @property
    def what(self) -> str:
        """The model in a sentence."""
        return f"the model in {self.source.uri}"

    @property
    def kind(self) -> type[RunFailure]:
        """The failure of a model of this kind."""
        return BadModelFile if is_model_file(self.source.uri) else BadSavedModel

    def refuse(self, sentence: str) -> RunFailure:
        """The error for an answer that is none."""
        return self.kind(f"The model in {self.source.uri} cannot be evaluated: {sentence}")

    def evaluating(self, count: int, things: str) -> None:
        """Say it."""
        self.context.board.enter(ProgressStage.EVALUATING, f"evaluating on {count} test {things}")


def evaluate_source(
    spec: RunSpec,
    source: Source,
    test: EvaluationData,
    folder: RunFolder,
    directory: Path,
    signatures: dict[str, Signature],
    context: Context,
) -> EvaluatedSource:
    """Ask the servable in `directory` about every test image or row, and the version that serves, too.

    Leaves evaluation.json, data-card.json and report.html in the run's folder, the last two also beside the servable.

    Raises:
        BadSavedModel, BadModelFile: it cannot be asked about them, or its answers are no probabilities or numbers.
        NoImages, OneClass, BadData, TooManyBadFiles, StoreError.
    """
    model = _Model(spec, source, test, folder, directory, signatures, context)
    asked = _about_images(model) if test.has_images else _about_rows(model)
    dataset, part = asked.dataset, asked.split
    record = record_of(asked.answers, dataset.classes, asked.training.seed)

    folder.write(run_folder.EVALUATION, record)
    card = table_card(dataset, part) if isinstance(dataset, Table) else data_card(dataset, part)
    folder.write(run_folder.DATA_CARD, card)
    lineage = lineage_of(spec, card.sha256)
    known = Trained(
        spec=spec,
        training=asked.training,
        dataset=dataset,
        split=part,
        history={},
        answers=asked.answers,
        evaluation=record,
        comparison=asked.comparison,
        card=card,
        lineage=lineage,
    )
    if page := page_or_none(lambda: facts_of(known)):
        folder.write_text(run_folder.REPORT, page)
    folder.add_papers(directory / EXTRA_ASSETS)
    kept = SourceRecord(
        way=asked.way if isinstance(asked.way, Way) else None,
        classes=dataset.classes,
        metrics=finite(record.metrics),
        images=len(part.test),
        bad_files=len(dataset.bad) if isinstance(dataset, Dataset) else 0,
        data_hash=lineage["data"],
        comparison=asked.comparison,
        rows=asked.way if isinstance(asked.way, RowsWay) else None,
    )
    samples = None if asked.samples is None else (asked.way.signature, asked.samples)
    return EvaluatedSource(kept, record, lineage, samples)


def _about_images(model: _Model) -> _Asked:
    spec, source, test, context = model.spec, model.source, model.test, model.context
    found = way_of(model.signatures, source.pixel_range)
    if isinstance(found, str):
        raise model.kind(f"The model in {source.uri} {found}. Export one, or remove spec.source.testData.")
    way, outputs = found
    if way.size is None and source.pixel_range != (0.0, 1.0):
        raise model.kind(
            f"The model in {source.uri} takes images as files ({way.signature}), whose pixels it reads itself: remove "
            "spec.source.pixelRange."
        )
    _check_names(source, outputs, model.what)
    images = LabelledImages(test, source.classes, spec.store.endpoint, context)
    check_count(test, images.classes, outputs, model.what)
    read = images.read(way)
    model.evaluating(len(read.split.test), "images")
    answers = ask_images(
        AskedServable(model.directory, way, len(images.classes), read.keys, model.refuse), read, context
    )
    comparison: Comparison | None = None
    if spec.serving is not None:
        comparison = measure_serving_servable(spec.serving, model.folder, images, context)
    samples = ({way.input: batch} for batch in read.samples()) if way.size is not None else None
    return _Asked(way, read.dataset, read.split, read.training, answers, comparison, samples)


def _about_rows(model: _Model) -> _Asked:
    spec, source, test, context = model.spec, model.source, model.test, model.context
    rows = labelled_rows(test, spec.store.endpoint, context)
    found = rows.way(model.signatures)
    if isinstance(found, str):
        raise model.kind(f"The model in {source.uri} {found}. Export one, or correct spec.source.testData.")
    way, outputs = found
    if rows.number and source.classes:
        raise BadData(
            f"spec.source.classes names classes, and {test.uri} has a number that should be answered. Remove classes, "
            "or test on classes."
        )
    _check_names(source, outputs, model.what)
    if isinstance(rows, LabelledArrays) and is_model_file(source.uri) and _takes_images(way):
        rows.check_range(source.pixel_range)
    read = read_rows(rows, test, way, source.classes, outputs, model.what)
    model.evaluating(len(read.split.test), "rows")
    answers = read.ask(model.directory, model.refuse)
    comparison: Comparison | None = None
    if spec.serving is not None:
        comparison = measure_serving_rows(spec.serving, model.folder, rows, test, read, context)
    return _Asked(way, read.table, read.split, read.training, answers, comparison, read.samples())


def _takes_images(way: RowsWay) -> bool:
    """Whether a file's model takes images of `pixelRange`, see `is_image_classifier`."""
    shape = way.inputs[0].shape
    return len(shape) == _FLOAT_IMAGES and shape[-1] in _CHANNELS and way.inputs[0].dtype.startswith("float")


def _check_names(source: Source, outputs: int, what: str) -> None:
    named = source.classes
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise BadData(f"spec.source.classes names {twice[0]!r} twice. Give each output of the model its own name.")
    if named and outputs not in {-1, len(named)}:
        raise BadData(
            f"spec.source.classes has {len(named)} names, and {what} answers with {outputs} numbers. Name each of them "
            "once, in the order of the model's outputs, or leave classes out."
        )
