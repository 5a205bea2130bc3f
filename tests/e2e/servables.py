"""Writes SavedModels for `spec.source`: they know the quick set's three digits, and none of them has to be trained.

A program of its own, because TensorFlow takes seconds to import.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.e2e import image_sets

_SIDE = 8
_SHARPNESS = 10.0
_SLOW_SIDE, _SLOW_STEPS = 256, 24


class Network(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """A linear classifier fitted by least squares.

    Args:
        slow: whether each request multiplies some matrices besides, for some ten milliseconds.
    """

    def __init__(self, *, slow: bool = False) -> None:
        super().__init__()
        digits = image_sets.quick_digits()
        pixels = np.stack([digit.pixels.reshape(-1) / 255 for digit in digits])
        classes = np.eye(image_sets.QUICK_CLASSES)[[digit.label for digit in digits]]
        self._weights = tf.Variable(_SHARPNESS * np.linalg.lstsq(pixels, classes)[0], dtype=tf.float32)
        self._matrix = tf.Variable(tf.eye(_SLOW_SIDE))
        self._slow = slow

    def scores(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities of the classes."""
        probabilities = tf.nn.softmax(tf.reshape(images, (-1, _SIDE * _SIDE)) @ self._weights)
        if self._slow:
            product = self._matrix
            for _ in range(_SLOW_STEPS):
                product = product @ self._matrix
            # Nothing is added, but TensorFlow may not leave it out.
            probabilities += 0.0 * tf.reduce_sum(product)
        return {"outputs": probabilities}


def main() -> None:
    """`python -m tests.e2e.servables FOLDER`: FOLDER/first and so on become SavedModels."""
    images = ("images", (None, _SIDE, _SIDE, 1))
    networks = {
        "first": (Network(), *images),
        "second": (Network(), *images),
        "slow": (Network(slow=True), *images),
        "renamed": (Network(), "pictures", images[1]),
        "reshaped": (Network(), "images", (None, _SIDE, _SIDE)),
    }
    for name, (network, word, shape) in networks.items():
        serve = tf.function(network.scores, input_signature=[tf.TensorSpec(shape, tf.float32, name=word)])
        network.serve = serve
        folder = Path(sys.argv[1]) / name
        tf.saved_model.save(network, str(folder), {"serving_default": serve})
        extra = folder / "assets.extra"
        extra.mkdir()
        (extra / "classes.json").write_text(json.dumps([str(one) for one in range(image_sets.QUICK_CLASSES)]))


if __name__ == "__main__":
    main()
