"""Writes the versions that take turns: one small network for 28 x 28 images, each with its number in every answer.

A program of its own, because TensorFlow takes seconds to import.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import tensorflow as tf

CLASSES = 10
MARKED = 0.5
"""A first pixel above this marks the requests that the version `failing` does not answer."""
FAILING_WORDS = "this version does not answer marked images"
_SIDE, _FILTERS = 28, 16
_SLOW_SIDE, _SLOW_STEPS = 256, 8


class Network(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """Convolution, pooling and a softmax; the answer's last number is the version's own, below 0.

    So it is in every answer and never the likeliest class, which the runtime counts.

    Args:
        number: what that is, from 1.
        slow: whether each request multiplies some matrices besides, for a few milliseconds.
        failing: whether marked images are answered with an error.
        wrong: whether each class is taken for the next one.
    """

    def __init__(self, number: int, *, slow: bool = False, failing: bool = False, wrong: bool = False) -> None:
        super().__init__()
        random = tf.random.Generator.from_seed(1)
        flat = (_SIDE // 2) ** 2 * _FILTERS
        self._number, self._slow, self._failing, self._wrong = float(number), slow, failing, wrong
        self._filters = tf.Variable(random.normal((3, 3, 1, _FILTERS), stddev=0.3))
        self._dense = tf.Variable(random.normal((flat, CLASSES), stddev=0.02))
        self._matrix = tf.Variable(random.normal((_SLOW_SIDE, _SLOW_SIDE), stddev=_SLOW_SIDE**-0.5))

    @tf.function(input_signature=[tf.TensorSpec((None, _SIDE, _SIDE, 1), tf.float32, name="images")])  # type: ignore[untyped-decorator]
    def serve(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities of the classes, and the version's number: shape (batch, 11)."""
        if self._failing:
            marked = tf.reduce_any(images[:, 0, 0, 0] > MARKED)
            with tf.control_dependencies([tf.debugging.Assert(tf.logical_not(marked), [FAILING_WORDS])]):
                images = tf.identity(images)
        features = tf.nn.relu(tf.nn.conv2d(images, self._filters, 1, "SAME"))
        flat = tf.reshape(tf.nn.max_pool2d(features, 2, 2, "VALID"), (-1, self._dense.shape[0]))
        probabilities = tf.nn.softmax(flat @ self._dense)
        if self._slow:
            product = tf.eye(_SLOW_SIDE)
            for _ in range(_SLOW_STEPS):
                product = product @ self._matrix
            # Nothing is added, but TensorFlow may not leave it out.
            probabilities += 0.0 * tf.reduce_sum(product)
        if self._wrong:
            probabilities = tf.roll(probabilities, 1, axis=1)
        number = tf.fill((tf.shape(images)[0], 1), tf.constant(-self._number))
        return {"outputs": tf.concat([probabilities, number], axis=1)}


def main() -> None:
    """`python -m benchmarks.rollouts.servables FOLDER`: FOLDER/first, second and so on become SavedModels."""
    networks = {
        "first": Network(1),
        "second": Network(2),
        "slow": Network(3, slow=True),
        "failing": Network(4, failing=True),
        "wrong": Network(5, wrong=True),
        "third": Network(6),
    }
    for name, network in networks.items():
        folder = Path(sys.argv[1]) / name
        tf.saved_model.save(network, str(folder), {"serving_default": network.serve})
        extra = folder / "assets.extra"
        extra.mkdir()
        (extra / "classes.json").write_text(json.dumps([*(str(one) for one in range(CLASSES)), "number"]))


if __name__ == "__main__":
    main()
