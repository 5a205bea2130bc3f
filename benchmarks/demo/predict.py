"""Predictions over HTTP through the model's Service, in both of its signatures."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.demo.digits import Digit
from benchmarks.demo.errors import DemoError
from benchmarks.demo.kubectl import Kubectl

PORT = 8501
BATCH = 32
REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 2.0
# The node's proxy learns of a ready pod a moment after the pod's own status says it.
FIRST_ANSWER_SECONDS = 30.0

Instances = Callable[[Digit], Any]


def as_numbers(digit: Digit) -> Any:
    """One row for `serving_default`: the pixels as floats from 0 to 1."""
    return digit.instance()


def as_png(digit: Digit) -> Any:
    """One row for `serving_bytes`: the file's bytes, which the model's own graph decodes."""
    return {"b64": base64.b64encode(digit.png()).decode()}


SIGNATURES: dict[str, Instances] = {"serving_default": as_numbers, "serving_bytes": as_png}


class Client:
    """One connection to the model; every failure is a DemoError that names the request."""

    def __init__(self, address: str, model: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=REQUEST_SECONDS)
        self._address = address
        self._path = f"/v1/models/{model}:predict"

    def predict(self, digits: Sequence[Digit], signature: str) -> list[list[float]]:
        """Probabilities [digits][classes]. Raises DemoError for any answer but that, OSError without an answer."""
        body = {"signature_name": signature, "instances": [SIGNATURES[signature](digit) for digit in digits]}
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", self._path, json.dumps(body), headers)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise DemoError(f"POST http://{self._address}{self._path} answered {answer.status}: {text[:500]}")
        predictions: list[list[float]] = json.loads(text)["predictions"]
        if len(predictions) != len(digits):
            raise DemoError(
                f"{len(digits)} images were sent to {self._path}, and {len(predictions)} answers came back."
            )
        return predictions

    def first(self, digit: Digit) -> list[float]:
        """The first answer; a connection that is refused is tried again for FIRST_ANSWER_SECONDS."""
        deadline = time.monotonic() + FIRST_ANSWER_SECONDS
        while True:
            try:
                return self.predict([digit], "serving_default")[0]
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if time.monotonic() > deadline:
                    raise DemoError(f"http://{self._address}{self._path} does not answer: {error}.") from error
                time.sleep(0.02)

    def accuracy(self, digits: Sequence[Digit], signature: str, classes: Sequence[str]) -> float:
        """The part of `digits` whose most probable class is their label."""
        right = 0
        for start in range(0, len(digits), BATCH):
            batch = digits[start : start + BATCH]
            try:
                answers = self.predict(batch, signature)
            except (OSError, http.client.HTTPException) as error:
                raise DemoError(f"http://{self._address}{self._path} broke off: {error!r}.") from error
            right += sum(
                classes[most_probable(probabilities)] == str(digit.label)
                for digit, probabilities in zip(batch, answers, strict=True)
            )
        return right / len(digits)


def most_probable(probabilities: Sequence[float]) -> int:
    """The index of the largest probability."""
    return max(range(len(probabilities)), key=probabilities.__getitem__)


@contextmanager
def service_address(kubectl: Kubectl, namespace: str, service: str) -> Iterator[str]:
    """`host:port` of the Service: its ClusterIP where this machine has a route to it, else a forwarded port."""
    ip = kubectl.get("service", service, "-n", namespace)["spec"]["clusterIP"]
    if _connects(ip, PORT):
        yield f"[{ip}]:{PORT}" if ":" in ip else f"{ip}:{PORT}"
    else:
        with kubectl.forwarding(f"service/{service}", f":{PORT}", "-n", namespace) as address:
            yield address


def _connects(ip: str, port: int) -> bool:
    try:
        with socket.create_connection((ip, port), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False
