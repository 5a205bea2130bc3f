"""A target that is a number, and what a network needs to know of it."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

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
