"""What the target of a table is, one of several classes or a number, and what goes with which."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from .course import Monitor
from .losses import OF_NUMBERS, OF_NUMBERS_ALONE, named
from .metrics import ANSWERS_OF_NUMBERS, ANSWERS_OF_NUMBERS_ALONE
from .names import listed
from .rules import Rule

if TYPE_CHECKING:
    from .data import Data
    from .training import Training


class TargetKind(StrEnum):
    """What a target's cells are; the words are those of features."""

    CATEGORICAL = "categorical"
    NUMERIC = "numeric"


_OF_CLASSES = (Monitor.ACCURACY, Monitor.VAL_ACCURACY)
_OF_NUMBERS = (Monitor.MAE, Monitor.VAL_MAE, Monitor.RMSE, Monitor.VAL_RMSE)

_NUMERIC = "has(self.data.table) && self.data.table.targetKind == 'numeric'"


def learns_number(training: "Training") -> bool:
    """Whether the target is a number."""
    table = training.data.table
    return table is not None and table.target_kind is TargetKind.NUMERIC


def _names(words: Sequence[str]) -> list[str]:
    return [str(word) for word in words]


def _watches_what_is_measured(field: str, written: str) -> Rule:
    def holds(training: "Training") -> bool:
        watched = getattr(training, field)
        return watched is None or watched.monitor not in (_OF_CLASSES if learns_number(training) else _OF_NUMBERS)

    return Rule(
        cel=(
            f"!has(self.{written}) || !(self.{written}.monitor in "
            f"(({_NUMERIC}) ? {_names(_OF_CLASSES)} : {_names(_OF_NUMBERS)}))"
        ),
        message=(
            "accuracy is of classes, and mae and rmse are of a table whose targetKind is numeric: write what this "
            "target has, such as val_loss"
        ),
        holds=holds,
        field=f".{written}.monitor",
    )


def _weighs_classes(data: "Data") -> bool:
    numeric = data.table is not None and data.table.target_kind is TargetKind.NUMERIC
    return data.class_weights is None or not numeric


RULE_OF_DATA = Rule(
    cel="!has(self.classWeights) || !has(self.table) || self.table.targetKind != 'numeric'",
    message="weighs classes, and a target that is a number has none: remove it, or table.targetKind",
    holds=_weighs_classes,
    field=".classWeights",
)

RULES_OF_TRAINING = (
    Rule(
        cel=f"!has(self.loss) || !({_NUMERIC}) || self.loss in {named(OF_NUMBERS)}",
        message=(
            "is of classes, and data.table.targetKind is numeric: write one of a number, such as huber, or leave it "
            "out, which is mean_squared_error"
        ),
        holds=lambda training: training.loss is None or not learns_number(training) or training.loss in OF_NUMBERS,
        field=".loss",
    ),
    Rule(
        cel=f"!has(self.loss) || ({_NUMERIC}) || !(self.loss in {named(OF_NUMBERS_ALONE)})",
        message=(
            "is of a target that is a number: write data.table.targetKind: numeric, or a loss of classes such as "
            "categorical_crossentropy"
        ),
        holds=lambda training: (
            training.loss is None or learns_number(training) or training.loss not in OF_NUMBERS_ALONE
        ),
        field=".loss",
    ),
    Rule(
        cel=(
            f"!has(self.metrics) || !({_NUMERIC}) || "
            f"self.metrics.all(metric, metric.name in {_names(ANSWERS_OF_NUMBERS)})"
        ),
        message=(
            "one is of classes, and data.table.targetKind is numeric: write those of a number, which are "
            f"{listed(ANSWERS_OF_NUMBERS)}; mae, rmse and r2 are measured anyway"
        ),
        holds=lambda training: (
            not learns_number(training) or all(metric.name in ANSWERS_OF_NUMBERS for metric in training.metrics)
        ),
        field=".metrics",
    ),
    Rule(
        cel=(
            f"!has(self.metrics) || ({_NUMERIC}) || "
            f"self.metrics.all(metric, !(metric.name in {_names(ANSWERS_OF_NUMBERS_ALONE)}))"
        ),
        message=(
            f"{listed(ANSWERS_OF_NUMBERS_ALONE)} are of a target that is a number: write "
            "data.table.targetKind: numeric, or metrics of classes such as auc"
        ),
        holds=lambda training: (
            learns_number(training) or all(metric.name not in ANSWERS_OF_NUMBERS_ALONE for metric in training.metrics)
        ),
        field=".metrics",
    ),
    _watches_what_is_measured("early_stopping", "earlyStopping"),
    _watches_what_is_measured("reduce_on_plateau", "reduceOnPlateau"),
    _watches_what_is_measured("stop_at", "stopAt"),
)
"""What must hold of `training` for its target to be measured by what is asked for."""
