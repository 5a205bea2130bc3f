"""How far off a number's answers are: the same as scikit-learn and scipy say."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from model_trainer.evaluation.measuring import of_validation
from model_trainer.evaluation.numbers import NumberAnswers, numbers_record

ROWS = 120


@pytest.fixture(scope="module")
def answers() -> NumberAnswers:
    """Heights in cm, a few of them far off; the losses are their squares."""
    random = np.random.default_rng(3)
    true = random.normal(170, 12, ROWS)
    answered = true + random.standard_t(3, ROWS) * 5
    return NumberAnswers(true, answered, (true - answered) ** 2)


def test_errors_are_scikit_learn_s(answers: NumberAnswers):
    assert answers.mae == pytest.approx(mean_absolute_error(answers.true, answers.answered))
    assert answers.rmse == pytest.approx(root_mean_squared_error(answers.true, answers.answered))
    assert answers.r2 == pytest.approx(r2_score(answers.true, answers.answered))
    assert answers.loss == pytest.approx(answers.rmse**2)


def test_whoever_always_answers_the_mean_explains_nothing_and_who_is_worse_less(answers: NumberAnswers):
    mean = np.full(ROWS, answers.true.mean())
    assert NumberAnswers(answers.true, mean, mean).r2 == pytest.approx(0, abs=1e-12)
    assert NumberAnswers(answers.true, answers.true, mean).r2 == 1
    worse = NumberAnswers(answers.true, mean + 100, mean).r2
    assert worse is not None
    assert worse < -1


def test_intervals_are_those_of_scipy_s_bootstrap(answers: NumberAnswers):
    record = numbers_record(answers, seed=1)
    measures: dict[str, Any] = {
        "mae": mean_absolute_error,
        "rmse": root_mean_squared_error,
        "r2": r2_score,
    }
    for name, measure in measures.items():
        theirs = stats.bootstrap(
            (answers.true, answers.answered),
            measure,
            paired=True,
            vectorized=False,
            n_resamples=2000,
            method="percentile",
            rng=np.random.default_rng(7),
        ).confidence_interval
        ours = getattr(record, f"{name}_interval")
        width = theirs.high - theirs.low
        assert ours.low == pytest.approx(theirs.low, abs=width / 8), name
        assert ours.high == pytest.approx(theirs.high, abs=width / 8), name
        assert ours.low < getattr(record, name) < ours.high
    assert numbers_record(answers, seed=1) == record
    assert numbers_record(answers, seed=2) != record


def test_metrics_hold_the_worse_end_of_each_interval(answers: NumberAnswers):
    record = numbers_record(answers, seed=1)
    assert record.r2_interval is not None
    assert record.metrics == {
        "mae": record.mae,
        "mae_high": record.mae_interval.high,
        "rmse": record.rmse,
        "rmse_high": record.rmse_interval.high,
        "r2": record.r2,
        "r2_low": record.r2_interval.low,
        "loss": record.loss,
    }
    assert set(of_validation(answers)) == {"val_mae", "val_rmse", "val_r2", "val_loss"}


def test_nothing_is_explained_of_rows_that_are_all_the_same():
    # Their variance is 2e-31 by numpy.
    same = NumberAnswers(np.full(39, 1.7), np.full(39, 1.8), np.zeros(39))
    record = numbers_record(same, seed=1)
    assert (same.r2, record.r2, record.r2_interval) == (None, None, None)
    assert set(record.metrics) == {"mae", "mae_high", "rmse", "rmse_high", "loss"}
    assert "val_r2" not in of_validation(same)


def test_resamples_of_one_number_say_nothing_of_the_others():
    """Two rows: half of the resamples draw one of them twice."""
    two = NumberAnswers(np.array([0.0, 1.0]), np.array([0.1, 1.1]), np.zeros(2))
    interval = numbers_record(two, seed=1).r2_interval
    assert interval is not None
    assert [interval.low, interval.high] == pytest.approx([0.96, 0.96])
