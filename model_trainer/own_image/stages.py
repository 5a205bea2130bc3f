"""Before and after a team's container: what the Job's other two containers do."""

from __future__ import annotations

from keras_operator.api import ProgressStage, RunResult, RunSpec, RunStage, Training
from keras_operator.api import Table as Wanted

from model_store import open_store
from model_trainer.conclusion import Learned, conclude, result_of
from model_trainer.context import Context
from model_trainer.datasets import read_dataset
from model_trainer.failure import BadRun
from model_trainer.own_image.folders import SAMPLES, Folders
from model_trainer.own_image.handover import hand_over, taken_up
from model_trainer.own_image.output import take_model, take_row_model, take_told
from model_trainer.own_image.rows import hand_over_rows, taken_up_rows
from model_trainer.run_folder import RunFolder
from model_trainer.samples import Samples, answered, held_out
from model_trainer.tables.samples import choose_rows
from model_trainer.tables.table import Table


def run_prepare(spec: RunSpec, context: Context) -> RunResult:
    """Fetch, check and split the data of version `spec.number`, and hand over what its container learns from.

    Raises:
        RunFailure, StoreError: see `failure_of`.
    """
    training, folders = spec.training, Folders.of()
    if training is None or training.container is None:
        raise BadRun("KERAS_RUN has no training.container, for which alone data is prepared.")
    RunFolder(open_store(spec.store.uri, endpoint=spec.store.endpoint), spec.number, context.patience).claim(spec.owner)
    data = read_dataset(training, spec.store.endpoint, context)
    dataset, board, split = data.dataset, context.board, data.split
    board.happened("dataReady")
    things = "rows" if isinstance(dataset, Table) else "images"
    board.enter(ProgressStage.FETCHING, f"handing {len(split.train)} {things} to {training.container.image}")
    if isinstance(dataset, Table):
        wanted = training.data.table
        if wanted is None:
            raise BadRun("The data is rows without a table, and training.container is given images or a table.")
        hand_over_rows(dataset, split, wanted, board.progress.times, spec, folders)
    else:
        samples = context.patience("reading test images", lambda: held_out(dataset, split.test, data.places))
        hand_over(dataset, split, samples, board.progress.times, spec, folders)
    return RunResult(stage=RunStage.TRAIN, ok=True)


def finish(spec: RunSpec, training: Training, folder: RunFolder, context: Context) -> RunResult:
    """Take what the team's container left, and do with it what follows any training.

    Raises:
        RunFailure, StoreError: see `failure_of`.
    """
    context.board.enter(ProgressStage.EVALUATING, "loading what the container own left")
    folders, wanted = Folders.of(), training.data.table
    learned = _images(folders, context) if wanted is None else _rows(wanted, folders, context)
    return result_of(conclude(learned, spec, training, folder, context))


def _images(folders: Folders, context: Context) -> Learned:
    dataset, split, prepared = taken_up(folders, context)
    context.board.remember(prepared.times)
    told = take_told(folders.output)
    model = take_model(folders.output, dataset.pixels.shape[1:], len(dataset.classes))
    context.board.happened("trained")
    return Learned(
        model=model,
        dataset=dataset,
        split=split,
        samples=lambda: answered(Samples.load(folders.prepared / SAMPLES), model),
        history=told.history,
        epochs=told.trained,
        ended=told.ended,
    )


def _rows(wanted: Wanted, folders: Folders, context: Context) -> Learned:
    table, split, prepared = taken_up_rows(wanted, folders)
    context.board.remember(prepared.times)
    told = take_told(folders.output)
    model = take_row_model(folders.output, table, split.validation)
    context.board.happened("trained")
    return Learned(
        model=model,
        dataset=table,
        split=split,
        samples=lambda: choose_rows(model, table, split.test, raw=True),
        history=told.history,
        epochs=told.trained,
        ended=told.ended,
        raw=True,
    )
