"""The run of every worker but the first: train along, keep nothing, and end when the first one has the result."""

from __future__ import annotations

from typing import Any

from keras_operator.api import ProgressStage, RunResult, RunStage, Training

from model_trainer.batching import AnyDataset
from model_trainer.context import Context
from model_trainer.data.split import Split
from model_trainer.pace import Tick
from model_trainer.training import train
from model_trainer.workers.member import Idle, begin_as_told
from model_trainer.workers.world import World, name


def follow(
    world: World, model: Any, dataset: AnyDataset, split: Split, training: Training, context: Context
) -> RunResult:
    """Train along with the chief of `world`; its result, and not this one, is the run's.

    Raises:
        WorkerLost, WorkerUnreachable: the chief has ended without a result.
    """
    board, shard = context.board, world.place.shard
    start = begin_as_told(world, model, context.scratch, context.interruption.check)
    if start is not None:
        board.resumed(start.state.epoch, start.state.times)

    def tell(tick: Tick) -> None:
        board.training(
            epoch=tick.epoch,
            epochs=training.epochs,
            step=tick.step,
            steps=tick.steps,
            metrics=tick.metrics,
            seconds_left=tick.seconds_left,
            phase=tick.phase,
            per_second=tick.per_second,
        )

    train(
        model,
        dataset,
        split,
        training,
        tell,
        keeper=Idle(),
        start=start,
        interruption=context.interruption,
        world=world,
    )
    board.enter(ProgressStage.EVALUATING, f"waiting for the result of {name(0, shard.workers)}")
    world.ended(context.interruption.check)
    return RunResult(stage=RunStage.TRAIN, ok=True)
