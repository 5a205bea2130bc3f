"""The report of a number that was learned: where its answers lie, and what is farthest off."""

import numpy as np
import pytest
from keras_operator.api import Comparison

from model_trainer.evaluation.numbers import NumberAnswers
from model_trainer.report.facts import facts_of
from model_trainer.report.number_charts import MOST_POINTS, histogram, residuals, scatter
from model_trainer.report.page import page_of
from tests.unit.model_trainer.reported import NASTY, trained_on_numbers
from tests.unit.model_trainer.test_report import Page


def test_the_page_shows_answers_and_errors_and_nothing_of_classes():
    trained = trained_on_numbers(comparison=Comparison(version=3, metrics={"mae": 12.5, "r2": 0.5}))
    text = page_of(facts_of(trained))
    found = Page(text)
    assert not {"script", "link", "iframe", "img"} & {tag for tag, _ in found.elements}
    labels = {attributes.get("aria-label") for attributes in found.all("svg")}
    assert labels >= {"true and answered numbers", "histogram of the errors", "histogram of the target"}
    assert f"price {NASTY}" in found.text
    assert f"town {NASTY}" in found.text
    assert "12.5" in found.text
    for word in ("confusion", "calibration", "Every class", "accuracy"):
        assert word not in found.text.partition("How to train it again")[0], word
    links = {str(each["href"])[1:] for each in found.all("a")}
    ids = {attributes.get("id") for _, attributes in found.elements}
    assert links <= ids


def test_the_rows_that_are_farthest_off_come_first():
    trained = trained_on_numbers()
    numbers = facts_of(trained).numbers
    assert numbers is not None
    assert isinstance(trained.answers, NumberAnswers)
    errors = np.abs(trained.answers.true - trained.answers.answered)
    told = [abs(row.true - row.answered) for row in numbers.worst]
    assert told == pytest.approx(sorted(errors, reverse=True)[:18])
    place = int(np.argmax(errors))
    assert numbers.worst[0].file == f"{NASTY}.csv:{trained.split.test[place] + 2}"
    assert numbers.worst[0].row.startswith("age ")


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9], ids=str)
@pytest.mark.parametrize("rows", [2, 40, 3000])
def test_points_and_columns_stay_within_their_axes(rows: int, scale: float):
    random = np.random.default_rng(rows)
    true = scale * random.normal(5, 1, rows)
    answered = true + scale * random.normal(0, 0.3, rows)
    plot = scatter(true, answered)
    assert len(plot.points) == min(rows, MOST_POINTS)
    for across, up in plot.points:
        assert plot.left <= across <= plot.right
        assert plot.top <= up <= plot.bottom
    bars = residuals(true, answered)
    for column in bars.columns:
        assert bars.left - 1e-6 <= column.left
        assert column.left + column.width <= bars.right + 1e-6
        assert 0 < column.height <= bars.bottom - bars.top + 1e-6
    counts = [int(column.words.partition(" rows")[0]) for column in bars.columns]
    assert sum(counts) == rows


def test_what_is_right_lies_on_the_diagonal_and_in_the_middle():
    true = np.array([1.0, 2.0, 7.0])
    plot = scatter(true, true)
    for across, up in plot.points:
        along = (across - plot.left) / (plot.right - plot.left)
        assert (plot.bottom - up) / (plot.bottom - plot.top) == pytest.approx(along)
    bars = residuals(true, true)
    (column,) = bars.columns
    assert column.left + column.width / 2 == pytest.approx((bars.left + bars.right) / 2)
    assert column.words == "3 rows: -0.04762 to 0.04762 from the truth"


def test_too_high_is_right_of_the_middle():
    bars = residuals(np.zeros(3), np.array([5.0, 5.0, 4.9]))
    assert all(column.left > (bars.left + bars.right) / 2 for column in bars.columns)


def test_a_column_is_as_high_as_its_count():
    bars = histogram([0.0, 1.0, 2.0, 3.0], [4, 0, 2], ["four", "none", "two"])
    assert [column.words for column in bars.columns] == ["four", "two"]
    four, two = bars.columns
    assert four.height == pytest.approx(2 * two.height)
    assert all(float(tick.label) == int(float(tick.label)) for tick in bars.up)
