"""Metrics under TensorFlow Serving's names, printed as its Prometheus page prints them."""

from __future__ import annotations

import bisect
import dataclasses
import math
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from model_server.runtime.errors import Code

# TensorFlow Serving's histogram of microseconds: 33 limits from 10 µs, each 1.8 times the one before (~20 minutes).
_LATENCY_LIMITS = tuple(10 * 1.8**i for i in range(33))
_POWERS_OF_TWO = tuple(float(2**i) for i in range(21))

DEFAULT_PATH = "/monitoring/prometheus/metrics"


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for value in values)
    return ",".join(f'{name}="{value}"' for name, value in zip(names, escaped, strict=True))


class Counter:
    """A number that only grows, one for each combination of label values."""

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        self.name, self._names = name, labels
        self._cells: dict[tuple[str, ...], int] = {}
        self._lock = threading.Lock()

    def add(self, *values: str, by: int = 1) -> None:
        """Count `by` more for these label values."""
        with self._lock:
            self._cells[values] = self._cells.get(values, 0) + by

    def lines(self) -> list[str]:
        """The metric's part of the page; empty before the first count, as TensorFlow Serving has it."""
        with self._lock:
            cells = sorted(self._cells.items())
        if not cells:
            return []
        head = f"# TYPE {self.name} counter"
        return [head, *(f"{self.name}{{{_labels(self._names, values)}}} {count}" for values, count in cells)]


@dataclasses.dataclass(slots=True)
class _Cell:
    buckets: list[int]
    sum: float = 0.0


class Histogram:
    """A distribution, one for each combination of label values."""

    def __init__(self, name: str, labels: Sequence[str], limits: Sequence[float] = _LATENCY_LIMITS) -> None:
        self.name, self._names, self._limits = name, labels, limits
        self._cells: dict[tuple[str, ...], _Cell] = {}
        self._lock = threading.Lock()

    def observe(self, amount: float, *values: str) -> None:
        """Add one `amount` for these label values."""
        with self._lock:
            cell = self._cells.get(values)
            if cell is None:
                cell = self._cells[values] = _Cell([0] * (len(self._limits) + 1))
            cell.buckets[bisect.bisect_right(self._limits, amount)] += 1
            cell.sum += amount

    def lines(self) -> list[str]:
        """The metric's part of the page; empty before the first value."""
        with self._lock:
            cells = sorted((values, list(cell.buckets), cell.sum) for values, cell in self._cells.items())
        lines = [f"# TYPE {self.name} histogram"] if cells else []
        for values, buckets, total in cells:
            labels = _labels(self._names, values)
            prefix = f"{self.name}_bucket{{{labels}{',' if labels else ''}"
            count = 0
            for limit, amount in zip((*self._limits, math.inf), buckets, strict=True):
                count += amount
                lines.append(f'{prefix}le="{"+Inf" if math.isinf(limit) else f"{limit:g}"}"}} {count}')
            lines += [f"{self.name}_sum{{{labels}}} {total:g}", f"{self.name}_count{{{labels}}} {count}"]
        return lines


class Metrics:
    """Everything the runtime counts."""

    def __init__(self) -> None:
        serving = ":tensorflow:serving:"
        self._requests = Counter(f"{serving}request_count", ("model_name", "status"))
        self._request_latency = Histogram(f"{serving}request_latency", ("model_name", "API", "entrypoint"))
        self._runtime_latency = Histogram(f"{serving}runtime_latency", ("model_name", "API", "runtime"))
        # One value for each request: its number of examples.
        self._example_counts = Histogram(f"{serving}request_example_counts", ("model",), _POWERS_OF_TWO[:15])
        self._examples = Counter(f"{serving}request_example_count_total", ("model",))
        # Not TensorFlow Serving's: predictions by the likeliest class.
        self._predicted = Counter(":keras:serving:predicted_class_count", ("model_name", "class"))
        self._warmup_latency = Histogram(f"{serving}model_warmup_latency", ("model_path", "status"))
        batching = f"{serving}batching_session:"
        self._queuing = Histogram(f"{batching}queuing_latency", ("thread_pool_name",))
        self._input_sizes = Histogram(f"{batching}input_batch_size", (), _POWERS_OF_TWO)
        self._batch_sizes = Histogram(f"{batching}processed_batch_size", (), _POWERS_OF_TWO)
        self._padding = Histogram(f"{batching}padding_size", ("execution_batch_size",), _POWERS_OF_TWO)

    def request(self, model: str, api: str, entrypoint: str, code: Code, micros: float) -> None:
        """One answered request; as in TensorFlow Serving, only successes count in the latency."""
        self._requests.add(model, code.name)
        if code is Code.OK:
            self._request_latency.observe(micros, model, api, entrypoint)

    def ran(self, model: str, api: str, micros: float) -> None:
        """One run of a graph."""
        self._runtime_latency.observe(micros, model, api, "TF1")

    def examples(self, model: str, count: int) -> None:
        """One classify, regress or multi-inference request of so many examples."""
        self._example_counts.observe(count, model)
        self._examples.add(model, by=count)

    def predicted(self, model: str, classes: Mapping[str, int]) -> None:
        """How often each class was the likeliest in one request."""
        for name, count in classes.items():
            self._predicted.add(model, name, by=count)

    def warmed_up(self, path: str, code: Code, micros: float) -> None:
        """One replay of a version's warm-up records."""
        self._warmup_latency.observe(micros, path, code.name)

    def queued(self, pool: str, micros: float, rows: int) -> None:
        """One request that waited for its batch."""
        self._queuing.observe(micros, pool)
        self._input_sizes.observe(rows)

    def batched(self, rows: int, padding: int) -> None:
        """One batch of `rows`, `padding` of them filled up."""
        self._batch_sizes.observe(rows)
        self._padding.observe(padding, str(rows))

    def page(self) -> bytes:
        """The Prometheus page."""
        metrics: list[Counter | Histogram] = [
            self._queuing,
            self._input_sizes,
            self._padding,
            self._batch_sizes,
            self._warmup_latency,
            self._example_counts,
            self._examples,
            self._predicted,
            self._requests,
            self._request_latency,
            self._runtime_latency,
        ]
        lines = [*(line for metric in metrics for line in metric.lines()), *_process_lines()]
        return ("\n".join(lines) + "\n").encode()


def _process_lines() -> list[str]:
    """What Prometheus' own clients say of their process, under their name; TensorFlow Serving does not."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    name = "process_resident_memory_bytes"
    return [f"# TYPE {name} gauge", f"{name} {pages * os.sysconf('SC_PAGE_SIZE')}"]
