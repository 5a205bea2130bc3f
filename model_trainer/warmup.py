"""Warm-up records: requests that a server replays after loading a version and before it answers anybody.

One TFRecord file of `tensorflow.serving.PredictionLog` messages in `assets.extra/`. A record that fails, fails the
load, so every record is tried before it is published.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from model_trainer.export import BYTES_SIGNATURE, EXTRA_ASSETS, FLOAT_SIGNATURE, IMAGE_BYTES, IMAGES
from model_trainer.failure import BadSavedModel
from model_trainer.samples import Samples
from model_trainer.signatures import Signature
from model_trainer.tables.samples import RowSamples

WARMUP_FILE = "tf_serving_warmup_requests"

# TensorFlow Serving reads no more records than this (saved_model_warmup_util.h).
MOST_RECORDS = 1000

Inputs = dict[str, Any]


def warmup_path(directory: Path) -> Path:
    """Where a servable keeps its records."""
    return directory / EXTRA_ASSETS / WARMUP_FILE


def of_samples(samples: Samples) -> list[tuple[str, Inputs]]:
    """A single image and a few together through each of our own signatures: (name, inputs) of each record."""
    requests: list[tuple[str, Inputs]] = []
    for count in sorted({1, min(4, len(samples.files))}):
        requests.append((FLOAT_SIGNATURE, {IMAGES: samples.images(0, count)}))
        requests.append((BYTES_SIGNATURE, {IMAGE_BYTES: np.array(samples.files[:count], dtype=object)}))
    return requests


def of_rows(samples: RowSamples) -> list[tuple[str, Inputs]]:
    """The same for the rows of a table."""
    return [(FLOAT_SIGNATURE, samples.first(count)) for count in sorted({1, min(4, len(samples.answers))})]


def of_zeros(signatures: dict[str, Signature]) -> list[tuple[str, Inputs]]:
    """One batch of one zero for each signature whose inputs have known types and, but for the batch, known shapes."""
    requests: list[tuple[str, Inputs]] = []
    for name, signature in signatures.items():
        shapes = {key: tensor.shape for key, tensor in signature.inputs.items()}
        strings = any(tensor.dtype == "string" for tensor in signature.inputs.values())
        if (
            not shapes
            or strings
            or not all(shape is not None and min(shape[1:], default=0) >= 0 for shape in shapes.values())
        ):
            continue
        requests.append(
            (
                name,
                {
                    key: np.zeros([1 if size < 0 else size for size in tensor.shape or ()], dtype=tensor.dtype)
                    for key, tensor in signature.inputs.items()
                },
            )
        )
    return requests


def write_warmup(directory: Path, model_name: str, requests: list[tuple[str, Inputs]]) -> None:
    """Write the records of `requests`."""
    path = warmup_path(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            for key, values in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(values))
            record = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(record.SerializeToString())


def read_warmup(directory: Path) -> Iterator[tuple[str, Inputs]]:
    """The predict requests among the records: (signature's name, inputs as tensors)."""
    for data in tf.data.TFRecordDataset(str(warmup_path(directory))).take(MOST_RECORDS).as_numpy_iterator():
        record = prediction_log_pb2.PredictionLog.FromString(data)
        if record.HasField("predict_log"):
            request = record.predict_log.request
            name = request.model_spec.signature_name or FLOAT_SIGNATURE
            yield name, {key: tf.constant(tf.make_ndarray(proto)) for key, proto in request.inputs.items()}


def replay(directory: Path, loaded: Any) -> int:
    """Answer every record with `loaded`, the SavedModel in `directory`; returns how many there are.

    Raises:
        BadSavedModel: a record cannot be read or answered, so no server would load this version.
    """
    count = 0
    try:
        for name, inputs in read_warmup(directory):
            loaded.signatures[name](**inputs)
            count += 1
    except Exception as error:  # whatever a graph of somebody else's raises
        raise BadSavedModel(
            f"Record {count + 1} of {EXTRA_ASSETS}/{WARMUP_FILE} fails ({type(error).__name__}: {_first_line(error)}); "
            "a server replays it after loading and would not become ready. Correct the record, or remove the file."
        ) from error
    return count


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
