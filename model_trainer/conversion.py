"""From a Keras model that somebody else trained to a servable, and the proof that both answer the same."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras_operator.api import Source

from model_trainer import warmup
from model_trainer.export import (
    BYTES_SIGNATURE,
    FLOAT_SIGNATURE,
    IMAGE_BYTES,
    IMAGES,
    PROBABILITIES,
    export_saved_model,
    write_classes,
    write_out,
)
from model_trainer.failure import BadModelFile, ParityFailed
from model_trainer.loading import is_keras_2

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]
Inputs = dict[str, Any]

# Generated inputs to compare by. Few, because nothing is known about their size but that they fit a prediction.
COMPARED = 16

# Of the larger of 1 and the largest answer: the same operations in another order differ by about 1e-6 in float32.
TOLERANCE = 1e-4

_CHANNELS = (1, 3)


@dataclass(frozen=True)
class Converted:
    """What came of a conversion.

    Attributes:
        parity: the largest difference between an answer of the servable and one of the model.
        image_size: height and width, where the model takes images.
    """

    parity: float
    image_size: tuple[int, int] | None


def convert(model: Any, source: Source, directory: Path, model_name: str) -> Converted:
    """Write the servable of `model` to `directory`, with warm-up records, and compare both on generated inputs.

    A model of one image in and one vector out gets the two signatures of a trained one; any other gets
    `serving_default` with the names of its own inputs and outputs.

    Raises:
        BadModelFile: the model has no known input, or other classes than `source.classes` names.
        ParityFailed: the servable answers differently.
    """
    if not getattr(model, "inputs", None):
        raise BadModelFile(
            f"The model in {source.uri} does not say what it takes: it was saved before it had seen an input. Build it "
            "with keras.Input(shape), or call it once, and save it again."
        )
    _check_classes(model, source)
    if is_image_classifier(model):
        height, width, channels = model.inputs[0].shape[1:]
        export_saved_model(model, source.classes, directory, archive=_archive(model), pixel_range=source.pixel_range)
        requests = _images(int(height), int(width), int(channels), source.pixel_range)
        expected = _expected(model, requests[FLOAT_SIGNATURE], (PROBABILITIES,))
        answers = dict.fromkeys(requests, expected)
        size = (int(height), int(width))
    else:
        outputs = _export_any(model, directory)
        if source.classes:
            write_classes(source.classes, directory)
        requests = {FLOAT_SIGNATURE: _generated(model)}
        answers = {FLOAT_SIGNATURE: _expected(model, requests[FLOAT_SIGNATURE], outputs)}
        size = None
        log.info("it is no classifier of images of one size, so it takes tensors and no files' bytes")
    first = [(name, {key: values[:1] for key, values in inputs.items()}) for name, inputs in requests.items()]
    warmup.write_warmup(directory, model_name, first)
    loaded = tf.saved_model.load(str(directory))
    warmup.replay(directory, loaded)
    parity = max(_difference(loaded, name, requests[name], answers[name]) for name in requests)
    return Converted(parity, size)


def is_image_classifier(model: Any) -> bool:
    """Whether it takes images of one size, grey or RGB, and gives one vector for each."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        return False
    given, answer = model.inputs[0], model.outputs[0]
    shape = tuple(given.shape)
    return (
        len(shape) == 4
        and None not in shape[1:]
        and shape[3] in _CHANNELS
        and tf.as_dtype(given.dtype).is_floating
        and len(answer.shape) == 2
    )


def _check_classes(model: Any, source: Source) -> None:
    named = source.classes
    if not named:
        return
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise BadModelFile(f"spec.source.classes names {twice[0]!r} twice. Give each output of the model its own name.")
    shape = tuple(model.outputs[0].shape)
    # A single sigmoid tells two classes apart, and its one number is the second one's probability.
    if len(model.outputs) != 1 or shape[-1] != len(named):
        raise BadModelFile(
            f"spec.source.classes has {len(named)} names, and the model in {source.uri} answers with "
            f"{' and '.join(str(list(output.shape[1:])) for output in model.outputs)} numbers. Name each of them once, "
            "in the order of the model's outputs, or leave classes out."
        )


def _archive(model: Any) -> Any:
    if is_keras_2(model):
        from tf_keras.src.export.export_lib import ExportArchive  # noqa: PLC0415 - see loading.py

        return ExportArchive()
    return keras.export.ExportArchive()


def _export_any(model: Any, directory: Path) -> tuple[str, ...]:
    """`serving_default` of a model of any inputs and outputs; returns the outputs' names."""
    names = _names(model.inputs, "input")
    outputs = _names(model.outputs, "output")

    def answer(*values: Any) -> dict[str, Any]:
        return dict(zip(outputs, tf.nest.flatten(_call(model, values)), strict=True))

    archive = _archive(model)
    archive.track(model)
    archive.add_endpoint(
        FLOAT_SIGNATURE,
        answer,
        input_signature=[
            tf.TensorSpec([None, *given.shape[1:]], given.dtype, name=name)
            for given, name in zip(model.inputs, names, strict=True)
        ],
    )
    write_out(archive, directory)
    return outputs


def _call(model: Any, values: tuple[Any, ...]) -> Any:
    """Call a model as it was built: with one tensor, a list or a dictionary."""
    structure = getattr(model, "input", None)
    given = values[0] if len(values) == 1 and not isinstance(structure, dict) else list(values)
    if isinstance(structure, dict):
        given = tf.nest.pack_sequence_as(structure, list(values))
    return model(given, training=False)


def _names(tensors: Any, what: str) -> tuple[str, ...]:
    """Tensors' own names, as a signature can have them: each once, letters, digits and '_'."""
    names = [str(tensor.name).partition(":")[0].rpartition("/")[0] or str(tensor.name) for tensor in tensors]
    clean = ["".join(letter if letter.isalnum() else "_" for letter in name) for name in names]
    if len(set(clean)) != len(clean) or not all(name.isidentifier() for name in clean):
        clean = [f"{what}_{index}" for index in range(len(names))]
    return tuple(clean)


def _images(height: int, width: int, channels: int, pixel_range: tuple[float, float]) -> dict[str, Inputs]:
    """Noise, and gradients of every direction: the same images as numbers and as PNG files."""
    random = np.random.default_rng(0)
    down, right = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    pixels = np.empty((COMPARED, height, width, channels), np.uint8)
    for index in range(COMPARED):
        if index % 2:
            slopes = random.uniform(-1, 1, (2, channels))
            picture = down[..., None] * slopes[0] + right[..., None] * slopes[1]
            pixels[index] = np.clip((picture + 1) * 127.5, 0, 255)
        else:
            pixels[index] = random.integers(0, 256, (height, width, channels))
    files = np.array([tf.io.encode_png(image).numpy() for image in pixels], dtype=object)
    low, high = pixel_range
    numbers = np.float32(low) + pixels.astype(np.float32) / np.float32(255) * np.float32(high - low)
    return {FLOAT_SIGNATURE: {IMAGES: numbers}, BYTES_SIGNATURE: {IMAGE_BYTES: files}}


def _generated(model: Any) -> Inputs:
    """Numbers for any inputs: floats of a normal distribution, 0 and 1 for whole numbers; a free size becomes 8."""
    random = np.random.default_rng(0)
    inputs: Inputs = {}
    for given, name in zip(model.inputs, _names(model.inputs, "input"), strict=True):
        shape = [COMPARED, *(8 if size is None else int(size) for size in given.shape[1:])]
        kind = tf.as_dtype(given.dtype)
        if kind == tf.string:
            inputs[name] = np.full(shape, b"text", dtype=object)
        elif kind.is_floating:
            inputs[name] = random.normal(size=shape).astype(kind.as_numpy_dtype)
        else:
            inputs[name] = random.integers(0, 2, shape).astype(kind.as_numpy_dtype)
    return inputs


def _expected(model: Any, inputs: Inputs, outputs: tuple[str, ...]) -> dict[str, Array]:
    try:
        answers = tf.nest.flatten(_call(model, tuple(tf.constant(values) for values in inputs.values())))
    except Exception as error:  # whatever layers of somebody else's raise
        raise BadModelFile(
            f"The model does not answer generated inputs of its own shape ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no message'}). Try model.predict where it was trained, "
            "and save it again."
        ) from error
    return {name: np.asarray(answer) for name, answer in zip(outputs, answers, strict=True)}


def _difference(loaded: Any, signature: str, inputs: Inputs, expected: dict[str, Array]) -> float:
    answers = loaded.signatures[signature](**{name: tf.constant(values) for name, values in inputs.items()})
    largest = 0.0
    for name, wanted in expected.items():
        found = answers[name].numpy()
        if wanted.dtype.kind not in "fc":
            if not np.array_equal(found, wanted):
                raise ParityFailed(_unlike(signature, name, "other values"))
            continue
        difference = float(np.abs(found.astype(np.float64) - wanted).max(initial=0.0))
        if not difference <= TOLERANCE * max(1.0, float(np.abs(wanted).max(initial=0.0))):
            raise ParityFailed(_unlike(signature, name, f"a difference of {difference:.2g}"))
        largest = max(largest, difference)
    return largest


def _unlike(signature: str, output: str, found: str) -> str:
    return (
        f"The exported model answers differently from the one in the file: {found} in {output} of {signature} on the "
        "same generated inputs. Nothing was published. Layers that draw random numbers while they predict do that: "
        "take them out, and save the model again."
    )
