"""A target that is a number, and what a network needs to know of it."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
from keras_operator.api import OF_POSITIVE_ANSWERS, Loss, Training

from model_trainer.failure import BadData

# A float32 has seven digits. Below this part of its mean, a difference is that of rounding and not of a network.
_ROUNDED = 0.05


class Target(msgspec.Struct, frozen=True):
    """The column's name, and the mean and the standard deviation of its numbers in the train part."""

    name: str
    mean: float
    deviation: float

    @property
    def scale(self) -> float:
        """What differences between answers are measured against: the standard deviation.

        Or a twentieth of the mean where that is larger: a float32 could not hold the digits that are left of it.
        """
        return max(self.deviation, _ROUNDED * abs(self.mean))


def learn_target(name: str, values: npt.NDArray[np.float64], train: npt.NDArray[np.float64]) -> Target:
    """What the train part says of all `values`.

    Raises:
        BadData: the numbers do not differ, so there is nothing to learn.
    """
    # Not by their deviation: that of numbers which are all 1.7 is a rounding error.
    if train.min() == train.max():
        rows = f"{len(values)} rows" if (values == values[0]).all() else f"{len(train)} rows that are learned from"
        raise BadData(
            f"All {rows} have {train[0]:g} in the target {name!r}, so there is nothing to learn. Add "
            "rows with other numbers, or correct spec.training.data.table.target."
        )
    return Target(name, float(train.mean()), float(train.std()))


def check_loss(training: Training, column: str, values: npt.NDArray[np.float64]) -> None:
    """Whether the loss and the metrics of a training have a meaning for all `values` of its target.

    Raises:
        BadData: Keras would put another number in the place of some of them.
    """
    wanted = {str(training.objective): "loss"}
    for metric in training.metrics:
        wanted.setdefault(str(metric.name), "metrics")
    instead = "such as mean_absolute_error, or correct the rows."
    for name, field in wanted.items():
        if name in OF_POSITIVE_ANSWERS and (least := float(values.min())) < 0:
            raise BadData(
                f"The target {column!r} has {least:g}, and {name} is of numbers that are 0 or more. Choose another in "
                f"spec.training.{field}, {instead}"
            )
        if name == Loss.MEAN_ABSOLUTE_PERCENTAGE_ERROR and (zeros := int((values == 0).sum())):
            raise BadData(
                f"The target {column!r} is 0 in {zeros} of {len(values)} rows, of which no error is a percentage, and "
                f"{name} is one. Choose another in spec.training.{field}, {instead}"
            )


def target_of_test(name: str, values: npt.NDArray[np.float64], address: str) -> Target:
    """What the rows that a model is tested on say of themselves, where there are none to learn from.

    Raises:
        BadData: the numbers do not differ, so errors have nothing to be measured against.
    """
    if values.min() == values.max():
        raise BadData(
            f"All {len(values)} rows of {address} have {values[0]:g} in the target {name!r}, which any constant "
            "answers as well as a model. Add rows with other numbers."
        )
    return Target(name, float(values.mean()), float(values.std()))
