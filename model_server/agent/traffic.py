"""What the runtime has answered of late: requests, errors, latencies, predicted classes, from its own metrics.

The runtime's counters only ever grow. Samples of them are kept, so that any stretch up to an hour can be asked for
afterwards by whoever compares one version with another, without having to remember anything itself.
"""

from __future__ import annotations

import re
import time
from array import array
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

SAMPLE_SECONDS = 2.0
_KEPT = 1800
_REQUESTS = re.compile(r':tensorflow:serving:request_count\{model_name="((?:[^"\\]|\\.)*)",status="(\w+)"\} (\d+)')
_BUCKETS = re.compile(
    r':tensorflow:serving:request_latency_bucket\{model_name="((?:[^"\\]|\\.)*)",[^}]*le="([^"]+)"\} (\d+)'
)
_PREDICTED = re.compile(
    r':keras:serving:predicted_class_count\{model_name="((?:[^"\\]|\\.)*)",class="((?:[^"\\]|\\.)*)"\} (\d+)'
)


class Traffic(msgspec.Struct, frozen=True, rename="camel"):
    """A stretch of time in one pod.

    `seconds` is how long it was; `requests` were answered, `errors` of them with another status than OK; `latency` has
    pairs of an upper limit in microseconds (the last is infinite, None) and how many of the others stayed within it;
    `classes` has how often each class was predicted, and is empty where the runtime does not count them.
    """

    seconds: float
    requests: int
    errors: int
    latency: list[tuple[float | None, int]]
    classes: dict[str, int] = {}


class _Sample(NamedTuple):
    at: float
    requests: int
    errors: int
    latency: dict[float, int]
    # Of each name in `TrafficLog._names`. A hundred in an hour of samples, packed, are 1.5 MB.
    classes: array[int]


class TrafficLog:
    """Samples of one model's counters, an hour of them.

    Args:
        model: the name under which the runtime counts.
        clock: seconds.
    """

    def __init__(self, model: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._model = model
        self._clock = clock
        self._names: list[str] = []
        self._samples: deque[_Sample] = deque(maxlen=_KEPT)
        self._version: int | None = None

    def sample(self, page: str, version: int | None) -> None:
        """Take in the runtime's metrics page, while this version answers.

        With another version than before everything begins anew: what is asked for is a version's own. A runtime that
        was started anew counts from zero.
        """
        now = _read(page, self._model, self._clock(), self._names)
        if version != self._version:
            self._version = version
            self._samples.clear()
        if self._samples and now.requests < self._samples[-1].requests:
            self._samples.clear()
            self._samples.append(_Sample(now.at, 0, 0, {}, array("q")))
        self._samples.append(now)

    def last(self, seconds: float) -> Traffic:
        """What this version answered in the last so many seconds, or for as long as is known."""
        if not self._samples:
            return Traffic(0.0, 0, 0, [])
        end = self._samples[-1]
        begun = self._clock() - seconds
        start = next((sample for sample in self._samples if sample.at >= begun), end)
        limits = sorted(end.latency)
        # Classes that were predicted later are missing in the older sample.
        before = dict(zip(self._names, start.classes, strict=False))
        return Traffic(
            round(end.at - start.at, 1),
            end.requests - start.requests,
            end.errors - start.errors,
            [
                (None if limit == float("inf") else limit, end.latency[limit] - start.latency.get(limit, 0))
                for limit in limits
            ],
            {
                name: count - before.get(name, 0)
                for name, count in zip(self._names, end.classes, strict=True)
                if count > before.get(name, 0)
            },
        )


def _read(page: str, model: str, at: float, names: list[str]) -> _Sample:
    """One sample; `names` grows by the classes that were not seen before."""
    requests = errors = 0
    for name, status, count in _REQUESTS.findall(page):
        if _unescaped(name) == model:
            requests += int(count)
            errors += 0 if status == "OK" else int(count)
    latency: dict[float, int] = {}
    for name, limit, count in _BUCKETS.findall(page):
        if _unescaped(name) == model:
            # One histogram for each way in: REST, gRPC.
            latency[float(limit)] = latency.get(float(limit), 0) + int(count)
    classes = {
        _unescaped(label): int(count) for name, label, count in _PREDICTED.findall(page) if _unescaped(name) == model
    }
    names += [name for name in classes if name not in names]
    return _Sample(at, requests, errors, latency, array("q", (classes.get(name, 0) for name in names)))


def _unescaped(name: str) -> str:
    return name.replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")
