"""Compile and fit, epoch by epoch, from where an earlier pod of the run came."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import keras
import msgspec
import numpy as np
import tensorflow as tf
from keras_operator.api import ClassWeights, Training

from model_trainer import variables
from model_trainer.batching import AnyDataset, batches_of
from model_trainer.checkpoints import History, Restored, State
from model_trainer.compiling import make_metrics
from model_trainer.data.pipeline import Shuffling
from model_trainer.data.split import Indices, Split
from model_trainer.failure import Diverged, Interrupted, WorkerLost, WorkerUnreachable
from model_trainer.interruption import Interruption
from model_trainer.keeping import Keeper
from model_trainer.pace import Pace, Tick
from model_trainer.phases import Phases
from model_trainer.precision import compute_in_full
from model_trainer.progress import with_epoch
from model_trainer.stopping import judge
from model_trainer.tables.table import Table
from model_trainer.workers.member import Idle, draw_apart
from model_trainer.workers.steps import share_steps
from model_trainer.workers.world import Epoch, World

# Of a batch whose loss is no number: enough to look at, few enough for a sentence.
FILES_NAMED = 5


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training: each metric's value after each epoch, and why it ended before the last one (or None)."""

    history: History
    ended: str | None


def train(
    model: Any,
    dataset: AnyDataset,
    split: Split,
    training: Training,
    tell: Callable[[Tick], None],
    *,
    keeper: Keeper | Idle,
    start: Restored | None = None,
    interruption: Interruption | None = None,
    world: World | None = None,
) -> Trained:
    """Train `model` in place on the train part, from `start` on; with all of `world`, where there is one.

    Raises:
        Diverged: the loss is no longer a number.
        Interrupted: SIGTERM came; what was done so far is kept.
        TakenOver: another pod goes on with this run.
        WorkerLost, WorkerUnreachable: another worker has ended or is silent.
    """
    interruption = interruption or Interruption()
    try:
        with interruption.held_back():
            return _Fitting(model, dataset, split, training, tell, keeper, start, interruption, world).to_the_end()
    except tf.errors.OpError:
        if world is not None and world.lost is not None:
            # What is raised within a step comes out of TensorFlow as an error of its own.
            raise world.lost from None
        raise


class _Fitting:
    """One training on its way."""

    def __init__(
        self,
        model: Any,
        dataset: AnyDataset,
        split: Split,
        training: Training,
        tell: Callable[[Tick], None],
        keeper: Keeper | Idle,
        start: Restored | None,
        interruption: Interruption,
        world: World | None,
    ) -> None:
        self.model = model
        self.keeper = keeper
        self.interruption = interruption
        self.start = start
        self.world = world
        self.follows = world is not None and not world.place.is_chief
        shuffling = Shuffling(training.seed, training.augmentation)
        shard = world.place.shard if world else None
        batch_size = training.batch_size
        self.batches = batches_of(dataset, split.train, batch_size=batch_size, shuffling=shuffling, shard=shard)
        self.began = time.monotonic() - (start.state.seconds if start else 0.0)
        state = start.state if start else State(epoch=0, step=0)
        done = state.epoch + state.step / self.batches.steps
        self.pace = Pace(training.epochs, self.batches.steps, len(split.train), done, tell)
        target = dataset.target if isinstance(dataset, Table) else None
        self._phases = Phases(training, model, self.batches.steps, target)
        self._begin_phase(state.epoch)
        self._dataset = dataset
        self._split = split
        self._training = training
        self._classes = len(dataset.classes)
        validation = batches_of(dataset, split.validation, batch_size=training.batch_size)
        self._validation = validation.dataset(self._classes, training.objective)
        self._whole_epochs: Any = None

    def to_the_end(self) -> Trained:
        """Train until the last epoch, or until something ends it before."""
        training = self._training
        state = State(epoch=0, step=0)
        if self.start is not None:
            state = self.start.state
            groups = variables.training_state(self.model)
            variables.read(self.start.variables, {name: groups[name] for name in ("network", "optimizer")})
            if state.step:
                # Keras makes the variables of its metrics when it first measures something.
                self.model.evaluate(self._validation.take(1), verbose=0)
        if self.world is not None:
            draw_apart(self.model, self.world.place.shard.index)
        while state.epoch < training.epochs and state.ended is None:
            state = self._epoch(state)
        if state.use_best:
            self.keeper.use_best(self.model)
        if training.mixed_precision is not None:
            compute_in_full(self.model)
        return Trained(state.history, state.ended)

    def _begin_phase(self, epoch: int) -> None:
        self._phases.begin(epoch)
        if self.world is not None:
            share_steps(self.model, self.world, self._chief_is_late)
        self.pace.begin_phase(self._phases.name)

    def _epoch(self, state: State) -> State:
        """The rest of an epoch, its validation, and what follows from both."""
        training = self._training
        metrics = self._steps(state) if state.metrics is None else state.metrics
        if self.follows and self.world is not None:
            return self._as_told(self.world, metrics)
        metrics = metrics | self._validated(self.so_far(state, self.batches.steps, metrics))
        if training.reduce_on_plateau is not None:
            metrics["learning_rate"] = float(self.model.optimizer.learning_rate)
        epoch = state.epoch + 1
        verdict = judge(training, state.course, epoch, metrics)
        limit, late = training.max_duration_seconds, self.is_late()
        restores = training.early_stopping is not None and training.early_stopping.restore_best_weights
        if verdict.best and (restores or limit is not None):
            self.keeper.keep_best(self.model)
        if verdict.reduce and training.reduce_on_plateau is not None:
            factor, least = training.reduce_on_plateau.factor, training.reduce_on_plateau.min_learning_rate
            self.model.optimizer.learning_rate = max(float(self.model.optimizer.learning_rate) * factor, least)
        rate = None if training.reduce_on_plateau is None else float(self.model.optimizer.learning_rate)
        ended = verdict.end
        if ended is None and late and epoch < training.epochs:
            ended = f"maxDurationSeconds ({limit} s) were over, and the best epoch until then counts"
        state = msgspec.structs.replace(
            self.so_far(state, 0, None),
            epoch=epoch,
            history={name: [*state.history.get(name, []), value] for name, value in metrics.items()},
            course=verdict.course,
            ended=ended,
            use_best=not verdict.keep_this and (restores or late),
            times=with_epoch(state.times, epoch, datetime.now(UTC)),
        )
        self.pace.epoch_ended(epoch, metrics)
        if self._phases.begins_after(epoch):
            self._begin_phase(epoch)
        if ended is not None or epoch == training.epochs:
            # What comes now, evaluating and saving, must not be the end of the training when it is interrupted.
            self.keeper.keep(self.model, state)
        else:
            self.keeper.epoch_ended(self.model, state)
        if self.world is not None:
            self.world.tell(Epoch(state, rate))
        return state

    def _as_told(self, world: World, metrics: dict[str, float]) -> State:
        """What follows from an epoch, as the chief has judged it meanwhile."""
        told = world.told(self.interruption.check)
        if told.learning_rate is not None:
            self.model.optimizer.learning_rate = told.learning_rate
        self.pace.epoch_ended(told.state.epoch, metrics)
        if self._phases.begins_after(told.state.epoch):
            self._begin_phase(told.state.epoch)
        return told.state

    def _steps(self, state: State) -> dict[str, float]:
        """The batches of an epoch after its first `state.step`; what the whole epoch measured on the train part."""
        training = self._training
        self.batches.begin_at(state.epoch, state.step)
        if state.step:
            batches = self.batches.dataset(self._classes, training.objective)
        else:
            self._whole_epochs = self._whole_epochs or self.batches.dataset(self._classes, training.objective)
            batches = self._whole_epochs
        make_metrics(self.model, batches.element_spec[1])
        fitted = self.model.fit(
            batches,
            initial_epoch=state.epoch,
            epochs=state.epoch + 1,
            callbacks=[_Steps(self, state)],
            class_weight=class_weights(self._dataset, self._split.train, training.data.class_weights),
            shuffle=False,
            verbose=0,
        )
        return {name: float(values[-1]) for name, values in fitted.history.items()}

    def _validated(self, state: State) -> dict[str, float]:
        try:
            measured = self.model.evaluate(
                self._validation, callbacks=[_Checks(self.interruption, self.world)], return_dict=True, verbose=0
            )
        except (Interrupted, WorkerLost, WorkerUnreachable):
            self.keeper.keep(self.model, state)
            raise
        return {f"val_{name}": float(value) for name, value in measured.items()}

    def so_far(self, state: State, step: int, metrics: dict[str, float] | None) -> State:
        """`state`, some steps later."""
        return msgspec.structs.replace(state, step=step, metrics=metrics, seconds=self.seconds())

    def seconds(self) -> float:
        """How long was trained, by earlier pods too, without what had to be repeated."""
        return time.monotonic() - self.began

    def is_late(self) -> bool:
        """Whether the time for the training is over."""
        limit = self._training.max_duration_seconds
        return limit is not None and self.seconds() >= limit

    def ends_now(self) -> bool:
        """Whether the time is over in the middle of an epoch; for all workers it is when it is for the chief."""
        return self.is_late() if self.world is None else self.world.late

    def _chief_is_late(self) -> bool:
        return not self.follows and self.is_late()

    def diverged(self, epoch: int, step: int) -> Diverged:
        """The loss became no number at batch `step` of an epoch, both 0 and up."""
        keys = [self._dataset.examples[i].key for i in self._split.train[self.batches.batch(epoch, step)]]
        field, rate = self._phases.rate
        things = "rows" if isinstance(self._dataset, Table) else "files"
        more = f" and {len(keys) - FILES_NAMED} more" if len(keys) > FILES_NAMED else ""
        return Diverged(
            f"The loss is no longer a number at step {step + 1} of {self.batches.steps} in epoch {epoch + 1} of "
            f"{self._training.epochs}, with the {things} {', '.join(keys[:FILES_NAMED])}{more}. Lower "
            f"{field} (it is {rate:g}), choose another spec.training.optimizer.name, or look at these {things}."
        )


class _Steps(keras.callbacks.Callback):  # type: ignore[misc] # keras has no types
    """What happens between two steps of one epoch."""

    def __init__(self, fitting: _Fitting, state: State) -> None:
        super().__init__()
        self._fitting = fitting
        self._state = state

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        del epoch, logs
        start = self._fitting.start
        if self._state.step and start is not None:
            # The mean over an epoch goes on where it was; Keras has just set it to nothing.
            variables.read(start.variables, {"metrics": self.model.metrics_variables})

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        del logs
        if self._fitting.world is not None:
            self._fitting.world.begins(self._fitting.batches.size(self._state.step + batch))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        fitting, state = self._fitting, self._state
        step = state.step + batch + 1
        if not fitting.follows and not math.isfinite(float(logs["loss"])):
            raise fitting.diverged(state.epoch, step - 1)
        if fitting.interruption.came:
            fitting.keeper.keep(self.model, fitting.so_far(state, step, self._if_all(step, logs)))
            fitting.interruption.check()
        if fitting.ends_now():
            self.model.stop_training = True
        elif step < fitting.batches.steps:
            fitting.keeper.step_ended(self.model, lambda: fitting.so_far(state, step, None))
        fitting.pace.step_ended(state.epoch, step)

    def _if_all(self, step: int, logs: Any) -> dict[str, float] | None:
        """The epoch's metrics, where this was its last step."""
        return {name: float(value) for name, value in logs.items()} if step == self._fitting.batches.steps else None


class _Checks(keras.callbacks.Callback):  # type: ignore[misc] # keras has no types
    """Ends a validation when SIGTERM came, or when another worker has ended."""

    def __init__(self, interruption: Interruption, world: World | None) -> None:
        super().__init__()
        self._interruption = interruption
        self._world = world

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        del batch, logs
        self._interruption.check()
        if self._world is not None:
            self._world.check()


def class_weights(dataset: AnyDataset, part: Indices, wanted: ClassWeights | None) -> dict[int, float] | None:
    """Each class's factor in the loss, or None where every image counts the same.

    Balanced as scikit-learn's `compute_class_weight`: images / (classes * images of the class).
    """
    if wanted is None:
        return None
    counts = np.bincount(dataset.labels(part), minlength=len(dataset.classes))
    return {label: float(len(part) / (len(counts) * count)) for label, count in enumerate(counts)}
