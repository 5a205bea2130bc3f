"""What a report says of a number that was learned, in the place of classes, mistakes and calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from keras_operator.api import IN_OWN_UNIT, Loss

from model_trainer.data.split import Indices
from model_trainer.evaluation.confidence import Interval
from model_trainer.evaluation.numbers import NumberAnswers, NumberRecord
from model_trainer.report.figures import Figure
from model_trainer.report.number_charts import Histogram, Scatter, histogram, residuals, scatter
from model_trainer.report.rows import in_words
from model_trainer.tables.card import TargetCard
from model_trainer.tables.table import Table

MOST_ERRORS = 18


@dataclass(frozen=True)
class FarOff:
    """A row whose answer is far from the truth: what stood in it, both numbers, and where it stands."""

    row: str
    true: float
    answered: float
    file: str


@dataclass(frozen=True)
class NumberFacts:
    """The sections of a number: `name` is the target's column, `worst` the rows that are farthest off."""

    name: str
    scatter: Scatter
    residuals: Histogram
    target: Histogram
    worst: tuple[FarOff, ...]


def number_facts(table: Table, card: TargetCard, part: Indices, answers: NumberAnswers) -> NumberFacts:
    """Gather them for the rows of `part`, the test part."""
    errors = np.abs(answers.answered - answers.true)
    worst = np.argsort(-errors, kind="stable")[:MOST_ERRORS]
    edges = [card.bins[0].low, *(each.high for each in card.bins)]
    words = [
        f"{each.low:.4g} to {each.high:.4g}: {each.train} rows to learn from, {each.validation} for validation, "
        f"{each.test} for the test"
        for each in card.bins
    ]
    return NumberFacts(
        name=card.name,
        scatter=scatter(answers.true, answers.answered),
        residuals=residuals(answers.true, answers.answered),
        target=histogram(edges, [each.train + each.validation + each.test for each in card.bins], words),
        worst=tuple(
            FarOff(
                in_words(table, part[place]),
                float(answers.true[place]),
                float(answers.answered[place]),
                table.examples[part[place]].key,
            )
            for place in worst
        ),
    )


def number_figures(record: NumberRecord, loss: Loss) -> tuple[Figure, ...]:
    """The headline numbers."""
    unit = "in the target's unit" if loss in IN_OWN_UNIT else "of differences in standard deviations"
    figures = []
    if record.r2 is not None and record.r2_interval is not None:
        figures.append(
            Figure("R²", f"{record.r2:.3f}", f"of the variance is explained; {_between(record.r2_interval)}")
        )
    figures += [
        Figure(
            "mean absolute error",
            f"{record.mae:.4g}",
            f"of {record.rows} test rows, in the target's unit; {_between(record.mae_interval)}",
        ),
        Figure(
            "root mean squared error", f"{record.rmse:.4g}", f"in the target's unit; {_between(record.rmse_interval)}"
        ),
        Figure("loss", f"{record.loss:.4g}", f"mean over the test rows, {unit}"),
    ]
    figures += [
        Figure(name.replace("_", " "), f"{value:.4g}", "Keras' metric of this name")
        for name, value in record.measured.items()
    ]
    return tuple(figures)


def _between(interval: Interval) -> str:
    return f"{interval.low:.4g} to {interval.high:.4g} with {interval.level:.0%} confidence"
