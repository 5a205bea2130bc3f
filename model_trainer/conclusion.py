"""What follows a training, whoever trained: evaluation, report, and all that is kept of it in the run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_operator.api import Images, ProgressStage, RunResult, RunSpec, RunStage, Training

from model_trainer import run_folder
from model_trainer.batching import AnyDataset
from model_trainer.context import Context
from model_trainer.data.data_card import data_card
from model_trainer.data.split import Indices, Split
from model_trainer.evaluation.measuring import answers_of, of_validation, record_of
from model_trainer.evaluation.serving_version import measure_serving
from model_trainer.lineage import lineage_of
from model_trainer.report.facts import Trained, facts_of
from model_trainer.report.page import page_or_none
from model_trainer.result import finite
from model_trainer.run_folder import BAD_FILES_NAMED, Record, RunFolder
from model_trainer.samples import Samples
from model_trainer.saving import save
from model_trainer.tables.card import table_card
from model_trainer.tables.mlp import with_raw_columns
from model_trainer.tables.samples import RowSamples
from model_trainer.tables.table import Table


@dataclass(frozen=True)
class Learned:
    """What came of a training.

    Attributes:
        model: the keras.Model.
        dataset, split: what it learned from, and was not shown.
        samples: of the test part, with the model's answers, for the export to compare its own with.
        history: a number for each epoch, by what was measured.
        epochs: how many were trained; 0 where nobody says.
        ended: why training ended before its last epoch; empty: it did not.
        builder: SHA-256 of the source that built the network, where there is one.
        raw: whether the model takes the raw columns of a table, as it is served, and not what is made of them here.
    """

    model: Any
    dataset: AnyDataset
    split: Split
    samples: Callable[[], Samples | RowSamples]
    history: Mapping[str, Sequence[float]]
    epochs: int
    ended: str = ""
    builder: str | None = None
    raw: bool = False


def conclude(learned: Learned, spec: RunSpec, training: Training, folder: RunFolder, context: Context) -> Record:
    """Evaluate on the test part, and write everything to the run folder; the record, which says so, comes last."""
    board, model, dataset, split = context.board, learned.model, learned.dataset, learned.split
    things = "rows" if isinstance(dataset, Table) else "images"
    board.enter(ProgressStage.EVALUATING, f"evaluating on {len(split.test)} {things} that were held out")
    test = answers_of(model, dataset, split.test, training, served=learned.raw)
    evaluation = record_of(test, dataset.classes, training.seed)
    validation = answers_of(model, dataset, split.validation, training, served=learned.raw)
    comparison = measure_serving(spec.serving, folder, dataset, split, training, context) if spec.serving else None
    board.happened("evaluated")

    board.enter(ProgressStage.SAVING, "saving the model and what is known of it")
    folder.write(run_folder.EVALUATION, evaluation)
    folder.write(run_folder.HISTORY, learned.history)
    folder.write(run_folder.SPLIT, _split_of(dataset, split))
    card = table_card(dataset, split) if isinstance(dataset, Table) else data_card(dataset, split)
    folder.write(run_folder.DATA_CARD, card)
    lineage = lineage_of(spec, card.sha256)
    known = Trained(
        spec=spec,
        training=training,
        dataset=dataset,
        split=split,
        history=learned.history,
        answers=test,
        evaluation=evaluation,
        comparison=comparison,
        card=card,
        lineage=lineage,
    )
    if page := page_or_none(lambda: facts_of(known)):
        folder.write_text(run_folder.REPORT, page)
    learned.samples().save(context.scratch / run_folder.SAMPLES)
    folder.upload(context.scratch / run_folder.SAMPLES, run_folder.SAMPLES)
    whole = with_raw_columns(model, dataset) if isinstance(dataset, Table) and not learned.raw else model
    # A .h5 file has no place for the words that a lookup layer of somebody else's has learned.
    for path in save(whole, context.scratch, legacy=not learned.raw):
        folder.upload(path, path.name)
    board.happened("saved")
    record = Record(
        comparison=comparison,
        lineage=lineage,
        metrics=finite({**evaluation.metrics, **of_validation(validation)}),
        classes=dataset.classes,
        image_size=None if isinstance(dataset, Table) else dataset.image_size,
        color_mode=None if isinstance(dataset, Table) else dataset.color_mode,
        columns=dataset.columns if isinstance(dataset, Table) else (),
        target=dataset.target if isinstance(dataset, Table) else None,
        images=Images(train=len(split.train), validation=len(split.validation), test=len(split.test)),
        bad_files=0 if isinstance(dataset, Table) else len(dataset.bad),
        bad_file_names=() if isinstance(dataset, Table) else dataset.bad[:BAD_FILES_NAMED],
        ignored_files={} if isinstance(dataset, Table) else dataset.ignored,
        builder=learned.builder,
        epochs=learned.epochs,
        times=board.progress.times,
        ended=learned.ended,
    )
    folder.write(run_folder.METRICS, record)
    return record


def result_of(record: Record) -> RunResult:
    """What a training's Job answers."""
    return RunResult(
        stage=RunStage.TRAIN,
        ok=True,
        metrics=record.metrics,
        comparison=record.comparison,
        epochs=record.epochs or None,
        ended=record.ended,
        data_hash=record.lineage.get("data"),
        classes=len(record.classes) or None,
        images=record.images,
        bad_files=record.bad_files,
        builder=record.builder,
        times=record.times,
    )


def _split_of(dataset: AnyDataset, split: Split) -> dict[str, list[dict[str, str]]]:
    """split.json: each part's files or rows with the SHA-256 that put them there."""

    def part(indices: Indices) -> list[dict[str, str]]:
        return [{"key": dataset.examples[i].key, "sha256": dataset.examples[i].sha256} for i in indices]

    return {"train": part(split.train), "validation": part(split.validation), "test": part(split.test)}
