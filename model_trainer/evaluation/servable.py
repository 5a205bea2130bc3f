"""A servable that is asked about test images: by which of its signatures, and what an answer has to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model_trainer.data.split import Indices
from model_trainer.evaluation.source_record import Way
from model_trainer.export import FLOAT_SIGNATURE
from model_trainer.signatures import SERVE, Signature, Tensor, describe_inputs

_CHANNELS = (1, 3)
_FLOATS = ("float32", "float64", "float16", "bfloat16")
# Probabilities of 16 bits add up to 1 within some thousandths, those of 32 bits within millionths.
_SUM = 0.01
_BELOW_ZERO = -1e-6


def way_of(signatures: Mapping[str, Signature], pixel_range: tuple[float, float]) -> tuple[Way, int] | str:
    """How to ask about images, and how many probabilities are answered (-1: it does not say); else what is missing.

    A signature with numbers comes before one with files, because the reader's images are those of every training;
    `serving_default` before others, and then the first by name.
    """
    names = sorted(signatures, key=lambda name: (name != FLOAT_SIGNATURE, name))
    for takes_numbers in (True, False):
        for name in names:
            signature = signatures[name]
            if len(signature.inputs) != 1 or len(signature.outputs) != 1:
                continue
            ((given, tensor),), ((answer, answered),) = signature.inputs.items(), signature.outputs.items()
            shape = tensor.shape or ()
            if not _is_vector_each(answered):
                continue
            outputs = (answered.shape or (-1, -1))[1]
            if takes_numbers and tensor.dtype in _FLOATS and _is_image_each(shape):
                return Way(name, given, answer, (shape[1], shape[2]), shape[3], pixel_range), outputs
            if not takes_numbers and tensor.dtype == "string" and len(shape) == 1:
                return Way(name, given, answer, None), outputs
    takes = describe_inputs(msgspec.to_builtins(dict(signatures)))
    return (
        "cannot be asked about test images: that needs a signature with one input, float images of one size [batch, "
        "height, width, 1 or 3] or files [batch], and one output, a probability for each class [batch, classes]. It "
        f"takes {', '.join(takes) or 'too much to be listed'}"
    )


def _is_vector_each(tensor: Tensor) -> bool:
    return tensor.dtype in _FLOATS and tensor.shape is not None and len(tensor.shape) == 2


def _is_image_each(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[3] in _CHANNELS and min(shape[1:]) > 0


class AskedServable:
    """A servable as `ask` takes a model: `predict_on_batch` of images in [0, 1], or of files.

    Args:
        directory: where it lies.
        way: how it is asked.
        classes: how many probabilities an answer has to have.
        keys: names of the images in the order in which they come, for messages.
        refuse: makes the error for an answer that is none.
        order: of each class, which of the outputs it is; None: they are in the order of the classes.
    """

    def __init__(
        self,
        directory: Path,
        way: Way,
        classes: int,
        keys: Sequence[str],
        refuse: Callable[[str], Exception],
        order: Indices | None = None,
    ) -> None:
        # The graph's variables live as long as the object that was loaded.
        self._loaded = tf.saved_model.load(str(directory), tags=[SERVE])
        self._signature = self._loaded.signatures[way.signature]
        self._dtype = self._signature.structured_input_signature[1][way.input].dtype
        self._way = way
        self._classes = classes
        self._keys = keys
        self._seen = 0
        self._refuse = refuse
        self._order = order

    def predict_on_batch(self, inputs: Any) -> npt.NDArray[np.float32]:
        """Probabilities [batch, classes]. Raises what `refuse` makes where they are none."""
        way = self._way
        if way.size is not None:
            low, high = way.pixel_range
            inputs = tf.cast(low + inputs * (high - low), self._dtype)
        keys = self._keys[self._seen : self._seen + len(inputs)]
        self._seen += len(inputs)
        try:
            answer = np.asarray(self._signature(**{way.input: inputs})[way.output], dtype=np.float32)
        except Exception as error:  # whatever a graph of somebody else's raises
            raise self._refuse(
                f"{way.signature} does not answer test images such as {keys[0]} ({cause_of(error)}). Images must be as "
                "the model takes them."
            ) from error
        if answer.shape != (len(keys), self._classes):
            raise self._refuse(
                f"{way.signature} answers {len(keys)} images with numbers of shape {list(answer.shape)}, and "
                f"{self._classes} classes need [{len(keys)}, {self._classes}]."
            )
        check_probabilities(answer, keys, way.signature, self._refuse)
        return answer if self._order is None else answer[:, self._order]


def cause_of(error: Exception) -> str:
    """What a graph raised, in a few words."""
    cause = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    return f"{type(error).__name__}: {cause[:300].rstrip('.')}"


def check_probabilities(
    answer: npt.NDArray[np.float32], keys: Sequence[str], signature: str, refuse: Callable[[str], Exception]
) -> None:
    """Raises what `refuse` makes where a row of the `answer` to `keys` is no probability of each class."""
    sums, least = answer.sum(axis=1), answer.min(axis=1)
    wrong = np.flatnonzero(~((np.abs(sums - 1.0) <= _SUM) & (least >= _BELOW_ZERO)))
    if len(wrong):
        first = int(wrong[0])
        raise refuse(
            f"{signature} answers {keys[first]} with numbers that are no probabilities: the least is "
            f"{least[first]:.4g}, and they add up to {sums[first]:.4g} instead of 1. End the model with a softmax "
            "over its classes."
        )
