"""What a SavedModel answers: its signatures, read from saved_model.pb without loading the graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

from model_trainer.failure import BadSavedModel

SAVED_MODEL = "saved_model.pb"
SERVE = "serve"

# As `KerasModelVersion` bounds them.
_MOST_INPUTS, _LONGEST_INPUT = 64, 512
# TensorFlow's own entries among the signatures.
_INTERNAL = {"__saved_model_init_op", "__saved_model_train_op"}


class Tensor(msgspec.Struct, frozen=True):
    """An input or output: TensorFlow's name of its type, and its shape with -1 for what is free (None: any rank)."""

    dtype: str
    shape: tuple[int, ...] | None


class Signature(msgspec.Struct, frozen=True):
    """One signature's inputs and outputs by name."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


def read_signatures(directory: Path) -> dict[str, Signature]:
    """The signatures that can be served.

    Raises:
        BadSavedModel: saved_model.pb is missing, is none, has nothing tagged "serve", or that has no signature.
    """
    path = directory / SAVED_MODEL
    if not path.is_file():
        raise BadSavedModel(f"There is no {SAVED_MODEL}.")
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise BadSavedModel(f"{SAVED_MODEL} is no SavedModel ({error}).") from error
    graphs = [graph for graph in saved.meta_graphs if SERVE in graph.meta_info_def.tags]
    if not graphs:
        tags = sorted({tag for graph in saved.meta_graphs for tag in graph.meta_info_def.tags})
        raise BadSavedModel(f"{SAVED_MODEL} has no graph with the tag {SERVE!r}; its tags are {tags}.")
    signatures = {
        name: Signature(
            {key: _tensor(info) for key, info in definition.inputs.items()},
            {key: _tensor(info) for key, info in definition.outputs.items()},
        )
        for name, definition in graphs[0].signature_def.items()
        if name not in _INTERNAL
    }
    if not signatures:
        raise BadSavedModel(f"{SAVED_MODEL} has no signature that could be called.")
    return dict(sorted(signatures.items()))


def describe_inputs(signatures: Mapping[str, Any]) -> tuple[str, ...]:
    """What the signatures of a manifest take, a line for each input: `serving_default image float32 [-1,28,28,1]`.

    Blanks part a line's words; a name's own are written %20, and its % as %25, as in an address. Empty where it is too
    much to be kept in a status: more than 64 inputs, or a name of more than some 400 letters.
    """
    found = msgspec.convert(signatures, dict[str, Signature])
    lines = tuple(
        f"{signature} {_in_one_word(name)} {tensor.dtype} {_shape(tensor)}"
        for signature, definition in sorted(found.items())
        for name, tensor in sorted(definition.inputs.items())
    )
    fits = len(lines) <= _MOST_INPUTS and all(len(line) <= _LONGEST_INPUT for line in lines)
    return lines if fits and not any(" " in signature for signature in found) else ()


def _in_one_word(name: str) -> str:
    return name.replace("%", "%25").replace(" ", "%20")


def _shape(tensor: Tensor) -> str:
    return "of any rank" if tensor.shape is None else f"[{','.join(str(size) for size in tensor.shape)}]"


def _tensor(info: object) -> Tensor:
    shape = info.tensor_shape  # type: ignore[attr-defined] # tensorflow's protos have no types
    sizes = None if shape.unknown_rank else tuple(int(dimension.size) for dimension in shape.dim)
    number = info.dtype  # type: ignore[attr-defined]
    name = tf.dtypes.as_dtype(number).name if number else types_pb2.DataType.Name(number)
    return Tensor(name, sizes)
