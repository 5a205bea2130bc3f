"""The train stage: data, training, evaluation, and everything that it leaves in the run folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import keras
import tensorflow as tf
from keras_operator.api import ProgressStage, RunResult, RunSpec, RunStage

from model_store import open_store
from model_trainer.checkpoints import Checkpoints
from model_trainer.conclusion import Learned, conclude, result_of
from model_trainer.context import Context
from model_trainer.datasets import read_dataset
from model_trainer.failure import BadRun
from model_trainer.keeping import Keeper, anywhere, beginning, fingerprint
from model_trainer.machine import check_gpus
from model_trainer.network import network_of, network_of_table
from model_trainer.own_image.stages import finish
from model_trainer.pace import Tick
from model_trainer.patience import Patience
from model_trainer.run_folder import RunFolder
from model_trainer.samples import Samples, choose
from model_trainer.tables.samples import RowSamples, choose_rows
from model_trainer.tables.table import Table
from model_trainer.tensorboard_log import TensorBoardLog
from model_trainer.training import train
from model_trainer.workers.following import follow
from model_trainer.workers.member import begin_together
from model_trainer.workers.place import place_of
from model_trainer.workers.world import meet


def run_train(spec: RunSpec, context: Context) -> RunResult:
    """Train version `spec.number` and leave its files in `.runs/<number>/`.

    A Job that is tried again after its training had finished goes straight to the result. Of several workers only the
    first one writes anything.

    Raises:
        RunFailure, StoreError: see `failure_of`.
    """
    training = spec.training
    if training is None:
        raise BadRun("KERAS_RUN has no training, and the train stage needs one.")
    board, place = context.board, place_of(training)
    folder = RunFolder(open_store(spec.store.uri, endpoint=spec.store.endpoint), spec.number, context.patience)
    folder.claim(spec.owner)
    if (done := folder.record()) is not None and place is not None and not place.is_chief:
        return RunResult(stage=RunStage.TRAIN, ok=True)
    if done is not None:
        board.enter(ProgressStage.SAVING, "the training had finished before; its result is used")
        left = Checkpoints(folder.store, spec.number, "", context.scratch)
        context.patience("removing the checkpoints", left.remove_all)
        return result_of(done)

    if training.container is not None:
        return finish(spec, training, folder, context)
    check_gpus(training.gpus)
    data = read_dataset(training, spec.store.endpoint, context)
    dataset, split = data.dataset, data.split
    things = "rows" if isinstance(dataset, Table) else "images"
    board.happened("dataReady")

    of_classes = f" of {len(dataset.classes)} classes" if dataset.classes else ""
    board.enter(ProgressStage.TRAINING, f"training on {len(split.train)} {things}{of_classes}")
    if training.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(training.seed)
    if isinstance(dataset, Table):
        network = network_of_table(training, dataset)
    else:
        network = network_of(spec, training, dataset, split.train, folder, context)
    model = network.model
    learned_from = fingerprint(training, dataset, split)
    world = meet(place, spec.owner, learned_from, context.interruption.check) if place else None
    if world is not None and not world.place.is_chief:
        return follow(world, model, dataset, split, training, context)
    begins_as = beginning(fingerprint(anywhere(training), dataset, split), network)
    checkpoints = Checkpoints(folder.store, spec.number, learned_from, context.scratch, begins_as)
    # While a checkpoint waits for the store, training goes on: nobody has to be told that the run waits.
    patience = Patience(context.patience.seconds)
    board_log = TensorBoardLog(folder.store, spec.number, context.scratch / "tensorboard")
    every = training.checkpoint.every_seconds
    with Keeper(checkpoints, context.scratch, patience, every, also=board_log.send) as keeper:
        start = context.patience("looking for a checkpoint", keeper.restore)
        if start is not None:
            board.resumed(start.state.epoch, start.state.times)
        if start is None or start.version != spec.number:
            context.patience("removing an earlier log", board_log.remove_earlier)
            board_log.write_history(start.state.history if start else {})
        if world is not None:
            begin_together(world, model, start, context.scratch)
        tell = _teller(context, training.epochs, board_log)
        trained = train(
            model,
            dataset,
            split,
            training,
            tell,
            keeper=keeper,
            start=start,
            interruption=context.interruption,
            world=world,
        )
    history = trained.history
    context.patience("writing TensorBoard's log", board_log.send)
    board.happened("trained")

    def samples() -> Samples | RowSamples:
        if isinstance(dataset, Table):
            return choose_rows(model, dataset, split.test)
        return context.patience("reading test images", partial(choose, model, dataset, split.test, data.places))

    learned = Learned(
        model=model,
        dataset=dataset,
        split=split,
        samples=samples,
        history=history,
        epochs=len(history["loss"]),
        ended=trained.ended or "",
        builder=network.builder,
    )
    record = conclude(learned, spec, training, folder, context)
    context.patience("removing the checkpoints", checkpoints.remove_all)
    if world is not None:
        world.end()
    return result_of(record)


def _teller(context: Context, epochs: int, board_log: TensorBoardLog) -> Callable[[Tick], None]:
    def tell(tick: Tick) -> None:
        if not tick.step:
            board_log.write(tick.epoch, tick.metrics)
        context.board.training(
            epoch=tick.epoch,
            epochs=epochs,
            step=tick.step,
            steps=tick.steps,
            metrics=tick.metrics,
            seconds_left=tick.seconds_left,
            phase=tick.phase,
            per_second=tick.per_second,
        )

    return tell
