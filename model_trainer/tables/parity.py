"""Does the published model of a table answer as the trained one does?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model_trainer.export import (
    CLASSIFY_SIGNATURE,
    EXAMPLES,
    FLOAT_SIGNATURE,
    NAMES,
    OUTPUTS,
    PREDICTION,
    PROBABILITIES,
    REGRESS_SIGNATURE,
    SCORES,
)
from model_trainer.failure import ParityFailed
from model_trainer.parity import REMEDY, TOLERANCE, WIDER_TOLERANCE, hold
from model_trainer.tables.samples import RowSamples


def check_rows(directory: Path, model: Any, samples: RowSamples, classes: tuple[str, ...]) -> float:
    """Load the SavedModel in `directory` afresh and compare its signatures with the trained model, row by row.

    `model` is the saved one, which takes raw columns; it answers as the network did in training.

    Returns:
        The largest absolute difference between two probabilities of `serving_default` and `model`.

    Raises:
        ParityFailed: a difference is too large or no number, or a class is another one.
    """
    signatures = tf.saved_model.load(str(directory)).signatures
    now = np.asarray(model.predict_on_batch([tf.constant(cells) for cells in samples.cells]))
    hold(now, samples.answers, "the saved model.keras", WIDER_TOLERANCE, "row")
    cells = {name: tf.constant(values) for name, values in samples.first(len(now)).items()}
    answers = signatures[FLOAT_SIGNATURE](**cells)[PROBABILITIES].numpy()
    largest = hold(answers, now, FLOAT_SIGNATURE, TOLERANCE, "row")
    examples = tf.constant([_example(row) for row in samples.rows()])
    told = signatures[CLASSIFY_SIGNATURE](**{EXAMPLES: examples})
    hold(told[SCORES].numpy(), now, CLASSIFY_SIGNATURE, TOLERANCE, "row")
    if any(tuple(name.decode() for name in row) != classes for row in told[NAMES].numpy()):
        raise ParityFailed(f"{CLASSIFY_SIGNATURE} names other classes than the model was trained on. {REMEDY}")
    return largest


def check_numbers(directory: Path, model: Any, samples: RowSamples, scale: float) -> float:
    """As `check_rows`, of a model that learned a number; differences are counted in `scale`, see `Target.scale`.

    Returns:
        The largest absolute difference between two answers of `serving_default` and `model`, divided by `scale`.

    Raises:
        ParityFailed: a difference is too large or no number.
    """

    def scaled(answers: Any) -> npt.NDArray[Any]:
        return np.asarray(answers, dtype=np.float64).reshape(-1, 1) / scale

    signatures = tf.saved_model.load(str(directory)).signatures
    now = scaled(model.predict_on_batch([tf.constant(cells) for cells in samples.cells]))
    hold(now, scaled(samples.answers), "the saved model.keras", WIDER_TOLERANCE, "row")
    cells = {name: tf.constant(values) for name, values in samples.first(len(now)).items()}
    largest = hold(scaled(signatures[FLOAT_SIGNATURE](**cells)[PREDICTION]), now, FLOAT_SIGNATURE, TOLERANCE, "row")
    examples = tf.constant([_example(row) for row in samples.rows()])
    told = signatures[REGRESS_SIGNATURE](**{EXAMPLES: examples})[OUTPUTS]
    hold(scaled(told), now, REGRESS_SIGNATURE, TOLERANCE, "row")
    return largest


def _example(row: dict[str, Any]) -> bytes:
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[cell]))
        if isinstance(cell, bytes)
        else tf.train.Feature(float_list=tf.train.FloatList(value=np.atleast_1d(cell)))
        for name, cell in row.items()
    }
    data: bytes = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    return data
