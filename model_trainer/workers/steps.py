"""A step of Keras as a step of all workers: what each computes of its part of a batch becomes what one alone computes.

Gradients are averaged by the workers' shares before the optimizer sees them: clipping, loss scaling and its slots are
as for one worker. So are the moving averages that layers keep, such as batch normalisation's; what Keras' metrics count
is added up. After each step every worker has the same variables, so whatever the chief keeps is everybody's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from model_trainer.pretrained import leaves
from model_trainer.workers.world import World


def share_steps(model: Any, world: World, is_late: Callable[[], bool]) -> None:
    """Let the steps of `model`, which was just compiled, be the world's; `is_late` is asked once a step."""
    own_apply = model.optimizer.apply
    own_step = type(model).train_step

    def apply(gradients: Sequence[Any], trainable_variables: Any = None) -> None:
        own_apply(_averaged(gradients, world), trainable_variables)

    def after(counted: Any, averaged: Any) -> tuple[Any, Any]:
        return world.after_step(counted, averaged, is_late())

    def step(data: Any) -> Any:
        counted, averaged = model.metrics_variables, _moving(model)
        before = [tf.identity(variable) for variable in (*counted, *averaged)]
        own_step(model, data)
        changes = [variable - was for variable, was in zip((*counted, *averaged), before, strict=True)]
        parts = changes[: len(counted)], changes[len(counted) :]
        summed = tf.numpy_function(after, [_flat(part) for part in parts], [tf.float32, tf.float32])
        shared = [one for part, flat in zip(parts, summed, strict=True) for one in _shaped(flat, part)]
        for variable, was, change in zip((*counted, *averaged), before, shared, strict=True):
            variable.assign(was + change)
        return model.get_metrics_result()

    model.optimizer.apply = apply
    model.train_step = step


def _averaged(gradients: Sequence[Any], world: World) -> list[Any]:
    """The gradients of the whole batch; None stays None, what is sparse becomes dense."""
    dense = [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients]
    there = [gradient for gradient in dense if gradient is not None]
    mean = iter(_shaped(tf.numpy_function(world.weighted, [_flat(there)], tf.float32), there))
    return [None if gradient is None else next(mean) for gradient in dense]


def _moving(model: Any) -> list[Any]:
    """What layers that learn keep of the batches that they saw, without the state of random generators."""
    return [
        variable
        for layer in leaves(model)
        if layer.trainable
        for variable in layer.non_trainable_variables
        if tf.as_dtype(variable.dtype).is_floating
    ]


def _flat(tensors: Sequence[Any]) -> Any:
    """The numbers of all tensors one after the other, float32."""
    return tf.concat([tf.reshape(tf.cast(one, tf.float32), [-1]) for one in tensors] or [tf.zeros([0])], 0)


def _shaped(flat: Any, like: Sequence[Any]) -> list[Any]:
    """What `_flat` made of tensors such as these; their shapes are known."""
    sizes = [one.shape.num_elements() for one in like]
    flat = tf.ensure_shape(flat, [sum(sizes)])
    parts = tf.split(flat, sizes) if sizes else []
    return [tf.cast(tf.reshape(part, one.shape), one.dtype) for part, one in zip(parts, like, strict=True)]
