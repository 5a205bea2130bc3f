"""The train stage: data, training, evaluation, and everything that it leaves in the run folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import keras
import tensorflow as tf
from keras_operator.api import DataFormat, Images, ProgressStage, RunResult, RunSpec, RunStage

from model_store import open_store
from model_trainer import run_folder
from model_trainer.batching import AnyDataset
from model_trainer.checkpoints import Checkpoints
from model_trainer.context import Context
from model_trainer.data.data_card import data_card
from model_trainer.data.reading import Origin, places_of, read_data
from model_trainer.data.split import Indices, Split
from model_trainer.evaluation.measuring import answers_of, of_validation, record_of
from model_trainer.evaluation.serving_version import measure_serving
from model_trainer.failure import BadRun
from model_trainer.keeping import Keeper, fingerprint
from model_trainer.lineage import lineage_of
from model_trainer.network import network_of, network_of_table
from model_trainer.npz.reading import read_npz
from model_trainer.pace import Tick
from model_trainer.patience import Patience
from model_trainer.report.facts import Trained, facts_of
from model_trainer.report.page import page_or_none
from model_trainer.result import finite
from model_trainer.run_folder import BAD_FILES_NAMED, Record, RunFolder
from model_trainer.samples import choose
from model_trainer.saving import save
from model_trainer.tables.card import table_card
from model_trainer.tables.mlp import with_raw_columns
from model_trainer.tables.reading import read_table
from model_trainer.tables.samples import choose_rows
from model_trainer.tables.table import Table
from model_trainer.tensorboard_log import TensorBoardLog
from model_trainer.tfrecord.images import read_record_images
from model_trainer.tfrecord.rows import read_record_rows
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
        return _result(done)

    dataset: AnyDataset
    places: Origin | None = None
    if training.data.format is DataFormat.CSV:
        dataset, split = read_table(training.data, spec.store.endpoint, context)
    elif training.data.format is DataFormat.NPZ:
        dataset, split = read_npz(training, spec.store.endpoint, context)
    elif training.data.format is DataFormat.TFRECORD and training.data.table is not None:
        dataset, split = read_record_rows(training.data, spec.store.endpoint, context)
    elif training.data.format is DataFormat.TFRECORD:
        dataset, split, places = read_record_images(training.data, spec.store.endpoint, context)
    else:
        in_folders = places_of(training.data, spec.store.endpoint, context)
        dataset, split = read_data(training.data, in_folders, context)
        places = in_folders
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
        network = network_of(spec, training, dataset.pixels.shape[1:], len(dataset.classes), folder, context)
    model = network.model
    learned_from = fingerprint(training, dataset, split)
    world = meet(place, spec.owner, learned_from, context.interruption.check) if place else None
    if world is not None and not world.place.is_chief:
        return follow(world, model, dataset, split, training, context)
    checkpoints = Checkpoints(folder.store, spec.number, learned_from, context.scratch)
    # While a checkpoint waits for the store, training goes on: nobody has to be told that the run waits.
    patience = Patience(context.patience.seconds)
    board_log = TensorBoardLog(folder.store, spec.number, context.scratch / "tensorboard")
    every = training.checkpoint.every_seconds
    with Keeper(checkpoints, context.scratch, patience, every, also=board_log.send) as keeper:
        start = context.patience("looking for a checkpoint", keeper.restore)
        if start is not None:
            board.resumed(start.state.epoch, start.state.times)
        else:
            context.patience("removing an earlier log", board_log.remove_earlier)
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

    board.enter(ProgressStage.EVALUATING, f"evaluating on {len(split.test)} {things} that were held out")
    test = answers_of(model, dataset, split.test, training)
    evaluation = record_of(test, dataset.classes, training.seed)
    validation = answers_of(model, dataset, split.validation, training)
    comparison = measure_serving(spec.serving, folder, dataset, split, training, context) if spec.serving else None
    board.happened("evaluated")

    board.enter(ProgressStage.SAVING, "saving the model and what is known of it")
    folder.write(run_folder.EVALUATION, evaluation)
    folder.write(run_folder.HISTORY, history)
    folder.write(run_folder.SPLIT, _split_of(dataset, split))
    card = table_card(dataset, split) if isinstance(dataset, Table) else data_card(dataset, split)
    folder.write(run_folder.DATA_CARD, card)
    lineage = lineage_of(spec, card.sha256)
    known = Trained(
        spec=spec,
        training=training,
        dataset=dataset,
        split=split,
        history=history,
        answers=test,
        evaluation=evaluation,
        comparison=comparison,
        card=card,
        lineage=lineage,
    )
    if page := page_or_none(lambda: facts_of(known)):
        folder.write_text(run_folder.REPORT, page)
    whole = model
    if isinstance(dataset, Table):
        whole = with_raw_columns(model, dataset)
        choose_rows(model, dataset, split.test).save(context.scratch / run_folder.SAMPLES)
    else:
        samples = context.patience("reading test images", partial(choose, model, dataset, split.test, places))
        samples.save(context.scratch / run_folder.SAMPLES)
    folder.upload(context.scratch / run_folder.SAMPLES, run_folder.SAMPLES)
    for path in save(whole, context.scratch):
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
        builder=network.builder,
        epochs=len(history["loss"]),
        times=board.progress.times,
        ended=trained.ended or "",
    )
    folder.write(run_folder.METRICS, record)
    context.patience("removing the checkpoints", checkpoints.remove_all)
    if world is not None:
        world.end()
    return _result(record)


def _teller(context: Context, epochs: int, board_log: TensorBoardLog) -> Callable[[Tick], None]:
    def tell(tick: Tick) -> None:
        if not tick.part:
            board_log.write(tick.epoch, tick.metrics)
        context.board.training(
            epoch=tick.epoch,
            epochs=epochs,
            part=tick.part,
            metrics=tick.metrics,
            seconds_left=tick.seconds_left,
            phase=tick.phase,
        )

    return tell


def _split_of(dataset: AnyDataset, split: Split) -> dict[str, list[dict[str, str]]]:
    """split.json: each part's files or rows with the SHA-256 that put them there."""

    def part(indices: Indices) -> list[dict[str, str]]:
        return [{"key": dataset.examples[i].key, "sha256": dataset.examples[i].sha256} for i in indices]

    return {"train": part(split.train), "validation": part(split.validation), "test": part(split.test)}


def _result(record: Record) -> RunResult:
    return RunResult(
        stage=RunStage.TRAIN,
        ok=True,
        metrics=record.metrics,
        comparison=record.comparison,
        epochs=record.epochs,
        ended=record.ended,
        data_hash=record.lineage.get("data"),
        classes=len(record.classes) or None,
        images=record.images,
        bad_files=record.bad_files,
        builder=record.builder,
        times=record.times,
    )
