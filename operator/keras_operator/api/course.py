"""How a training runs: its checkpoints, its learning rate where nothing gets better, and when it ends."""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from .rules import Rule
from .wire import Written

LARGEST_ERROR = 1_000_000_000
"""What a metric or a loss may be held against; one in a target's own unit can be large."""


class Monitor(StrEnum):
    """What is watched; `val_` is measured on the validation images, `mae` and `rmse` of a target that is a number."""

    ACCURACY = "accuracy"
    LOSS = "loss"
    VAL_ACCURACY = "val_accuracy"
    VAL_LOSS = "val_loss"
    MAE = "mae"
    VAL_MAE = "val_mae"
    RMSE = "rmse"
    VAL_RMSE = "val_rmse"


_ACCURACIES = (Monitor.ACCURACY, Monitor.VAL_ACCURACY)
_SMALL_DELTA = Rule(
    cel="!(self.monitor in ['accuracy', 'val_accuracy']) || self.minDelta < 1.0",
    message="an accuracy is a fraction, which cannot get better by 1: write 0.01 for one in a hundred images",
    holds=lambda watched: watched.monitor not in _ACCURACIES or watched.min_delta < 1,
    field=".minDelta",
)


class EarlyStopping(Written, frozen=True, kw_only=True):
    """Stop before the last epoch when nothing gets better."""

    monitor: Annotated[
        Monitor,
        Meta(
            description="What must get better; val_… is measured on the validation images.", examples=["val_accuracy"]
        ),
    ] = Monitor.VAL_LOSS
    patience: Annotated[
        int, Meta(ge=1, le=10_000, description="Epochs to wait for something better before stopping.", examples=[5])
    ] = 3
    min_delta: Annotated[
        float,
        Meta(
            ge=0,
            le=LARGEST_ERROR,
            description="A change by a smaller number than this does not count as better.",
            examples=[0.001],
        ),
    ] = 0.0
    restore_best_weights: Annotated[
        bool,
        Meta(description="Keep the weights of the best epoch instead of the last one.", examples=[False]),
    ] = True

    RULES: ClassVar[tuple[Rule, ...]] = (_SMALL_DELTA,)


class ReduceOnPlateau(Written, frozen=True, kw_only=True):
    """Lower the learning rate when nothing gets better."""

    monitor: Annotated[
        Monitor,
        Meta(
            description="What must get better; val_… is measured on the validation images.", examples=["val_accuracy"]
        ),
    ] = Monitor.VAL_LOSS
    factor: Annotated[
        float,
        Meta(
            gt=0,
            lt=1,
            description="The factor that the learning rate is multiplied by, between 0 and 1.",
            examples=[0.5],
        ),
    ] = 0.1
    patience: Annotated[
        int,
        Meta(ge=1, le=10_000, description="Epochs to wait for something better before lowering it.", examples=[2]),
    ] = 2
    min_delta: Annotated[
        float,
        Meta(
            ge=0,
            le=LARGEST_ERROR,
            description="A change by a smaller number than this does not count as better.",
            examples=[0.001],
        ),
    ] = 0.0001
    cooldown: Annotated[
        int,
        Meta(ge=0, le=10_000, description="Epochs after lowering it for which nothing is counted.", examples=[1]),
    ] = 0
    min_learning_rate: Annotated[
        float,
        Meta(
            ge=0, le=10, description="Learning rate, as a number, below which it is never lowered.", examples=[0.00001]
        ),
    ] = 0.0

    RULES: ClassVar[tuple[Rule, ...]] = (_SMALL_DELTA,)


class StopAt(Written, frozen=True, kw_only=True):
    """Stop as soon as a metric is good enough."""

    monitor: Annotated[
        Monitor,
        Meta(
            description=(
                "What must be good enough; val_… is measured on the validation images. A target that is a number has "
                "no accuracy: write val_mae, val_rmse or val_loss."
            ),
            examples=["val_accuracy"],
        ),
    ] = Monitor.VAL_ACCURACY
    value: Annotated[
        float,
        Meta(
            ge=0,
            le=LARGEST_ERROR,
            description=(
                "Accuracy as a fraction, loss as a number, or mae or rmse in the target's unit: training ends after "
                "the first epoch that is at least as good, and keeps its weights."
            ),
            examples=[0.95],
        ),
    ]

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!(self.monitor in ['accuracy', 'val_accuracy']) || self.value > 0.0 && self.value <= 1.0",
            message="an accuracy is a fraction, above 0 and at most 1: write 0.95 for 95 in a hundred images",
            holds=lambda stop: stop.monitor not in _ACCURACIES or 0 < stop.value <= 1,
            field=".value",
        ),
    )


class Checkpoint(Written, frozen=True, kw_only=True):
    """How often the state of a training is kept in the store, for another pod to go on with."""

    every_seconds: Annotated[
        int,
        Meta(
            ge=10,
            le=86_400,
            description=(
                "Seconds, from 10 to 86400, after which a checkpoint is written within an epoch. One is written after "
                "every epoch too, unless that would take more than 3 % of the time."
            ),
            examples=[60],
        ),
    ] = 300


_STOPS_BEFORE_THE_END = Rule(
    # Keras counts from the best epoch on, and the first epoch is always the best so far.
    cel=(
        "!has(self.earlyStopping) || self.earlyStopping.restoreBestWeights || "
        "self.earlyStopping.patience + 1 < self.epochs"
    ),
    message=(
        "with this patience training ends before it could stop early, and restoreBestWeights is false, so nothing "
        "would differ: lower patience below epochs - 1, raise epochs, or remove earlyStopping"
    ),
    holds=lambda training: (
        training.early_stopping is None
        or training.early_stopping.restore_best_weights
        or training.early_stopping.patience + 1 < training.epochs
    ),
    field=".earlyStopping.patience",
    says=(
        "'patience %d with %d epochs never stops early, and restoreBestWeights is false, so nothing would differ: "
        "lower patience below epochs - 1, raise epochs, or remove earlyStopping'"
        ".format([self.earlyStopping.patience, self.epochs])"
    ),
)

_REDUCES_BEFORE_THE_END = Rule(
    cel="!has(self.reduceOnPlateau) || self.reduceOnPlateau.patience + 1 < self.epochs",
    message=(
        "with this patience training ends before the learning rate could be lowered: lower patience below epochs - 1, "
        "raise epochs, or remove reduceOnPlateau"
    ),
    holds=lambda training: (
        training.reduce_on_plateau is None or training.reduce_on_plateau.patience + 1 < training.epochs
    ),
    field=".reduceOnPlateau.patience",
)
_REDUCES_BEFORE_IT_STOPS = Rule(
    cel=(
        "!has(self.reduceOnPlateau) || !has(self.earlyStopping) || "
        "self.reduceOnPlateau.monitor != self.earlyStopping.monitor || "
        "self.reduceOnPlateau.patience < self.earlyStopping.patience"
    ),
    message=(
        "earlyStopping watches the same and does not wait longer, so training stops before a lower learning rate could "
        "help: write a patience below that of earlyStopping"
    ),
    holds=lambda training: (
        training.reduce_on_plateau is None
        or training.early_stopping is None
        or training.reduce_on_plateau.monitor is not training.early_stopping.monitor
        or training.reduce_on_plateau.patience < training.early_stopping.patience
    ),
    field=".reduceOnPlateau.patience",
)
_ENDS_BEFORE_THE_DEADLINE = Rule(
    cel="!has(self.maxDurationSeconds) || self.maxDurationSeconds < self.activeDeadlineSeconds",
    message=(
        "the Job is stopped as failed after activeDeadlineSeconds, and until then it fetches, evaluates and saves as "
        "well: write fewer seconds than that, or raise activeDeadlineSeconds"
    ),
    holds=lambda training: (
        training.max_duration_seconds is None or training.max_duration_seconds < training.active_deadline_seconds
    ),
    field=".maxDurationSeconds",
)
RULES_OF_COURSE = (
    _STOPS_BEFORE_THE_END,
    _REDUCES_BEFORE_THE_END,
    _REDUCES_BEFORE_IT_STOPS,
    _ENDS_BEFORE_THE_DEADLINE,
)
"""What must hold of a training's fields together for each of them to make a difference."""
