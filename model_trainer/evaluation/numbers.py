"""How far the answers of a model that learned a number are from the true ones.

With n rows, true numbers y, answers a, and m the mean of these rows' y:

    mae   mean absolute error            sum |y - a| / n
    rmse  root mean squared error        sqrt(sum (y - a)^2 / n)
    r2    coefficient of determination   1 - sum (y - a)^2 / sum (y - m)^2

The first two are in the target's own unit. The last is 1 where all is right, and 0 for whoever always answers m; it is
scikit-learn's `r2_score`, and says nothing of rows that all have the same number.

The intervals are Efron's and Tibshirani's percentile intervals, as in `confidence`: the rows are drawn again with
replacement, as many as there are, a thousand times, and the middle 95 % of what is measured of them is the interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from keras_operator.api import Training

from model_trainer.batching import batches_of
from model_trainer.data.split import Indices
from model_trainer.evaluation.confidence import LEVEL, RESAMPLES, Interval
from model_trainer.losses import loss_of_each
from model_trainer.measures import measures_of
from model_trainer.tables.table import Table

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NumberAnswers:
    """One entry for each row of the part, in its order: the true number, the model's, and the loss.

    `measured` is what Keras' metrics measured of the whole part, by their names.
    """

    true: Floats
    answered: Floats
    losses: Floats
    measured: Mapping[str, float] = field(default_factory=dict)

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return float(np.abs(self.true - self.answered).mean())

    @property
    def rmse(self) -> float:
        """Root mean squared error."""
        return float(np.sqrt(((self.true - self.answered) ** 2).mean()))

    @property
    def r2(self) -> float | None:
        """Coefficient of determination; None where all true numbers are the same."""
        variance = _variance(self.true)
        return 1 - self.rmse**2 / variance if variance else None

    @property
    def loss(self) -> float:
        """Mean loss."""
        return float(self.losses.mean())


def ask_numbers(model: Any, table: Table, part: Indices, training: Training, *, served: bool = False) -> NumberAnswers:
    """Run the rows of `part` through the model, a batch at a time; `served` says that it takes raw columns."""
    measure = loss_of_each(training, table.target)
    measures = measures_of(training.metrics, table.target)
    told = []
    batches = batches_of(table, part, batch_size=training.batch_size, raw=served)
    for inputs, numbers in batches.dataset(0, training.objective):
        answers = np.asarray(model.predict_on_batch(inputs))
        for each in measures:
            each.update_state(numbers, answers)
        told.append((answers[:, 0].astype(np.float64), np.asarray(measure(numbers, answers), dtype=np.float64)))
    answered, losses = (np.concatenate(column) for column in zip(*told, strict=True))
    measured = {each.name: float(each.result()) for each in measures}
    return NumberAnswers(table.values[part], answered, losses, measured)


class NumberRecord(msgspec.Struct, frozen=True, rename="camel"):
    """evaluation.json of a target that is a number.

    Attributes:
        mae, rmse: in the target's unit.
        r2: None where all true numbers of the test part are the same.
        mae_interval, rmse_interval, r2_interval: 95 % bootstrap confidence intervals of them.
        loss: mean loss, of differences in standard deviations of the train part or, of a model that was trained
            elsewhere, of these rows; a loss that is not of a difference alone is in the target's unit.
        rows: how many there are.
        measured: the metrics of Keras that the training asked for, in the target's unit.
    """

    mae: float
    mae_interval: Interval
    rmse: float
    rmse_interval: Interval
    r2: float | None
    r2_interval: Interval | None
    loss: float
    rows: int
    measured: dict[str, float] = {}

    @property
    def metrics(self) -> dict[str, float]:
        """What a version's status tells, by the names that gates use."""
        measured = {
            "mae": self.mae,
            "mae_high": self.mae_interval.high,
            "rmse": self.rmse,
            "rmse_high": self.rmse_interval.high,
            "r2": self.r2,
            "r2_low": self.r2_interval.low if self.r2_interval else None,
            "loss": self.loss,
            **self.measured,
        }
        return {name: value for name, value in measured.items() if value is not None}


def numbers_record(answers: NumberAnswers, seed: int) -> NumberRecord:
    """Everything that is said of the test part; `seed` is of the confidence intervals."""
    mae, rmse, r2 = _resampled(answers, seed)
    return NumberRecord(
        mae=answers.mae,
        mae_interval=_interval(mae, seed),
        rmse=answers.rmse,
        rmse_interval=_interval(rmse, seed),
        r2=answers.r2,
        r2_interval=None if answers.r2 is None else _interval(r2, seed),
        loss=answers.loss,
        rows=len(answers.true),
        measured=dict(answers.measured),
    )


def _resampled(answers: NumberAnswers, seed: int) -> tuple[Floats, Floats, Floats]:
    """mae, rmse and r2 of each resample; those whose rows all have one number have no r2, and are left out of it."""
    random = np.random.default_rng(seed)
    count = len(answers.true)
    absolute = np.abs(answers.true - answers.answered)
    squared = absolute**2
    mae, mse, variance = np.empty((3, RESAMPLES))
    for place in range(RESAMPLES):
        drawn = random.integers(count, size=count)
        mae[place], mse[place] = absolute[drawn].mean(), squared[drawn].mean()
        variance[place] = _variance(answers.true[drawn])
    some = variance > 0
    return mae, np.sqrt(mse), 1 - mse[some] / variance[some]


def _variance(numbers: Floats) -> float:
    """Of numbers that are all the same 0, and not what rounding makes of it."""
    return float(numbers.var()) if numbers.min() < numbers.max() else 0.0


def _interval(values: Floats, seed: int) -> Interval:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), LEVEL, RESAMPLES, seed)
