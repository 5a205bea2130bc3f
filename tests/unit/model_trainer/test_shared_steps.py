"""A step that is shared: what another worker brings is in the weights, the moving averages and the metrics."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import pytest

from model_trainer.workers.member import draw_apart
from model_trainer.workers.place import Place, Shard
from model_trainer.workers.steps import share_steps
from model_trainer.workers.world import World, meet
from tests.unit.model_trainer.conftest import free_port

IMAGES = np.array([[0, 1, 2], [4, 3, 9], [7, 7, 1], [2, 0, 5]], np.float32)
LABELS = np.array([[1], [0], [2], [1]], np.float32)


def network(rate: float) -> Any:
    keras.utils.set_random_seed(5)
    layers = [keras.Input((3,)), keras.layers.BatchNormalization(name="norm"), keras.layers.Dense(1, name="dense")]
    model = keras.Sequential(layers)
    model.compile(optimizer=keras.optimizers.SGD(rate), loss="mse", metrics=["mae"], jit_compile=False)
    return model


def nobody_is_late() -> bool:
    return False


def pair() -> list[World]:
    port = free_port()
    places = [Place(Shard(index, 2), "127.0.0.1", port) for index in range(2)]
    with ThreadPoolExecutor(2) as pool:
        worlds = [pool.submit(meet, place, "uid-1", "same", lambda: None) for place in places]
        return [world.result(timeout=60) for world in worlds]


def test_what_another_worker_brings_is_in_the_weights_the_averages_and_the_metrics():
    model, alone = network(0.2), network(0.1)
    before = alone.get_layer("norm").moving_mean.numpy()
    own, other = pair()
    for world in (own, other):
        world.begins(4)
    share_steps(model, own, nobody_is_late)

    def bring() -> None:
        # Nothing for the weights; for loss and mae (sum and count each) 10 of 2 examples; 3 for each moving average.
        other.weighted(np.zeros(3 + 3 + 3 + 1, np.float32))
        other.after_step(np.array([10, 2, 10, 2], np.float32), np.full(3 + 3, 3, np.float32), is_late=False)

    with ThreadPoolExecutor(1) as pool:
        brought = pool.submit(bring)
        measured = model.train_on_batch(IMAGES[:2], LABELS[:2], return_dict=True)
        brought.result(timeout=60)
    expected = alone.train_on_batch(IMAGES[:2], LABELS[:2], return_dict=True)

    # Half of the batch is here: half of its gradient, and half of what it did to the averages.
    for layer in ("norm", "dense"):
        for mine, theirs in zip(
            model.get_layer(layer).trainable_variables, alone.get_layer(layer).trainable_variables, strict=True
        ):
            np.testing.assert_allclose(mine.numpy(), theirs.numpy(), atol=1e-6)
    changed = alone.get_layer("norm").moving_mean.numpy() - before
    assert np.abs(changed).max() > 0
    np.testing.assert_allclose(model.get_layer("norm").moving_mean.numpy(), before + changed / 2 + 1.5, atol=1e-6)
    for name in ("loss", "mae"):
        assert float(measured[name]) == pytest.approx((2 * float(expected[name]) + 10) / 4, rel=1e-5)


def test_workers_draw_other_numbers_from_the_same_start():
    model = keras.Sequential([keras.Input((100,)), keras.layers.Dropout(0.5)])
    states = [variable for variable in model.variables if variable.name == "seed_generator_state"]
    start = [state.numpy() for state in states]
    assert start
    drawn = []
    for index in (0, 1, 1):
        for state, value in zip(states, start, strict=True):
            state.assign(value)
        draw_apart(model, index)
        drawn.append(np.asarray(model(np.ones((1, 100), np.float32), training=True)))
    assert (drawn[0] != drawn[1]).any()
    assert (drawn[1] == drawn[2]).all()
