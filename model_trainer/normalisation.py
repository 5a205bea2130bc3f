"""Batch normalisation as one operation instead of thirty while a network learns.

Keras 3 writes it out: means, differences, squares and products, each a pass over all activations and each again for the
gradient, which makes it half of a training step of a small network on CPUs. TensorFlow has it as one operation with one
for its gradient. The layers stay those of Keras, with the same weights and the same file, and so does how they answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

# cuDNN takes no smaller one.
_LEAST_EPSILON = 1.001e-5


def normalise_at_once(model: Any) -> None:
    """Let every layer of batch normalisation of images in `model` learn by one operation.

    Those of rows, of other axes, with a mask, or that do something of their own learn as Keras has it.
    """
    for layer in model._flatten_layers():
        if _is_plain(layer):
            layer.call = _at_once(layer)


def _is_plain(layer: Any) -> bool:
    return (
        type(layer) is keras.layers.BatchNormalization
        and layer.built
        and len(layer.input_spec.axes or {}) == 1
        and layer.input_spec.ndim == 4
        and layer.axis in (-1, 3)
        and layer.epsilon >= _LEAST_EPSILON
        and not layer.synchronized
        and not layer.renorm
    )


def _at_once(layer: Any) -> Callable[..., Any]:
    as_keras = layer.call

    def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Normalise [batch, height, width, channels] by the mean and variance of the batch where `layer` learns."""
        if not (training and layer.trainable) or mask is not None:
            return as_keras(inputs, training=training, mask=mask)
        images = tf.cast(inputs, tf.float32)
        channels = images.shape[-1]
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=images,
            scale=tf.convert_to_tensor(layer.gamma) if layer.scale else tf.ones([channels]),
            offset=tf.convert_to_tensor(layer.beta) if layer.center else tf.zeros([channels]),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=layer.epsilon,
            is_training=True,
        )
        # The operation gives the unbiased variance, sum / (n - 1); Keras keeps sum / n.
        count = tf.cast(tf.size(images) // channels, tf.float32)
        kept = (layer.moving_mean, mean), (layer.moving_variance, variance * tf.maximum(count - 1.0, 1.0) / count)
        for moving, now in kept:
            moving.assign(moving * layer.momentum + now * (1.0 - layer.momentum))
        return tf.cast(outputs, layer.compute_dtype)

    return call
