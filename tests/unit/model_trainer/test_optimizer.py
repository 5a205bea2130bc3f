"""The optimizer of the YAML is the one of Keras, and its schedule counts in epochs."""

from typing import Any

import numpy as np
import pytest
from keras_operator.api import Optimizer, OptimizerName, Schedule, ScheduleName

from model_trainer.optimizer import optimizer_of, schedule_of

STEPS = 10


def rates(*epochs: float, rate: float = 0.1, **schedule: Any) -> list[float]:
    made = schedule_of(Optimizer(learning_rate=rate), Schedule(**schedule), STEPS)
    return [round(float(made(epoch * STEPS)), 6) for epoch in epochs]


@pytest.mark.parametrize("name", OptimizerName)
def test_every_optimizer_can_be_made_with_and_without_a_schedule(name: OptimizerName):
    plain = optimizer_of(Optimizer(name=name, learning_rate=0.5, clipnorm=1.0, weight_decay=0.01), STEPS)
    assert (type(plain).__name__.lower(), plain.clipnorm, plain.weight_decay) == (name, 1.0, 0.01)
    assert float(plain.learning_rate) == 0.5
    falling = Optimizer(name=name, learning_rate=0.5, schedule=Schedule(name=ScheduleName.COSINE_DECAY, decay_epochs=2))
    assert float(optimizer_of(falling, STEPS).learning_rate) == 0.5


def test_parameters_arrive_under_the_names_of_keras():
    made = optimizer_of(Optimizer(name=OptimizerName.SGD, momentum=0.9, nesterov=True, clipvalue=0.5), STEPS)
    assert (made.momentum, made.nesterov, made.clipvalue) == (0.9, True, 0.5)
    adam = optimizer_of(Optimizer(beta_1=0.8, beta_2=0.99, epsilon=0.1, amsgrad=True, global_clipnorm=2.0), STEPS)
    assert (adam.beta_1, adam.beta_2, adam.epsilon, adam.amsgrad, adam.global_clipnorm) == (0.8, 0.99, 0.1, True, 2.0)


# Expected values by the formulas in the docstrings of keras.optimizers.schedules.
FORMULAS = {
    "exponential": ({"name": "ExponentialDecay", "decay_epochs": 2, "decay_rate": 0.5}, 0.1 * 0.5**1.5),
    "exponential in stairs": (
        {"name": "ExponentialDecay", "decay_epochs": 2, "decay_rate": 0.5, "staircase": True},
        0.05,
    ),
    "inverse time": ({"name": "InverseTimeDecay", "decay_epochs": 3, "decay_rate": 1.0}, 0.05),
    "polynomial": (
        {"name": "PolynomialDecay", "decay_epochs": 6, "end_learning_rate": 0.02, "power": 2.0},
        (0.1 - 0.02) * 0.25 + 0.02,
    ),
    "cosine": ({"name": "CosineDecay", "decay_epochs": 6, "alpha": 0.1}, 0.1 * (0.9 * 0.5 + 0.1)),
    "cosine with restarts": ({"name": "CosineDecayRestarts", "decay_epochs": 3}, 0.1),
    "constant in pieces": (
        {"name": "PiecewiseConstantDecay", "boundaries": (2.0, 5.0), "factors": (0.1, 0.01)},
        0.01,
    ),
}


@pytest.mark.parametrize(("written", "expected"), FORMULAS.values(), ids=FORMULAS)
def test_a_schedule_is_that_of_keras_in_epochs(written: dict[str, Any], expected: float):
    found = rates(3, **{**written, "name": ScheduleName(written["name"])})
    np.testing.assert_allclose(found, [expected], rtol=1e-4)


def test_a_warm_up_comes_before_the_decay():
    found = rates(0, 1, 2, 12, name=ScheduleName.COSINE_DECAY, decay_epochs=10, warmup_epochs=2)
    np.testing.assert_allclose(found, [0, 0.05, 0.1, 0], atol=1e-6)
