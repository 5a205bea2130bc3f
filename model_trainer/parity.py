"""Does the published model answer as the trained one does?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model_trainer.export import (
    BYTES_SIGNATURE,
    CLASSIFY_SIGNATURE,
    ENCODED_IMAGE,
    EXAMPLES,
    FLOAT_SIGNATURE,
    IMAGE_BYTES,
    IMAGES,
    NAMES,
    PROBABILITIES,
    SCORES,
)
from model_trainer.failure import ParityFailed
from model_trainer.samples import PREDICT_BATCH, Samples

Probabilities = npt.NDArray[np.float32]

# Probabilities, on one machine. The same operations in another order differ by about 1e-6 in float32.
TOLERANCE = 1e-5
# Between the machine that trained and this one, whose processor may add up in another order in every layer; and between
# a picture that training decoded and the same file decoded in the graph. What is done wrongly, a rescaling or the order
# of channels, differs by more than 1e-2.
WIDER_TOLERANCE = 1e-4


def check_parity(directory: Path, model: Any, samples: Samples, classes: tuple[str, ...]) -> float:
    """Load the SavedModel in `directory` afresh and compare its signatures with the trained model, image by image.

    The trained model answers as it did in training; `serving_default` answers as `model` does here; `serving_bytes` and
    `serving_classify` do from the files, and name the same class for each.

    Returns:
        The largest absolute difference between two probabilities of `serving_default` and `model`.

    Raises:
        ParityFailed: a difference is too large or no number, or a class is another one.
    """
    signatures = tf.saved_model.load(str(directory)).signatures
    now = np.concatenate([model.predict_on_batch(batch) for batch in samples.batches()])
    hold(now, samples.probabilities, "the saved model.keras", WIDER_TOLERANCE)
    floats = [signatures[FLOAT_SIGNATURE](**{IMAGES: tf.constant(batch)}) for batch in samples.batches()]
    largest = hold(_joined(floats, PROBABILITIES), now, FLOAT_SIGNATURE, TOLERANCE)
    from_files = [
        signatures[BYTES_SIGNATURE](**{IMAGE_BYTES: tf.constant(files)}) for files in _in_batches(samples.files)
    ]
    _hold_files(_joined(from_files, PROBABILITIES), now, BYTES_SIGNATURE, classes)
    if CLASSIFY_SIGNATURE in signatures:
        # The files' way through it is that of serving_bytes: one batch shows that it is wired.
        examples = [_example(file) for file in samples.files[:PREDICT_BATCH]]
        told = signatures[CLASSIFY_SIGNATURE](**{EXAMPLES: tf.constant(examples)})
        _hold_files(told[SCORES].numpy(), now[: len(examples)], CLASSIFY_SIGNATURE, classes)
        if any(tuple(name.decode() for name in row) != classes for row in told[NAMES].numpy()):
            raise ParityFailed(f"{CLASSIFY_SIGNATURE} names other classes than the model was trained on. {REMEDY}")
    return largest


REMEDY = "Nothing was published. Train again; if it stays so, please report it with the architecture's name."


def hold(answers: Probabilities, expected: Probabilities, what: str, tolerance: float, example: str = "image") -> float:
    """The largest difference of `answers` from `expected`, both [examples, outputs]. Raises ParityFailed above
    `tolerance`."""
    difference = np.abs(answers - expected).max(axis=1)
    worst = int(np.argmax(difference))
    if not difference[worst] <= tolerance:
        raise ParityFailed(
            f"{what} differs from the model in training by {difference[worst]:.2g} on held-out {example} {worst + 1} "
            f"of {len(expected)}, and {tolerance:g} is allowed. {REMEDY}"
        )
    return float(difference[worst])


def _hold_files(answers: Probabilities, expected: Probabilities, what: str, classes: tuple[str, ...]) -> None:
    hold(answers, expected, what, WIDER_TOLERANCE)
    told, true = answers.argmax(axis=1), expected.argmax(axis=1)
    # Two classes that are equally probable but for rounding are no other answer.
    margin = np.take_along_axis(expected, true[:, None], 1) - np.take_along_axis(expected, told[:, None], 1)
    other = np.flatnonzero((told != true) & (margin[:, 0] > TOLERANCE))
    if len(other):
        index = int(other[0])
        raise ParityFailed(
            f"{what} takes held-out image {index + 1} of {len(expected)} for {classes[told[index]]!r}, and the model "
            f"in training takes it for {classes[true[index]]!r}. {REMEDY}"
        )


def _joined(answers: list[Any], output: str) -> Probabilities:
    return np.concatenate([answer[output].numpy() for answer in answers])


def _in_batches(files: tuple[bytes, ...]) -> list[list[bytes]]:
    return [list(files[start : start + PREDICT_BATCH]) for start in range(0, len(files), PREDICT_BATCH)]


def _example(file: bytes) -> bytes:
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[file]))
    data: bytes = tf.train.Example(features=tf.train.Features(feature={ENCODED_IMAGE: feature})).SerializeToString()
    return data
