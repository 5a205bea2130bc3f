"""SmallCNN: a small network with what has proved itself since: batch normalisation, global pooling, dropout."""

from __future__ import annotations

from typing import Any

import keras

# Filters of the blocks, the last first; whatever comes before has as many as the first of them.
_FILTERS = (128, 128, 64, 32)

# Halving stops where less than 3 pixels would be left: what is pooled then has seen nearly the whole picture.
_LEAST_SIDE = 3

# The finest detail of a photo costs most and tells least: from these sides on, patches of so many pixels come first,
# then convolutions that take every other pixel while there are more than so many. After that, and in smaller images
# from the beginning, they take each one, and the strongest of four stay: digits have no detail to lose.
_PATCHES = ((112, 4), (48, 2))
_POOLED_SIDE = 16


def build_small_cnn(shape: tuple[int, int, int], classes: int) -> Any:
    """See `build`. As many blocks as the image has sizes to halve; the dense layer does not grow with the image.

    An image of 28 x 28 takes 9 million multiplications, one of 64 x 64 takes 15, one of 224 x 224 takes 22.
    """
    height, width, _ = shape
    side = min(height, width)
    inputs = features = keras.Input(shape, name="images")
    patch = next((pixels for least, pixels in _PATCHES if side >= least), None)
    if patch is not None:
        features = _convolution(features, _FILTERS[-1], kernel=patch, strides=patch)
        side //= patch
    halvings = 0
    while side >> (halvings + 1) >= _LEAST_SIDE:
        halvings += 1
    for left in range(halvings, 0, -1):
        if patch is not None and side > _POOLED_SIDE:
            features = _convolution(features, _filters(left), strides=2)
        else:
            features = keras.layers.MaxPooling2D()(_convolution(features, _filters(left)))
        side //= 2
    features = _convolution(features, _filters(0))
    features = keras.layers.GlobalAveragePooling2D()(features)
    features = keras.layers.Dropout(0.2)(features)
    outputs = keras.layers.Dense(classes, activation="softmax", name="probabilities")(features)
    return keras.Model(inputs, outputs, name="SmallCNN")


def _filters(left: int) -> int:
    """Filters of the block that has so many halvings after it."""
    return _FILTERS[min(left, len(_FILTERS) - 1)]


def _convolution(features: Any, filters: int, *, kernel: int = 3, strides: int = 1) -> Any:
    # The normalisation's offset takes the place of the convolution's bias. Momentum 0.8 instead of 0.99: a small data
    # set has a few steps an epoch, and the moving averages must follow within a few epochs (120 digits of three
    # classes, six epochs: 98 % of unseen ones with 0.8, guesses with 0.9).
    features = keras.layers.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False)(features)
    features = keras.layers.BatchNormalization(momentum=0.8)(features)
    return keras.layers.ReLU()(features)
