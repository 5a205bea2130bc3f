"""A servable that is asked about rows: each input is given what it takes of them, as it stands in the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model_trainer.data.split import Indices
from model_trainer.evaluation.rows_way import STRING, shape_for
from model_trainer.evaluation.servable import cause_of, check_probabilities
from model_trainer.evaluation.source_record import RowsWay, Taken
from model_trainer.signatures import SERVE

_PAIR = 2


def inputs_of_rows(way: RowsWay, cells: Sequence[Any], shape: tuple[int, ...] | None) -> dict[str, Any]:
    """What each input of a signature is given, as tensors.

    Args:
        way: how it is asked.
        cells: of each column of the data [batch], or of its only one [batch, numbers].
        shape: of a row of an array; None of a table.
    """
    if len(way.inputs) > 1:
        return {taken.name: _given(taken, cell, ()) for taken, cell in zip(way.inputs, cells, strict=True)}
    (taken,) = way.inputs
    if shape is not None:
        return {taken.name: _given(taken, cells[0], shape)}
    row = cells[0] if len(cells) == 1 else tf.stack(cells, axis=1)
    return {taken.name: _given(taken, row, () if len(cells) == 1 and taken.shape == () else (len(cells),))}


def _given(taken: Taken, cells: Any, shape: tuple[int, ...]) -> Any:
    wanted = shape_for(taken.shape, shape)
    assert wanted is not None
    shaped = tf.reshape(cells, [-1, *wanted])
    return shaped if taken.dtype == STRING else tf.cast(shaped, taken.dtype)


class AskedRows:
    """A servable as `ask` and `ask_numbers` take a model that was served: `predict_on_batch` of raw columns.

    Args:
        directory: where it lies.
        way: how it is asked.
        classes: how many there are; of a number 0.
        shape: of a row of an array; None of a table.
        keys: names of the rows in the order in which they come, for messages.
        refuse: makes the error for an answer that is none.
        order: of each class, which of the outputs it is; None: they are in the order of the classes.
    """

    def __init__(
        self,
        directory: Path,
        way: RowsWay,
        classes: int,
        shape: tuple[int, ...] | None,
        keys: Sequence[str],
        refuse: Callable[[str], Exception],
        order: Indices | None = None,
    ) -> None:
        # The graph's variables live as long as the object that was loaded.
        self._loaded = tf.saved_model.load(str(directory), tags=[SERVE])
        self._signature = self._loaded.signatures[way.signature]
        self._way = way
        self._classes = classes
        self._shape = shape
        self._keys = keys
        self._seen = 0
        self._refuse = refuse
        self._order = order

    def predict_on_batch(self, cells: Sequence[Any]) -> npt.NDArray[np.float32]:
        """Probabilities [batch, classes], or numbers [batch, 1]. Raises what `refuse` makes where they are none."""
        way = self._way
        keys = self._keys[self._seen : self._seen + len(cells[0])]
        self._seen += len(keys)
        try:
            answers = self._signature(**inputs_of_rows(way, cells, self._shape))
            answer = np.asarray(answers[way.output], dtype=np.float32)
        except Exception as error:  # whatever a graph of somebody else's raises
            raise self._refuse(
                f"{way.signature} does not answer test rows such as {keys[0]} ({cause_of(error)}). Rows must be as the "
                "model takes them."
            ) from error
        if way.number:
            return self._numbers(answer, keys)
        if self._classes == _PAIR and answer.shape == (len(keys), 1):
            # A single sigmoid tells two classes apart, and its one number is the second one's probability.
            answer = np.concatenate([1 - answer, answer], axis=1)
        if answer.shape != (len(keys), self._classes):
            raise self._refuse(
                f"{way.signature} answers {len(keys)} rows with numbers of shape {list(answer.shape)}, and "
                f"{self._classes} classes need [{len(keys)}, {self._classes}]."
            )
        check_probabilities(answer, keys, way.signature, self._refuse)
        return answer if self._order is None else answer[:, self._order]

    def _numbers(self, answer: npt.NDArray[np.float32], keys: Sequence[str]) -> npt.NDArray[np.float32]:
        if answer.shape not in {(len(keys),), (len(keys), 1)}:
            raise self._refuse(
                f"{self._way.signature} answers {len(keys)} rows with numbers of shape {list(answer.shape)}, and one "
                f"number for each needs [{len(keys)}, 1]."
            )
        numbers = answer.reshape(-1, 1)
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if len(wrong):
            raise self._refuse(
                f"{self._way.signature} answers {keys[int(wrong[0])]} with {numbers[wrong[0], 0]}, which is no number. "
                "Look for a division by zero or a logarithm in the model."
            )
        return numbers
