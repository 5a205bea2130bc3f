"""By which of its signatures a servable is asked about rows, and what an input takes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from model_trainer.evaluation.source_record import RowsWay, Taken
from model_trainer.export import FLOAT_SIGNATURE
from model_trainer.signatures import Signature, describe_inputs

STRING = "string"
_FLOATS = ("float32", "float64", "float16", "bfloat16")
_WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

Found = tuple[RowsWay, int]
"""How to ask, and how many numbers are answered for each row (-1: it does not say)."""


def is_whole(taken: Taken) -> bool:
    """Whether an input takes whole numbers alone."""
    return taken.dtype in _WHOLE


def way_of_arrays(signatures: Mapping[str, Signature], shape: tuple[int, ...], *, number: bool) -> Found | str:
    """How to ask about an array whose rows have this `shape`; else what that needs, as the end of a sentence."""
    for name, inputs, output, outputs in _candidates(signatures, number=number):
        if len(inputs) == 1 and inputs[0].dtype != STRING and shape_for(inputs[0].shape, shape) is not None:
            return RowsWay(name, inputs, output, (), number), outputs
    return f"{_wanted(number)} and one input of numbers [batch, {', '.join(map(str, shape))}]. {_takes(signatures)}"


def way_of_columns(
    signatures: Mapping[str, Signature], header: Sequence[str], target: str, columns: Sequence[str], *, number: bool
) -> Found | str:
    """How to ask about a table with this `header`, by the `columns` that are written; else what that needs."""
    for name, inputs, output, outputs in _candidates(signatures, number=number):
        given = _columns_of(inputs, header, target, columns)
        if given is not None:
            return RowsWay(name, inputs, output, given, number), outputs
    there = columns or [column for column in header if column != target]
    each = "an input for each, called like it, [batch] or [batch, 1]"
    return (
        f"{_wanted(number)} and one input of numbers [batch, {len(there)}] for the "
        f"{'columns of spec.source.testData.table.columns' if columns else 'columns beside the target'}, or {each}. "
        f"{_takes(signatures)}"
    )


def shape_for(taken: tuple[int, ...], given: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape in which an input of the shape `taken` gets rows of the shape `given`; None where it takes others.

    Images without channels are grey ones, [height, width, 1].
    """
    for shape in (given, (*given, 1)):
        if len(shape) == len(taken) and all(wanted in {-1, size} for wanted, size in zip(taken, shape, strict=True)):
            return shape
    return None


def _candidates(
    signatures: Mapping[str, Signature], *, number: bool
) -> Iterator[tuple[str, tuple[Taken, ...], str, int]]:
    """Signatures with one output of the right kind: name, inputs, output, and its numbers for each row."""
    for name in sorted(signatures, key=lambda name: (name != FLOAT_SIGNATURE, name)):
        signature = signatures[name]
        if len(signature.outputs) != 1 or not signature.inputs:
            continue
        ((output, answered),) = signature.outputs.items()
        shape = answered.shape
        if answered.dtype not in _FLOATS or shape is None or len(shape) not in ((1, 2) if number else (2,)):
            continue
        outputs = shape[1] if len(shape) == 2 else 1
        if number and outputs not in {-1, 1}:
            continue
        inputs = []
        for given, tensor in sorted(signature.inputs.items()):
            if tensor.shape and tensor.dtype in {*_FLOATS, *_WHOLE, STRING}:
                inputs.append(Taken(given, tensor.dtype, tensor.shape[1:]))
        if len(inputs) == len(signature.inputs):
            yield name, tuple(inputs), output, outputs


def _columns_of(
    inputs: Sequence[Taken], header: Sequence[str], target: str, columns: Sequence[str]
) -> tuple[str, ...] | None:
    """The columns that inputs take: each input its own, or the only one a row of them; None where they do not fit."""
    names = tuple(taken.name for taken in inputs)
    single = all(taken.shape in {(), (1,), (-1,)} for taken in inputs)
    there = set(columns or header) - {target}
    if single and there.issuperset(names) and (not columns or len(columns) == len(names)):
        return names
    if len(inputs) > 1:
        return None
    (taken,) = inputs
    row = tuple(columns) or tuple(column for column in header if column != target)
    if taken.dtype == STRING and len(row) > 1:
        return None
    fits = shape_for(taken.shape, (len(row),)) or (len(row) == 1 and taken.shape == ())
    return row if fits else None


def _wanted(number: bool) -> str:
    answer = "a number [batch, 1]" if number else "a probability for each class [batch, classes]"
    return f"that needs a signature with one output, {answer},"


def _takes(signatures: Mapping[str, Signature]) -> str:
    takes = describe_inputs(msgspec.to_builtins(dict(signatures)))
    answers = sorted(
        f"{name} {output} {tensor.dtype} {list(tensor.shape) if tensor.shape is not None else 'of any rank'}"
        for name, signature in signatures.items()
        for output, tensor in signature.outputs.items()
    )
    return f"It takes {', '.join(takes) or 'too much to be listed'}, and answers {', '.join(answers[:4])}"
