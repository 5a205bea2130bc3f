"""SimpleCNN: the network of many a first tutorial, two convolutions and one dense layer."""

from __future__ import annotations

from typing import Any

import keras


def build_simple_cnn(shape: tuple[int, int, int], classes: int) -> Any:
    """See `build`. The dense layer grows with the image: 1.9 million weights for 10 classes at 224 x 224."""
    return keras.Sequential(
        [
            keras.Input(shape, name="images"),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation="softmax", name="probabilities"),
        ],
        name="SimpleCNN",
    )
