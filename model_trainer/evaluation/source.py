"""A model that somebody else trained, on images of known classes: asked as the servable that answers later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keras_operator.api import Comparison, EvaluationData, ProgressStage, RunSpec, Source

from model_trainer import run_folder
from model_trainer.context import Context
from model_trainer.data.data_card import data_card
from model_trainer.evaluation.labelled_images import LabelledImages, LabelledSet, ask_images, check_count
from model_trainer.evaluation.record import EvaluationRecord, evaluation_of
from model_trainer.evaluation.servable import AskedServable, way_of
from model_trainer.evaluation.serving_version import measure_serving_servable
from model_trainer.evaluation.source_record import SourceRecord
from model_trainer.export import EXTRA_ASSETS
from model_trainer.failure import BadData, BadModelFile, BadSavedModel, RunFailure
from model_trainer.keras_files import is_model_file
from model_trainer.lineage import lineage_of
from model_trainer.report.facts import Trained, facts_of
from model_trainer.report.page import page_or_none
from model_trainer.result import finite
from model_trainer.run_folder import RunFolder
from model_trainer.signatures import Signature


@dataclass(frozen=True)
class EvaluatedSource:
    """What was measured: for a version's status, as a whole, on which images; and where the version comes from."""

    images: LabelledSet
    source: SourceRecord
    record: EvaluationRecord
    lineage: dict[str, str]


def evaluate_source(
    spec: RunSpec,
    source: Source,
    test: EvaluationData,
    folder: RunFolder,
    directory: Path,
    signatures: dict[str, Signature],
    context: Context,
) -> EvaluatedSource:
    """Ask the servable in `directory` about every test image, and the version that serves, too.

    Leaves evaluation.json, data-card.json and report.html in the run's folder, the last two also beside the servable.

    Raises:
        BadSavedModel, BadModelFile: it cannot be asked about images, or its answers are no probabilities.
        NoImages, OneClass, BadData, TooManyBadFiles, StoreError.
    """
    what = f"the model in {source.uri}"
    kind: type[RunFailure] = BadModelFile if is_model_file(source.uri) else BadSavedModel

    def refuse(sentence: str) -> RunFailure:
        return kind(f"The model in {source.uri} cannot be evaluated: {sentence}")

    found = way_of(signatures, source.pixel_range)
    if isinstance(found, str):
        raise kind(f"The model in {source.uri} {found}. Export one, or remove spec.source.testData.")
    way, outputs = found
    if way.size is None and source.pixel_range != (0.0, 1.0):
        raise kind(
            f"The model in {source.uri} takes images as files ({way.signature}), whose pixels it reads itself: remove "
            "spec.source.pixelRange."
        )
    _check_names(source, outputs, what)
    images = LabelledImages(test, source.classes, spec.store.endpoint, context)
    check_count(test, images.classes, outputs, what)
    read = images.read(way)
    classes, part = images.classes, read.split
    context.board.enter(ProgressStage.EVALUATING, f"evaluating on {len(part.test)} test images")
    answers = ask_images(AskedServable(directory, way, len(classes), read.keys, refuse), read, context)
    record = evaluation_of(answers, classes, read.training.seed)
    comparison: Comparison | None = None
    if spec.serving is not None:
        comparison = measure_serving_servable(spec.serving, folder, images, context)

    folder.write(run_folder.EVALUATION, record)
    card = data_card(read.dataset, part)
    folder.write(run_folder.DATA_CARD, card)
    lineage = lineage_of(spec, card.sha256)
    known = Trained(
        spec=spec,
        training=read.training,
        dataset=read.dataset,
        split=part,
        history={},
        answers=answers,
        evaluation=record,
        comparison=comparison,
        card=card,
        lineage=lineage,
    )
    if page := page_or_none(lambda: facts_of(known)):
        folder.write_text(run_folder.REPORT, page)
    folder.add_papers(directory / EXTRA_ASSETS)
    kept = SourceRecord(
        way=way,
        classes=classes,
        metrics=finite(record.metrics),
        images=len(part.test),
        bad_files=len(read.dataset.bad),
        data_hash=lineage["data"],
        comparison=comparison,
    )
    return EvaluatedSource(read, kept, record, lineage)


def _check_names(source: Source, outputs: int, what: str) -> None:
    named = source.classes
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise BadData(f"spec.source.classes names {twice[0]!r} twice. Give each output of the model its own name.")
    if named and outputs not in {-1, len(named)}:
        raise BadData(
            f"spec.source.classes has {len(named)} names, and {what} answers with {outputs} numbers. Name each of them "
            "once, in the order of the model's outputs, or leave classes out."
        )
