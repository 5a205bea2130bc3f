"""Dynamic batching: by itself with a graph that records its batches, and in a server."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from model_server.runtime.batching import Batcher, BatchingOptions, read_batching_options
from model_server.runtime.deadline import Deadline
from model_server.runtime.errors import Code, ServingError
from model_server.runtime.monitoring import Metrics


class Graph:
    """Doubles its input, keeps the sizes of its batches, and runs only while its gate is open."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.timeouts: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fails = False

    def run(self, inputs: dict[str, Any], timeout_ms: int) -> dict[str, Any]:
        self.timeouts.append(timeout_ms)
        self.gate.wait(10)
        self.sizes.append(len(inputs["x"]))
        if self.fails:
            raise ServingError(Code.INTERNAL, "no")
        return {"y": inputs["x"] * 2}


@pytest.fixture
def graph() -> Graph:
    return Graph()


class Caller:
    def __init__(self, graph: Graph, **options: Any) -> None:
        self.batcher = Batcher(BatchingOptions(**options), Metrics())
        self.graph = graph
        self.released = 0

    def _release(self) -> None:
        self.released += 1

    def call(self, *rows: float, key: str = "k", width: int = 1, timeout_ms: int = 0) -> asyncio.Task[Any]:
        x = np.repeat(np.array(rows, np.float32)[:, None], width, axis=1)
        return asyncio.create_task(self.batcher.run(key, {"x": x}, self.graph.run, self._release, Deadline(timeout_ms)))


async def _first_columns(calls: list[asyncio.Task[Any]]) -> list[list[float]]:
    return [answer["y"][:, 0].tolist() for answer in await asyncio.gather(*calls)]


async def test_calls_within_the_timeout_share_a_batch_and_get_their_own_rows(graph):
    caller = Caller(graph, max_batch_size=8, timeout_micros=100_000)
    calls = [caller.call(1, 2), caller.call(3), caller.call(4, 5, 6)]
    assert await _first_columns(calls) == [[2, 4], [6], [8, 10, 12]]
    assert graph.sizes == [6]
    assert caller.released == 3


async def test_a_full_batch_does_not_wait(graph):
    caller = Caller(graph, max_batch_size=2, timeout_micros=60_000_000)
    assert await asyncio.wait_for(_first_columns([caller.call(1), caller.call(2)]), 5) == [[2], [4]]


async def test_no_batch_is_larger_than_the_maximum(graph):
    caller = Caller(graph, max_batch_size=4, timeout_micros=50_000, threads=2)
    await _first_columns([caller.call(1, 2, 3) for _ in range(3)])
    assert graph.sizes == [3, 3, 3]


async def test_batches_are_padded_to_an_allowed_size(graph):
    caller = Caller(graph, max_batch_size=8, timeout_micros=10_000, allowed_batch_sizes=(2, 4, 8))
    assert await _first_columns([caller.call(1), caller.call(2), caller.call(3)]) == [[2], [4], [6]]
    assert graph.sizes == [4]


async def test_other_keys_and_shapes_are_other_batches(graph):
    caller = Caller(graph, max_batch_size=8, timeout_micros=10_000, threads=4)
    await _first_columns([caller.call(1), caller.call(2, key="other"), caller.call(3, width=2)])
    assert sorted(graph.sizes) == [1, 1, 1]


async def test_a_full_queue_refuses_and_what_waits_is_answered_later(graph):
    caller = Caller(graph, max_batch_size=1, max_enqueued_batches=2, threads=1)
    graph.gate.clear()
    calls = [caller.call(i) for i in range(3)]  # one runs, two wait
    await asyncio.sleep(0)
    with pytest.raises(ServingError, match="queue to which this task was submitted is full") as refused:
        await caller.call(9)
    assert refused.value.code is Code.UNAVAILABLE
    graph.gate.set()
    assert await _first_columns(calls) == [[0], [2], [4]]
    assert caller.released == 4


async def test_who_gives_up_is_not_computed_and_is_released(graph):
    caller = Caller(graph, max_batch_size=1, threads=1)
    graph.gate.clear()
    running, waiting = caller.call(1), caller.call(2)
    await asyncio.sleep(0.05)
    waiting.cancel()
    running.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    assert caller.released == 0, "a thread still uses the graph"
    graph.gate.set()
    await asyncio.wait_for(caller.call(3), 5)
    assert graph.sizes == [1, 1]
    assert caller.released == 3


async def test_a_failure_reaches_every_call_of_the_batch_and_no_other(graph):
    caller = Caller(graph, max_batch_size=2, timeout_micros=10_000)
    graph.fails = True
    results = await asyncio.gather(caller.call(1), caller.call(2), return_exceptions=True)
    assert [str(result) for result in results] == ["no", "no"]
    graph.fails = False
    assert await _first_columns([caller.call(1)]) == [[2]]


@pytest.mark.parametrize(("other", "least", "most"), [(9_000, 8_001, 9_000), (0, 0, 0)], ids=["latest", "never"])
async def test_a_batch_is_run_until_the_last_of_its_calls_gives_up(graph, other, least, most):
    caller = Caller(graph, max_batch_size=2, timeout_micros=60_000_000)
    await asyncio.gather(caller.call(1, timeout_ms=8_000), caller.call(2, timeout_ms=other))
    (timeout,) = graph.timeouts
    assert least <= timeout <= most


async def test_a_thread_that_is_added_runs_what_waits_and_is_taken_back(graph):
    caller = Caller(graph, max_batch_size=1, threads=1)
    graph.gate.clear()
    calls = [caller.call(i) for i in range(3)]
    while not graph.timeouts:  # noqa: ASYNC110 - the graph is in another thread
        await asyncio.sleep(0.01)
    caller.batcher.add(1)
    while len(graph.timeouts) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    caller.batcher.add(0)
    graph.gate.set()
    assert await _first_columns(calls) == [[0], [2], [4]]
    assert caller.batcher._free == 1


@pytest.mark.parametrize("rows", [0, 5])
async def test_calls_of_no_row_or_too_many_are_refused(graph, rows):
    caller = Caller(graph, max_batch_size=4)
    with pytest.raises(ServingError) as refused:
        await caller.call(*range(rows))
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert caller.released == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size { value: 0 }", "max_batch_size must be at least 1, found 0"),
        (
            "max_batch_size { value: 4 } allowed_batch_sizes: [4, 2]",
            "must be in increasing order and end with max_batch",
        ),
        (
            "max_batch_size { value: 4 } allowed_batch_sizes: [1, 2]",
            "must be in increasing order and end with max_batch",
        ),
        ("pad_variable_length_inputs: true", "pad_variable_length_inputs is not supported"),
        ("max_batch: 3", "not a valid text-format BatchingParameters"),
    ],
)
def test_wrong_parameter_files_are_refused(tmp_path, text, message):
    path = tmp_path / "batching.config"
    path.write_text(text)
    with pytest.raises(ServingError, match=message):
        read_batching_options(path, cpus=2)


def test_a_server_merges_requests_that_arrive_together(models, launch_server, tmp_path, write_config):
    parameters, config = tmp_path / "batching.config", tmp_path / "models.config"
    parameters.write_text(
        "max_batch_size { value: 16 } batch_timeout_micros { value: 200000 } num_batch_threads { value: 2 } "
        "max_enqueued_batches { value: 100 } allowed_batch_sizes: [4, 16]"
    )
    write_config(config, {"kinds": (models / "kinds", "")})
    server = launch_server(
        f"--model_config_file={config}", "--enable_batching", f"--batching_parameters_file={parameters}"
    )
    server.wait_available("kinds", 1)
    with ThreadPoolExecutor(6) as clients:
        body = {"signature_name": "slow", "instances": [1, 1]}
        answers = list(clients.map(lambda _: server.predict("kinds", body), range(6)))
        assert [answer.status for answer in answers] == [200] * 6
        merged = {row["rows"] for answer in answers for row in answer.json["predictions"]}
        assert max(merged) > 2, "the graph saw more rows than one request has"
        assert merged <= {4, 16}
    assert server.predict("kinds", {"signature_name": "scalar", "inputs": 2}).json == {"outputs": 4.0}
    mistake = server.predict("kinds", {"signature_name": "total", "inputs": [1, 2]})
    assert (mistake.status, "0th dimension" in mistake.error) == (400, True)
