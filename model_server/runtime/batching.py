"""Dynamic batching: requests that wait at the same time are run as one.

The rules are TensorFlow Serving's `BatchingParameters`. Requests are merged only within one signature, for the same
outputs, and when all dimensions but the first agree. A batch is run when a batch thread is free and the batch is full
or its first request has waited for the timeout. All of this runs on the event loop's thread, the graph in the batch
threads.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from model_server.runtime.deadline import Deadline, latest_ms
from model_server.runtime.dtypes import Array
from model_server.runtime.errors import Code, ServingError, invalid
from model_server.runtime.monitoring import Metrics
from model_server.runtime.protobufs import configuration_message, read_text_proto
from model_server.runtime.runs import MOST_REPLACED
from model_server.runtime.savedmodel import Signature

Arrays = dict[str, Array]
# Runs a merged batch in a batch thread, for at most so many milliseconds, or (0) for ever.
Run = Callable[[Arrays, int], Arrays]


@dataclasses.dataclass(frozen=True, slots=True)
class BatchingOptions:
    """TensorFlow Serving's batching parameters. The defaults are its scheduler's."""

    max_batch_size: int = 1000
    timeout_micros: int = 0
    max_enqueued_batches: int = 10
    threads: int = 1
    pool_name: str = "model_server_batch_threads"
    allowed_batch_sizes: Sequence[int] = ()

    def padded(self, rows: int) -> int:
        """The batch size that `rows` are filled up to."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def read_batching_options(path: Path | None, cpus: int) -> BatchingOptions:
    """The options in a text-format BatchingParameters file, or the defaults without one. Raises ServingError."""
    if path is None:
        return BatchingOptions(threads=cpus)
    message = read_text_proto(path, configuration_message("BatchingParameters")())
    refused = [
        name
        for name in ("pad_variable_length_inputs", "enable_large_batch_splitting", "max_execution_batch_size")
        if (message.HasField(name) if name != "pad_variable_length_inputs" else message.pad_variable_length_inputs)
    ]
    if refused:
        raise ServingError(
            Code.UNIMPLEMENTED, f"{path}: {', '.join(refused)} is not supported by this server, remove it"
        )

    def value(name: str, default: int, least: int) -> int:
        number: int = getattr(message, name).value if message.HasField(name) else default
        if number < least:
            raise invalid(f"{path}: {name} must be at least {least}, found {number}")
        return number

    defaults = BatchingOptions()
    size = value("max_batch_size", defaults.max_batch_size, 1)
    allowed = list(message.allowed_batch_sizes)
    if allowed and (allowed != sorted(set(allowed)) or allowed[0] < 1 or allowed[-1] != size):
        raise invalid(
            f"{path}: allowed_batch_sizes must be in increasing order and end with max_batch_size ({size}), "
            f"found {allowed}"
        )
    return BatchingOptions(
        max_batch_size=size,
        timeout_micros=value("batch_timeout_micros", defaults.timeout_micros, 0),
        max_enqueued_batches=value("max_enqueued_batches", defaults.max_enqueued_batches, 1),
        threads=value("num_batch_threads", cpus, 1),
        pool_name=message.thread_pool_name.value or defaults.pool_name,
        allowed_batch_sizes=allowed,
    )


def is_batchable(signature: Signature) -> bool:
    """Whether every input of a signature has a first dimension of any size, which is then the batch."""
    return bool(signature.inputs) and all(
        spec.shape is not None and len(spec.shape) > 0 and spec.shape[0] is None for spec in signature.inputs.values()
    )


@dataclasses.dataclass(slots=True, eq=False)
class _Task:
    inputs: Arrays
    rows: int
    answer: asyncio.Future[Arrays]
    enqueued: float
    done: Callable[[], None]
    ends: Deadline


@dataclasses.dataclass(slots=True, eq=False)
class _Batch:
    run: Run
    deadline: float
    tasks: list[_Task] = dataclasses.field(default_factory=list)
    rows: int = 0
    closed: bool = False


class Batcher:
    """Merges calls into batches, over all servables of the process."""

    def __init__(self, options: BatchingOptions, metrics: Metrics) -> None:
        self._options = options
        self._metrics = metrics
        self._threads: Executor = ThreadPoolExecutor(options.threads + MOST_REPLACED, options.pool_name)
        self._free = options.threads
        self._more = 0
        # In order of arrival over all keys; the last batch of a key may still take tasks.
        self._waiting: collections.deque[tuple[Hashable, _Batch]] = collections.deque()
        self._queues: dict[Hashable, list[_Batch]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, more: int) -> None:
        """Have `more` threads than the options say, at most MOST_REPLACED."""
        self._free += more - self._more
        self._more = more
        self._pump()

    async def run(self, key: Hashable, inputs: Arrays, run: Run, done: Callable[[], None], ends: Deadline) -> Arrays:
        """The outputs for `inputs`, computed together with other calls of the same `key`.

        `key` must tell apart servables, signatures and sets of outputs; `run` computes a merged batch in a thread.
        `done` is called once, as soon as no thread uses `run` for this call any more, which may be after a caller that
        is cancelled has left. A batch is run until the last of its calls `ends`. Raises ServingError.
        """
        try:
            rows = self._count_rows(inputs)
            task = _Task(inputs, rows, asyncio.get_running_loop().create_future(), time.perf_counter(), done, ends)
            shapes = tuple(sorted((name, array.shape[1:]) for name, array in inputs.items()))
            self._enqueue((key, shapes), task, run)
        except ServingError:
            done()
            raise
        return await task.answer

    def _count_rows(self, inputs: Mapping[str, Array]) -> int:
        sizes = {array.shape[0] if array.ndim else 0 for array in inputs.values()}
        if len(sizes) != 1 or 0 in sizes:
            raise invalid(
                "batched input tensors must have the same 0th dimension size, at least 1; found shapes "
                f"{[list(array.shape) for array in inputs.values()]}"
            )
        rows = sizes.pop()
        if rows > self._options.max_batch_size:
            raise invalid(f"Task size {rows} is larger than maximum input batch size {self._options.max_batch_size}")
        return rows

    def _enqueue(self, key: Hashable, task: _Task, run: Run) -> None:
        queue = self._queues.setdefault(key, [])
        last = queue[-1] if queue else None
        if last is None or last.closed or last.rows + task.rows > self._options.max_batch_size:
            if len(queue) >= self._options.max_enqueued_batches:
                raise ServingError(
                    Code.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full; currently has "
                    f"{len(queue)} batches enqueued and max_enqueued_batches is {self._options.max_enqueued_batches}",
                )
            if last is not None:
                last.closed = True
            last = _Batch(run, asyncio.get_running_loop().time() + self._options.timeout_micros / 1e6)
            queue.append(last)
            self._waiting.append((key, last))
        last.tasks.append(task)
        last.rows += task.rows
        last.closed = last.rows >= self._options.max_batch_size
        self._pump()

    def _pump(self) -> None:
        """Start every batch that may start, and wake up for the next that may later."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._free > 0:
            ready = next((entry for entry in self._waiting if entry[1].closed or entry[1].deadline <= now), None)
            if ready is None:
                break
            self._start(*ready)
        if self._free > 0 and self._waiting:
            self._timer = loop.call_at(min(batch.deadline for _, batch in self._waiting), self._pump)

    def _start(self, key: Hashable, batch: _Batch) -> None:
        self._waiting.remove((key, batch))
        queue = self._queues[key]
        queue.remove(batch)
        if not queue:
            del self._queues[key]
        tasks = []
        for task in batch.tasks:
            if task.answer.done():  # its caller has given up waiting
                task.done()
            else:
                tasks.append(task)
        if not tasks:
            return
        now = time.perf_counter()
        for task in tasks:
            self._metrics.queued(self._options.pool_name, (now - task.enqueued) * 1e6, task.rows)
        self._free -= 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, self._process, batch.run, tasks)
        future.add_done_callback(lambda done: self._finish(done, tasks))

    def _process(self, run: Run, tasks: Sequence[_Task]) -> list[Arrays]:
        rows = sum(task.rows for task in tasks)
        size = self._options.padded(rows)
        self._metrics.batched(size, size - rows)
        results = run(_merge(tasks, size - rows), latest_ms(task.ends for task in tasks))
        return _split(results, [task.rows for task in tasks], size)

    def _finish(self, done: asyncio.Future[list[Arrays]], tasks: Sequence[_Task]) -> None:
        self._free += 1
        error = done.exception()
        results: Sequence[Any] = [None] * len(tasks) if error is not None else done.result()
        for task, result in zip(tasks, results, strict=True):
            task.done()
            if task.answer.done():
                continue
            if error is not None:
                task.answer.set_exception(error)
            else:
                task.answer.set_result(result)
        self._pump()

    def close(self) -> None:
        """Let the batch threads end."""
        with contextlib.suppress(RuntimeError):
            self._threads.shutdown(wait=False, cancel_futures=True)


def _merge(tasks: Sequence[_Task], padding: int) -> Arrays:
    if len(tasks) == 1 and not padding:
        return tasks[0].inputs
    merged = {}
    for name in tasks[0].inputs:
        parts = [task.inputs[name] for task in tasks]
        if padding:
            parts.append(np.repeat(parts[-1][:1], padding, axis=0))
        merged[name] = np.concatenate(parts)
    return merged


def _split(outputs: Arrays, rows: Sequence[int], size: int) -> list[Arrays]:
    for name, array in outputs.items():
        if array.ndim == 0 or array.shape[0] != size:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f'Batched output tensor "{name}" has 0th dimension that does not equal the sum of the 0th dimension '
                f"sizes of the input tensors: shape {list(array.shape)} for a batch of {size}",
            )
    answers, start = [], 0
    for count in rows:
        answers.append({name: array[start : start + count] for name, array in outputs.items()})
        start += count
    return answers
