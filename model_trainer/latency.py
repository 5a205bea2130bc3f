"""How long a servable takes for one image, on the machine that exports it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import tensorflow as tf

# The first calls build kernels and fill caches; of 50 the median wanders by a few per cent.
_WARM_UP = 5
_CALLS = 50
# A network that takes a second is known well enough by the first few.
_MOST_SECONDS = 5.0


def median_latency_ms(signature: Any, inputs: Mapping[str, npt.NDArray[Any]]) -> float:
    """The median of milliseconds for a batch of one image or row: the signature's `inputs`, each [1, …].

    It is what a request costs beside HTTP, JSON and waiting for others, on the processors of this container.
    """
    batch = {name: tf.constant(values) for name, values in inputs.items()}
    for _ in range(_WARM_UP):
        signature(**batch)
    seconds: list[float] = []
    began = time.perf_counter()
    while len(seconds) < _CALLS and (not seconds or time.perf_counter() - began < _MOST_SECONDS):
        start = time.perf_counter()
        for output in signature(**batch).values():
            output.numpy()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) * 1000
