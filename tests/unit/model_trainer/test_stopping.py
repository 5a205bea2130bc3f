"""What follows from the metrics after each epoch."""

import math
from typing import Any

import pytest
from keras_operator.api import Data, EarlyStopping, FineTuning, Monitor, ReduceOnPlateau, StopAt, Training

from model_trainer.stopping import Course, Verdict, judge


def verdicts(losses: list[float], metric: str = "val_loss", **fields: Any) -> list[Verdict]:
    """One verdict after each epoch, until one of them ends the training."""
    training = Training(data=Data(uri="s3://x/y"), epochs=100, **fields)
    course, made = Course(), []
    for epoch, loss in enumerate(losses, 1):
        made.append(judge(training, course, epoch, {metric: loss, "val_loss": loss}))
        course = made[-1].course
        if made[-1].end:
            break
    return made


@pytest.mark.parametrize(
    ("losses", "patience", "min_delta", "epochs", "best"),
    [
        pytest.param([3, 2, 2, 2, 1], 2, 0.0, 4, 2, id="patience is over"),
        pytest.param([3, 2, 2, 1, 1, 1], 2, 0.0, 6, 4, id="something better begins anew"),
        pytest.param([3, 2.5, 2.2, 1], 2, 1.0, 3, 1, id="too small a change is none"),
        pytest.param([3, math.nan, math.nan, 1], 2, 0.0, 3, 1, id="no number is not better"),
    ],
)
def test_early_stopping(losses: list[float], patience: int, min_delta: float, epochs: int, best: int):
    made = verdicts(losses, early_stopping=EarlyStopping(patience=patience, min_delta=min_delta))
    assert len(made) == epochs
    assert made[-1].course.best.epoch == best
    assert made[-1].end == f"val_loss has not got better since epoch {best}"
    assert [index for index, one in enumerate(made, 1) if one.best][-1] == best


def test_nobody_s_patience_ends_while_the_head_learns():
    made = verdicts(
        [3, 4, 4, 4, 4, 4],
        fine_tuning=FineTuning(head_epochs=4),
        early_stopping=EarlyStopping(patience=2),
        reduce_on_plateau=ReduceOnPlateau(patience=1),
    )
    assert [one.end for one in made] == [None] * 5 + ["val_loss has not got better since epoch 1"]
    assert [one.course.best.waited for one in made] == [0, 1, 2, 0, 1, 2]
    assert [one.course.best.epoch for one in made] == [1] * 6, "the best of the head may stay the best"


def test_without_early_stopping_the_best_is_known_and_nothing_ends():
    made = verdicts([3, 1, 2, 2, 2, 2, 2])
    assert [one.best for one in made] == [True, True, *[False] * 5]
    assert [one.end for one in made] == [None] * 7


def test_a_plateau_is_counted_anew_after_each_reduction_and_not_while_it_cools_down():
    plateau = ReduceOnPlateau(patience=2, cooldown=2, min_delta=0)
    made = verdicts([3, 3, 3, 3, 3, 3, 3, 3, 3], reduce_on_plateau=plateau)
    assert [index for index, one in enumerate(made, 1) if one.reduce] == [3, 6, 9]


def test_keras_reduces_at_the_same_epochs():
    import keras

    losses = [3, 3, 2, 2, 2, 1.95, 1.95, 1.95, 1.95, 1.0, 1.0, 1.0, 1.0, 1.0]
    plateau = ReduceOnPlateau(patience=2, cooldown=1, min_delta=0.1, factor=0.5)
    theirs = keras.callbacks.ReduceLROnPlateau("val_loss", patience=2, cooldown=1, min_delta=0.1, factor=0.5)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    theirs.set_model(model)
    theirs.on_train_begin()
    rates = []
    for epoch, loss in enumerate(losses):
        theirs.on_epoch_end(epoch, {"val_loss": loss})
        rates.append(float(model.optimizer.learning_rate))
    reduced = [rate < before for rate, before in zip(rates, [0.01, *rates], strict=False)]
    reduced[0] = False
    assert [one.reduce for one in verdicts(losses, reduce_on_plateau=plateau)] == reduced
    assert sum(reduced) >= 3


@pytest.mark.parametrize(
    ("monitor", "value", "measured", "stops"),
    [
        (Monitor.VAL_ACCURACY, 0.9, 0.9, True),
        (Monitor.VAL_ACCURACY, 0.9, 0.89, False),
        (Monitor.LOSS, 0.5, 0.5, True),
        (Monitor.LOSS, 0.5, 0.51, False),
        (Monitor.LOSS, 0.5, math.nan, False),
    ],
)
def test_stop_at(monitor: Monitor, value: float, measured: float, stops: bool):
    made = verdicts([measured], metric=monitor, stop_at=StopAt(monitor=monitor, value=value))
    assert (made[-1].end is not None, made[-1].keep_this) == (stops, stops)
