"""The version that serves, measured on the test rows of a source: by its own columns and its own signature."""

from __future__ import annotations

from pathlib import Path

from keras_operator.api import Comparison, EvaluationData

from model_trainer.context import Context
from model_trainer.data.split import Indices
from model_trainer.evaluation.labelled_rows import LabelledRows, RowsRead, read_rows
from model_trainer.evaluation.measuring import AnyAnswers
from model_trainer.evaluation.rows_way import STRING
from model_trainer.evaluation.serving_version import GONE, measure_published
from model_trainer.evaluation.source_record import RowsWay, Taken
from model_trainer.export import FLOAT_SIGNATURE, PREDICTION, PROBABILITIES
from model_trainer.failure import BadData
from model_trainer.run_folder import Record, RunFolder
from model_trainer.tables.columns import Kind


def measure_serving_rows(
    number: int, folder: RunFolder, rows: LabelledRows, test: EvaluationData, read: RowsRead, context: Context
) -> Comparison:
    """What version `number` would be measured at on the same rows; why not, where it takes or answers something else.

    Raises StoreError while the store is away.
    """
    serving = folder.of(number)
    known = _asked(serving)
    if isinstance(known, str):
        return Comparison(version=number, problem=known)
    way, classes = known
    if way.number is not read.way.number:
        kinds = ("a number", "classes") if way.number else ("classes", "a number")
        return Comparison(version=number, problem=f"it answers {kinds[0]}, and this one {kinds[1]}")
    if problem := rows.misfit(way):
        return Comparison(version=number, problem=problem)
    try:
        taken = read_rows(rows, test, way, read.table.classes, -1, "")
    except BadData as error:
        return Comparison(version=number, problem=str(error).rstrip("."))

    def answers(directory: Path, order: Indices) -> AnyAnswers:
        return taken.ask(directory, ValueError, order=order)

    seed = taken.training.seed
    return measure_published(number, serving, classes, read.table.classes, answers, seed, context)


def _asked(serving: RunFolder) -> tuple[RowsWay, tuple[str, ...]] | str:
    """How a published version is asked about rows, and its classes; or why it cannot be."""
    record = serving.record()
    if record is not None:
        return (_way_of(record), record.classes) if record.columns else "it learned from images, and these are rows"
    export = serving.export_record()
    if export is None:
        return GONE
    if export.source is None:
        return "it came without spec.source.testData, so nobody knows what each of its outputs is"
    if export.source.rows is None:
        return "it was tested on images, and these are rows"
    return export.source.rows, export.source.classes


def _way_of(record: Record) -> RowsWay:
    """How what a training exported is asked, see `export_table`: an input for each column by its name."""
    inputs = tuple(
        Taken(column.name, "float32" if column.kind is Kind.NUMERIC else STRING, tuple(column.shape))
        for column in record.columns
    )
    arrays = any(column.size is not None for column in record.columns)
    columns = () if arrays else tuple(column.name for column in record.columns)
    number = record.target is not None
    return RowsWay(FLOAT_SIGNATURE, inputs, PREDICTION if number else PROBABILITIES, columns, number)
