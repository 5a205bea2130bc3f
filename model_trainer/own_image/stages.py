"""Before and after a team's container: what the Job's other two containers do."""

from __future__ import annotations

from keras_operator.api import ProgressStage, RunResult, RunSpec, RunStage, Training

from model_store import open_store
from model_trainer.conclusion import Learned, conclude, result_of
from model_trainer.context import Context
from model_trainer.data.dataset import Dataset
from model_trainer.datasets import read_dataset
from model_trainer.failure import BadRun
from model_trainer.own_image.folders import SAMPLES, Folders
from model_trainer.own_image.handover import hand_over, taken_up
from model_trainer.own_image.output import take_model, take_told
from model_trainer.run_folder import RunFolder
from model_trainer.samples import Samples, answered, held_out


def run_prepare(spec: RunSpec, context: Context) -> RunResult:
    """Fetch, check and split the images of version `spec.number`, and hand over what its container learns from.

    Raises:
        RunFailure, StoreError: see `failure_of`.
    """
    training, folders = spec.training, Folders.of()
    if training is None or training.container is None:
        raise BadRun("KERAS_RUN has no training.container, for which alone data is prepared.")
    RunFolder(open_store(spec.store.uri, endpoint=spec.store.endpoint), spec.number, context.patience).claim(spec.owner)
    data = read_dataset(training, spec.store.endpoint, context)
    dataset = data.dataset
    if not isinstance(dataset, Dataset):
        raise BadRun("The data is a table, and training.container is given images.")
    context.board.happened("dataReady")
    context.board.enter(ProgressStage.FETCHING, f"handing {len(data.split.train)} images to {training.container.image}")
    samples = context.patience("reading test images", lambda: held_out(dataset, data.split.test, data.places))
    hand_over(dataset, data.split, samples, context.board.progress.times, spec, folders)
    return RunResult(stage=RunStage.TRAIN, ok=True)


def finish(spec: RunSpec, training: Training, folder: RunFolder, context: Context) -> RunResult:
    """Take what the team's container left, and do with it what follows any training.

    Raises:
        RunFailure, StoreError: see `failure_of`.
    """
    folders, board = Folders.of(), context.board
    board.enter(ProgressStage.EVALUATING, "loading what the container own left")
    dataset, split, prepared = taken_up(folders, context)
    board.remember(prepared.times)
    told = take_told(folders.output)
    model = take_model(folders.output, dataset.pixels.shape[1:], len(dataset.classes))
    board.happened("trained")
    learned = Learned(
        model=model,
        dataset=dataset,
        split=split,
        samples=lambda: answered(Samples.load(folders.prepared / SAMPLES), model),
        history=told.history,
        epochs=told.trained,
        ended=told.ended,
    )
    return result_of(conclude(learned, spec, training, folder, context))
