"""Writes the network that is served: two blocks of convolution for 28 x 28 images. A program of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import keras


def main() -> None:
    """`python -m benchmarks.serving.model FOLDER`: FOLDER/1 becomes a SavedModel."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.export(Path(sys.argv[1]) / "1", verbose=False)


if __name__ == "__main__":
    main()
