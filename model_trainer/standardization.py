"""What `ImageDataGenerator` calls standardizing, as the first layers of a network.

Whatever the network is asked by, in training, tests, either signature or its files, goes through them. They are Keras'
own, so every Keras reads the files, and have no weights, but for ZCA's matrix, which is passed over: the weights of a
network fit with them and without. Their numbers come from the training part alone, so each worker and each later pod
makes the same ones; the matrix, which is rounded, they get as they get all weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras_operator.api import Normalization

from model_trainer.data.decoding import Pixels
from model_trainer.data.moments import moments_of, whitening_of
from model_trainer.data.split import Indices
from model_trainer.failure import InvalidArchitecture

# ImageDataGenerator adds it to each deviation that it divides by.
EPSILON = 1e-6
_LEVELS = 255.0
# The layer of the one step that has weights, which are no part of the network that is trained.
WHITENING = "zca_whitening"
# Of an image: 32 x 32 in three channels. The matrix then has 38 MB.
MOST_WHITENED = 3072

# Whatever the network computes in: sums over an image are too large for 16 bits.
_layer = {"dtype": "float32"}


def standardized(model: Any, wanted: Normalization, pixels: Pixels, rows: Indices) -> Any:
    """A network that standardizes its images, float32 in [0, 1], and gives them to `model`.

    `rows` of `pixels` are what it learns from; they are read only where they are needed.

    Raises:
        InvalidArchitecture: the images are too large to be whitened.
    """
    steps = _steps(wanted, pixels, rows)
    if not steps:
        return model
    inputs = images = keras.Input(pixels.shape[1:], name="images")
    for step in steps:
        images = step(images)
    return keras.Model(inputs, model(images), name=model.name)


def _steps(wanted: Normalization, pixels: Pixels, rows: Indices) -> list[Callable[[Any], Any]]:
    """One after the other, in `ImageDataGenerator`'s order; it, too, takes the mean away wherever it divides."""
    shape = pixels.shape[1:]
    steps: list[Callable[[Any], Any]] = []
    # The statistics are those of what a rescaling makes of the images, as in its `fit`.
    factor = 1.0 if wanted.rescale is None else wanted.rescale * _LEVELS
    if wanted.rescale is not None:
        steps.append(keras.layers.Rescaling(factor, **_layer))
    if wanted.samplewise_center or wanted.samplewise_std_normalization:
        steps.append(partial(_by_itself, shape=shape, divides=wanted.samplewise_std_normalization))
    if wanted.featurewise_center or wanted.featurewise_std_normalization or wanted.zca_whitening:
        found = moments_of(pixels, rows)
        divisors = [1.0] * len(found.means)
        if wanted.featurewise_std_normalization and not wanted.zca_whitening:
            divisors = [one * factor + EPSILON for one in found.deviations]
        steps.append(
            keras.layers.Normalization(
                mean=[one * factor for one in found.means], variance=[one**2 for one in divisors], **_layer
            )
        )
        if wanted.zca_whitening:
            _check_size(shape)
            matrix = whitening_of(pixels, rows, found, factor=factor, epsilon=wanted.zca_epsilon)
            steps.append(partial(_whitened, shape=shape, matrix=matrix))
    return steps


def _check_size(shape: tuple[int, ...]) -> None:
    height, width, channels = shape
    if (count := height * width * channels) > MOST_WHITENED:
        raise InvalidArchitecture(
            f"spec.training.normalization.zcaWhitening takes a weight for each two levels of an image, and {height} x "
            f"{width} pixels of {channels} channels are {count:,} levels; {MOST_WHITENED:,} are the most. Lower "
            "spec.training.data.imageSize, to [32, 32] for instance, or remove zcaWhitening."
        )


def _whitened(images: Any, shape: tuple[int, ...], *, matrix: Any) -> Any:
    layer = keras.layers.Dense(len(matrix), use_bias=False, trainable=False, name=WHITENING, **_layer)
    whitened = layer(keras.layers.Reshape((len(matrix),), **_layer)(images))
    layer.kernel.assign(matrix)
    return keras.layers.Reshape(shape, **_layer)(whitened)


def _by_itself(images: Any, shape: tuple[int, ...], *, divides: bool) -> Any:
    """Each image less its mean and, where asked for, divided by its deviation + EPSILON."""
    layers = keras.layers
    count = math.prod(shape)
    mean = layers.GlobalAveragePooling1D(**_layer)(layers.Reshape((count, 1), **_layer)(images))
    centred = layers.Subtract(**_layer)([layers.Reshape((count,), **_layer)(images), mean])
    if divides:
        # Keras has no layer that divides. What UnitNormalization makes has the length 1, and its product with what it
        # was made of is the length of that: √count times the deviation. softsign(d / ε) is d / (d + ε).
        unit = layers.UnitNormalization(axis=-1, **_layer)(centred)
        length = layers.Dot(axes=1, **_layer)([centred, unit])
        deviation = layers.Rescaling(1 / (math.sqrt(count) * EPSILON), **_layer)(length)
        part = layers.Activation("softsign", **_layer)(deviation)
        centred = layers.Rescaling(math.sqrt(count), **_layer)(layers.Multiply(**_layer)([unit, part]))
    return layers.Reshape(shape, **_layer)(centred)
