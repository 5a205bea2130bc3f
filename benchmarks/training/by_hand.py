"""What one would write by hand: the usual script; and training on one batch that is always there, the limit."""

from __future__ import annotations

import time
from typing import Any

from keras_operator.api import ArchitectureName

from benchmarks.training.in_image import SCIKIT_LEARN, hide

BATCH = 32


def one_cached_batch(
    name: str, side: int, classes: int, steps: int, validation_steps: int, epochs: int
) -> dict[str, float]:
    """Seconds of the last epoch of `fit` on the same batch of noise again and again: the time of the network alone."""
    import tensorflow as tf  # noqa: PLC0415

    from model_trainer import machine  # noqa: PLC0415

    machine.configure_tensorflow()
    model = _compiled(name, side, classes)
    batch = tf.random.uniform([BATCH, side, side, 3]), tf.one_hot(tf.range(BATCH) % classes, classes)
    always = tf.data.Dataset.from_tensors(batch).cache().repeat()
    seconds = _epoch_seconds()
    model.fit(
        always.take(steps), validation_data=always.take(validation_steps), epochs=epochs, callbacks=[seconds], verbose=0
    )
    return {"seconds": seconds.last, "steps": float(steps)}


def usual_script(name: str, folder: str, side: int, epochs: int, validation: float) -> dict[str, Any]:
    """`ImageDataGenerator.flow_from_directory` and `fit`.

    Returns: `seconds` from before the imports to the end of training; `accuracies`: of each epoch, such seconds to its
    end and the accuracy on the validation part.
    """
    began = time.monotonic()
    # Keras imports it where it is installed; this script needs SciPy alone.
    hide(SCIKIT_LEARN)
    from keras.src.legacy.preprocessing.image import ImageDataGenerator  # noqa: PLC0415

    generator = ImageDataGenerator(
        rescale=1 / 255,
        rotation_range=20,
        width_shift_range=0.2,
        height_shift_range=0.2,
        shear_range=20,
        zoom_range=0.2,
        horizontal_flip=True,
        fill_mode="nearest",
        validation_split=validation,
    )
    plain = ImageDataGenerator(rescale=1 / 255, validation_split=validation)
    flow = {"target_size": (side, side), "batch_size": BATCH, "seed": 7}
    train = generator.flow_from_directory(folder, subset="training", **flow)
    held_out = plain.flow_from_directory(folder, subset="validation", **flow)
    model = _compiled(name, side, train.num_classes)
    epoch = _epoch_seconds()
    history = model.fit(train, validation_data=held_out, epochs=epochs, callbacks=[epoch], verbose=0).history
    return {
        "seconds": time.monotonic() - began,
        "accuracies": [
            (end - began, float(found)) for end, found in zip(epoch.ends, history["val_accuracy"], strict=True)
        ],
    }


def _compiled(name: str, side: int, classes: int) -> Any:
    import keras  # noqa: PLC0415

    from model_trainer.architectures import build  # noqa: PLC0415

    keras.utils.set_random_seed(7)
    model = build(ArchitectureName(name), (side, side, 3), classes)
    model.compile(optimizer=keras.optimizers.Adam(0.001), loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def _epoch_seconds() -> Any:
    """A callback: `last`, the seconds of the last epoch, validation included; `ends`, by the monotonic clock."""
    import keras  # noqa: PLC0415

    class EpochSeconds(keras.callbacks.Callback):  # type: ignore[misc] # keras has no types
        last = began = 0.0

        def __init__(self) -> None:
            super().__init__()
            self.ends: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began = time.monotonic()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.ends.append(time.monotonic())
            self.last = self.ends[-1] - self.began

    return EpochSeconds()
