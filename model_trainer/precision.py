"""Mixed precision is how a network is trained, and nothing that stays with it.

Layers compute in 16 bits while their weights have 32, so a trained network need not be converted: it is told to compute
in 32 bits from then on. What is evaluated, kept and published has no 16 bits in it, and the exported model is compared
as closely as any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras_operator.api import MixedPrecision

FULL = "float32"


@contextmanager
def built_for(precision: MixedPrecision | None) -> Iterator[None]:
    """Let layers that are made here compute by this policy of Keras, but for those that name one of their own."""
    before = keras.config.dtype_policy()
    if precision is not None:
        keras.config.set_dtype_policy(str(precision))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def answer_in_full(model: Any) -> None:
    """Let the layer that gives the answers compute in float32: 16 bits would round small probabilities to nothing."""
    last = model.outputs[0]._keras_history.operation
    while hasattr(last, "layers"):
        last = last.outputs[0]._keras_history.operation
    if isinstance(last, keras.Layer):
        last.dtype_policy = FULL


def compute_plainly(model: Any) -> None:
    """Let a network that was trained elsewhere, perhaps in 16 bits, compute in float32."""
    for layer in model._flatten_layers():
        if layer.compute_dtype in ("float16", "bfloat16"):
            layer.dtype_policy = FULL


def compute_in_full(model: Any) -> None:
    """Let a trained network compute in float32, with the plain optimizer that scaled losses were given to."""
    for layer in model._flatten_layers():
        layer.dtype_policy = FULL
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        model.optimizer = model.optimizer.inner_optimizer
    # What was traced so far computes in 16 bits.
    model.train_function = model.test_function = model.predict_function = None
