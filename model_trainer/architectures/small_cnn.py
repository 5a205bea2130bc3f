"""SmallCNN: a small network with what has proved itself since: batch normalisation, global pooling, dropout."""

from __future__ import annotations

from typing import Any

import keras

# Halving stops where less than 4 pixels would be left to pool over; five blocks bring 224 pixels down to 7.
_FILTERS = (32, 64, 128, 128, 128)
_LEAST_SIDE = 4


def build_small_cnn(shape: tuple[int, int, int], classes: int) -> Any:
    """See `build`. As many blocks as the image has sizes to halve; the dense layer does not grow with the image."""
    height, width, _ = shape
    side = min(height, width)
    inputs = keras.Input(shape, name="images")
    features = _convolution(inputs, _FILTERS[0])
    for filters in _FILTERS:
        if side // 2 < _LEAST_SIDE:
            break
        features = keras.layers.MaxPooling2D()(_convolution(features, filters))
        side //= 2
    features = _convolution(features, _FILTERS[-1])
    features = keras.layers.GlobalAveragePooling2D()(features)
    features = keras.layers.Dropout(0.2)(features)
    outputs = keras.layers.Dense(classes, activation="softmax", name="probabilities")(features)
    return keras.Model(inputs, outputs, name="SmallCNN")


def _convolution(features: Any, filters: int) -> Any:
    # The normalisation's offset takes the place of the convolution's bias. Momentum 0.9 instead of 0.99: a small data
    # set has a few dozen steps an epoch, and the moving averages must follow within a few epochs.
    features = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(features)
    features = keras.layers.BatchNormalization(momentum=0.9)(features)
    return keras.layers.ReLU()(features)
