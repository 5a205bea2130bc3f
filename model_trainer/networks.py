"""Whether somebody's network is one for this data: what it takes and what it answers."""

from __future__ import annotations

from typing import Any

import numpy as np


def fault_of(
    model: Any, shape: tuple[int, ...], classes: int, *, given: str | None = None, outputs: str | None = None
) -> str | None:
    """What is wrong with a keras.Model for images of `shape` and so many classes, to be read after "it is"; or None.

    `given` and `outputs` are what its author calls the shape and the number of classes; None: they are written out.
    """
    begin = f"keras.Input({given or shape})"
    if not model.built or not getattr(model, "inputs", None):
        return f"a model without an input: begin with {begin}"
    taken = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if len(taken) != 1 or not _fits(taken[0], shape):
        return f"a model that takes {' and '.join(map(str, taken))}, and the data has {shape}: begin with one {begin}"
    answers = [tuple(tensor.shape[1:]) for tensor in model.outputs]
    if answers != [(classes,)]:
        return (
            f"a model that answers with {' and '.join(map(str, answers))}, and the data has {classes} classes: end "
            f"with keras.layers.Dense({outputs or classes}, activation='softmax')"
        )
    sums = np.asarray(model(np.zeros((1, *shape), np.float32), training=False), np.float32).sum(axis=-1)
    if not np.allclose(sums, 1.0, atol=1e-2):
        return (
            f"a model whose answers sum to {float(sums[0]):.3g} and not to 1, so they are no probabilities: end with "
            "activation='softmax'"
        )
    return None


def _fits(given: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    return len(given) == len(shape) and all(mine in {None, size} for mine, size in zip(given, shape, strict=True))
