"""Asking a served model the way its users do: REST with floats, REST with files, gRPC."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from benchmarks.demo.digits import Digit

ROWS = 60


def by_floats(url: str, digits: Sequence[Digit]) -> list[int]:
    """The class of each image, from its pixels as numbers, some images a request."""
    return [_best(row) for some in _slices(digits) for row in _predict(url, {"instances": [_floats(d) for d in some]})]


def by_files(url: str, digits: Sequence[Digit]) -> list[int]:
    """The class of each image, from its PNG file as it is."""
    rows = []
    for some in _slices(digits):
        instances = [{"b64": base64.b64encode(digit.png()).decode()} for digit in some]
        rows += _predict(url, {"signature_name": "serving_bytes", "instances": instances})
    return [_best(row) for row in rows]


def by_grpc(target: str, model_name: str, digits: Sequence[Digit]) -> tuple[list[int], int]:
    """The class of each image over gRPC with tensorflow-serving-api's own stub, and the version that answered."""
    # Importing TensorFlow takes seconds: only who asks over gRPC pays for it.
    import grpc
    import numpy as np
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = "serving_default"
    pixels = np.array([_floats(digit) for digit in digits], dtype=np.float32)
    with grpc.insecure_channel(target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        (name,) = _signature_inputs(stub, model_name)
        request.inputs[name].CopyFrom(tf.make_tensor_proto(pixels))
        answer = stub.Predict(request, timeout=20)
    (scores,) = (tf.make_ndarray(tensor) for tensor in answer.outputs.values())
    return [int(best) for best in scores.argmax(axis=1)], int(answer.model_spec.version.value)


def ask(url: str, path: str = "") -> Any:
    """The JSON answer to `GET url+path`."""
    return _answer("GET", f"{url}{path}", None)


def accuracy(found: Sequence[int], digits: Sequence[Digit]) -> float:
    """The part of the images that got their own class."""
    return sum(one == digit.label for one, digit in zip(found, digits, strict=True)) / len(digits)


def _signature_inputs(stub: Any, model_name: str) -> list[str]:
    from tensorflow_serving.apis import get_model_metadata_pb2

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = model_name
    found = get_model_metadata_pb2.SignatureDefMap()
    stub.GetModelMetadata(request, timeout=20).metadata["signature_def"].Unpack(found)
    return list(found.signature_def["serving_default"].inputs)


def _floats(digit: Digit) -> list[list[list[float]]]:
    return digit.instance()


def _predict(url: str, body: dict[str, Any]) -> list[list[float]]:
    rows: list[list[float]] = _answer("POST", f"{url}:predict", json.dumps(body))["predictions"]
    return rows


def _answer(method: str, url: str, body: str | None) -> Any:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.request(method, parts.path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, f"{method} {url}: HTTP {answer.status}: {text[:500]!r}"
        return json.loads(text)
    finally:
        connection.close()


def _best(row: Sequence[float]) -> int:
    return max(range(len(row)), key=row.__getitem__)


def _slices(digits: Sequence[Digit]) -> list[Sequence[Digit]]:
    return [digits[start : start + ROWS] for start in range(0, len(digits), ROWS)]
