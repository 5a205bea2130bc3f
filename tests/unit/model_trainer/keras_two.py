"""Models as people trained them years ago: by Keras 2 itself, which is tf-keras today."""

from pathlib import Path
from typing import Any

import numpy as np
import tf_keras


def simple_cnn(side: int = 10, classes: int = 10, channels: int = 1) -> Any:
    """What most first scripts have: the same layers as SimpleCNN, with names of their own."""
    return tf_keras.Sequential(
        [
            tf_keras.layers.Conv2D(32, (3, 3), activation="relu", input_shape=(side, side, channels)),
            tf_keras.layers.MaxPooling2D((2, 2)),
            tf_keras.layers.Conv2D(64, (3, 3), activation="relu"),
            tf_keras.layers.MaxPooling2D((2, 2)),
            tf_keras.layers.Flatten(),
            tf_keras.layers.Dense(classes, activation="softmax"),
        ]
    )


def transfer() -> Any:
    """MobileNetV2 within a Sequential, after preprocess_input: neither can be read by Keras 3."""
    inputs = tf_keras.Input((32, 32, 3))
    network = tf_keras.applications.MobileNetV2(weights=None, include_top=False, alpha=0.35, input_shape=(32, 32, 3))
    features = network(tf_keras.applications.mobilenet_v2.preprocess_input(inputs))
    features = tf_keras.layers.GlobalAveragePooling2D()(features)
    return tf_keras.Model(inputs, tf_keras.layers.Dense(3, activation="softmax")(features))


def sequence() -> Any:
    """Two inputs, one of words, and two outputs; LSTM's time_major is unknown to Keras 3."""
    words = tf_keras.Input((6,), dtype="int32", name="words")
    numbers = tf_keras.Input((4,), name="numbers")
    features = tf_keras.layers.LSTM(3)(tf_keras.layers.Embedding(20, 3)(words))
    both = tf_keras.layers.Concatenate()([features, numbers])
    return tf_keras.Model(
        [words, numbers],
        [tf_keras.layers.Dense(1, name="price")(both), tf_keras.layers.Dense(2, name="kind")(both)],
    )


def with_lambda() -> Any:
    """A Lambda layer, whose Python code lies in the file."""
    return tf_keras.Sequential(
        [
            tf_keras.layers.Input((4,)),
            tf_keras.layers.Lambda(lambda x: x * 2.0, name="twice"),
            tf_keras.layers.Dense(2, name="out"),
        ]
    )


def saved(model: Any, path: Path) -> Path:
    """The model, compiled as after a training, in a file; the extension decides how."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model.compile("adam", "categorical_crossentropy")
    model.save(path)
    return path


def answers(model: Any, *inputs: Any) -> Any:
    """What the model itself answers."""
    return np.asarray(model(inputs[0] if len(inputs) == 1 else list(inputs), training=False))
