"""The servable as one TFLite file, for phones and small machines: made of the SavedModel, and held against it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model_trainer.export import EXTRA_ASSETS, FLOAT_SIGNATURE
from model_trainer.failure import ParityFailed, RunFailure
from model_trainer.signatures import SERVE, Signature

FILE = "model.tflite"
Inputs = Mapping[str, npt.NDArray[Any]]

# Of the larger of 1 and the largest answer. TFLite's kernels add up in another order, which differs by about 1e-6.
TOLERANCE = 1e-4
# Two classes that are equally probable but for rounding are no other answer.
_MARGIN = 1e-5
_GENERATED = 16
_NO_OPERATION = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")


def add_tflite(
    directory: Path, signature: str, batches: Iterable[Inputs], refuse: Callable[[str], RunFailure]
) -> float:
    """Write `assets.extra/model.tflite` of one signature of the SavedModel in `directory`.

    It has the signature's own name, inputs and outputs, 32-bit floats as they are there, and takes batches of any size.

    Args:
        directory: of the SavedModel.
        signature: a name; it takes numbers.
        batches: what both are asked.
        refuse: makes the error of a sentence that says why there is no such file.

    Returns:
        The largest difference between two answers.

    Raises:
        ParityFailed: the file answers differently.
    """
    try:
        data = tf.lite.TFLiteConverter.from_saved_model(str(directory), signature_keys=[signature]).convert()
    except Exception as error:  # whatever the converter says of a graph
        raise refuse(f"the model cannot become a TFLite file: {_cause(error)}") from error
    runner = tf.lite.Interpreter(model_content=data).get_signature_runner(signature)
    loaded = tf.saved_model.load(str(directory), tags=[SERVE])
    largest = 0.0
    for batch in batches:
        wanted = loaded.signatures[signature](**{name: tf.constant(values) for name, values in batch.items()})
        found = runner(**batch)
        largest = max(largest, *(_difference(name, found[name], wanted[name].numpy()) for name in wanted))
    (directory / EXTRA_ASSETS).mkdir(exist_ok=True)
    (directory / EXTRA_ASSETS / FILE).write_bytes(data)
    return largest


def signature_of_numbers(signatures: Mapping[str, Signature]) -> str | None:
    """The signature that a TFLite file is made of: `serving_default` or the first, of those that take only numbers."""
    for name in sorted(signatures, key=lambda name: (name != FLOAT_SIGNATURE, name)):
        inputs = signatures[name].inputs.values()
        if inputs and all(tensor.dtype != "string" and tensor.shape is not None for tensor in inputs):
            return name
    return None


def generated(signature: Signature) -> Inputs:
    """Numbers for any inputs: floats from 0 to 1, and 0 or 1 for whole numbers; a free size becomes 8."""
    random = np.random.default_rng(0)
    inputs: dict[str, npt.NDArray[Any]] = {}
    for name, tensor in signature.inputs.items():
        first, *others = tensor.shape or (1,)
        shape = [_GENERATED if first < 0 else first, *(8 if size < 0 else size for size in others)]
        kind = tf.as_dtype(tensor.dtype)
        numbers = random.random(shape) if kind.is_floating else random.integers(0, 2, shape)
        inputs[name] = numbers.astype(kind.as_numpy_dtype)
    return inputs


def _difference(output: str, found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> float:
    if found.shape != wanted.shape:
        raise ParityFailed(_unlike(output, f"shape {list(found.shape)} instead of {list(wanted.shape)}"))
    difference = float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max(initial=0.0))
    if not difference <= TOLERANCE * max(1.0, float(np.abs(wanted).max(initial=0.0))):
        raise ParityFailed(_unlike(output, f"a difference of {difference:.2g}"))
    if wanted.ndim == 2 and wanted.shape[1] > 1:
        told = found.argmax(axis=1)[:, None]
        margin = wanted.max(axis=1) - np.take_along_axis(wanted, told, 1)[:, 0]
        if (margin > _MARGIN).any():
            raise ParityFailed(_unlike(output, "another class"))
    return difference


def _unlike(output: str, found: str) -> str:
    return (
        f"The TFLite file answers differently from the SavedModel that it was made of: {found} in {output} on the same "
        "inputs. Nothing was published. Leave tflite out to publish the SavedModel alone."
    )


def _cause(error: Exception) -> str:
    text = str(error)
    if operations := sorted(set(_NO_OPERATION.findall(text))):
        return f"TFLite has no {', '.join(operations)}"
    first = next((line.strip() for line in text.splitlines() if line.strip()), "no message")
    return f"{type(error).__name__}: {first[:300].rstrip('.')}"
