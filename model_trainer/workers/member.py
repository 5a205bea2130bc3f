"""A training's part in its world: begin where all begin, take a step with all, and learn what follows from an epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from model_trainer import variables
from model_trainer.checkpoints import Restored, State
from model_trainer.workers.world import World


class Idle:
    """Keeps nothing, in the place of a Keeper: what the chief keeps is everybody's."""

    def keep_best(self, model: Any) -> None:
        """Nothing."""

    def use_best(self, model: Any) -> None:
        """Nothing."""

    def epoch_ended(self, model: Any, state: State) -> None:
        """Nothing."""

    def step_ended(self, model: Any, state: Callable[[], State]) -> None:
        """Nothing."""

    def keep(self, model: Any, state: State) -> None:
        """Nothing."""


def begin_together(world: World, model: Any, start: Restored | None, scratch: Path) -> None:
    """Of the chief: give all others the checkpoint that it has, or the weights of its new network."""
    path = start.variables if start else scratch / "begin.npz"
    if start is None:
        variables.write(path, variables.network(model))
    world.start(start.state if start else None, path)
    if start is None:
        path.unlink()


def begin_as_told(world: World, model: Any, scratch: Path, wanted: Callable[[], None]) -> Restored | None:
    """Of the others: what the chief begins from; the weights of a new network are put into `model` at once."""
    path = scratch / "begin.npz"
    state = world.started(path, wanted)
    if state is not None:
        return Restored(state, path, None)
    variables.read(path, variables.network(model))
    path.unlink()
    return None


def draw_apart(model: Any, index: int) -> None:
    """Let dropout and its like draw other numbers here than in the other workers, which see other examples."""
    for variable in model.variables:
        if variable.name == "seed_generator_state":
            variable.assign(variable + tf.constant([index, 0], variable.dtype))
