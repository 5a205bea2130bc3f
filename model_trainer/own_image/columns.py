"""A team's model of a table: held against the columns, and put on them in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from model_trainer.data.split import Indices
from model_trainer.failure import BadOutput
from model_trainer.tables.columns import Column, Kind
from model_trainer.tables.lines import named
from model_trainer.tables.table import Table

_DTYPES = {Kind.NUMERIC: "float32", Kind.CATEGORICAL: "string", Kind.TEXT: "string"}
# Of the rows that a model is tried on, and of what it says where it cannot answer them.
_TRIED = 8
_LONGEST = 300


def put_on_columns(model: Any, table: Table, rows: Indices, who: str) -> Any:
    """A keras.Model from a list of raw columns [batch], in the table's order, to what `model` answers.

    `rows` are some of the table, of which a few are asked about; `who` is the model in a sentence.

    Raises:
        BadOutput: it takes other columns, or answers with something else than the target.
    """
    if not model.built or not getattr(model, "inputs", None):
        raise BadOutput(f"{who} is a model without an input. Begin it with one keras.Input(()) for each column.")
    order = _in_order([tensor.name for tensor in model.inputs], [column.name for column in table.columns], who)
    taken = [model.inputs[place] for place in order]
    for tensor, column in zip(taken, table.columns, strict=True):
        _check_input(tensor, column, who)
    _check_output(model, table, who)
    inputs = [
        keras.Input((), dtype=_DTYPES[column.kind], name=f"column_{place}")
        for place, column in enumerate(table.columns)
    ]
    given = [
        keras.layers.Reshape((1,))(column) if len(tensor.shape) == 2 else column
        for column, tensor in zip(inputs, taken, strict=True)
    ]
    # The same layers without what they were compiled for, and whatever the model calls its inputs.
    plain = keras.Model(taken, model.outputs[0], name=model.name)
    whole = keras.Model(inputs, plain(given), name="own_with_raw_columns")
    _check_answers(whole, table, rows[:_TRIED], who)
    return whole


def _in_order(inputs: Sequence[str], columns: Sequence[str], who: str) -> list[int]:
    """Of each column, which input takes it: the one that is called like it or, where none is, the one at its place."""
    if set(inputs) == set(columns):
        return [inputs.index(name) for name in columns]
    if len(inputs) != len(columns):
        raise BadOutput(
            f"{who} has {_count(len(inputs), 'input')}, and the data has {_count(len(columns), 'column')} beside the "
            f"target: {named(list(columns))}. Begin it with one keras.Input(()) for each."
        )
    strange = [name for name in inputs if name not in columns]
    if len(strange) < len(inputs):
        raise BadOutput(
            f"{who} has an input {strange[0]!r}, and no column is called so: there are {named(list(columns))}. Call "
            "each input like its column, or none of them and keep the columns' order."
        )
    return [*range(len(columns))]


def _check_input(tensor: Any, column: Column, who: str) -> None:
    wanted, shape = _DTYPES[column.kind], tuple(tensor.shape[1:])
    if tensor.dtype != wanted or shape not in {(), (1,)}:
        raise BadOutput(
            f"{who} takes {tensor.dtype} of the shape {shape} for the {column.kind} column {column.name!r}. Write "
            f"keras.Input((), dtype={wanted!r}) there."
        )


def _check_output(model: Any, table: Table, who: str) -> None:
    answers = [tuple(tensor.shape[1:]) for tensor in model.outputs]
    outputs = len(table.classes) if table.target is None else 1
    if answers == [(outputs,)]:
        return
    if table.target is None:
        what, last = f"{outputs} classes", f"Dense({outputs}, activation='softmax')"
    else:
        what, last = f"one number to learn, {table.target.name!r}", "Dense(1)"
    raise BadOutput(
        f"{who} is a model that answers with {' and '.join(map(str, answers))}, and the data has {what}: end with "
        f"keras.layers.{last}."
    )


def _check_answers(whole: Any, table: Table, rows: Indices, who: str) -> None:
    try:
        answers = np.asarray(whole.predict_on_batch([tf.constant(cells) for cells in table.raw(rows)]), np.float32)
    except Exception as error:  # whatever layers of somebody else's graph raise
        cause = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
        raise BadOutput(
            f"{who} does not answer rows such as {table.examples[rows[0]].key} ({type(error).__name__}: "
            f"{cause[:_LONGEST].rstrip('.')}). It must take cells as they are in validation.csv, and words that it "
            "never saw."
        ) from error
    if not np.isfinite(answers).all():
        raise BadOutput(f"{who} answers rows such as {table.examples[rows[0]].key} with what is no number.")
    if table.target is None and not np.allclose(answers.sum(axis=-1), 1.0, atol=1e-2):
        raise BadOutput(
            f"{who} is a model whose answers sum to {float(answers[0].sum()):.3g} and not to 1, so they are no "
            "probabilities: end with activation='softmax'."
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
