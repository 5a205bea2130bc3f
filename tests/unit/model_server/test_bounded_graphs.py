"""Which signatures may run on the event loop's thread: those whose work the shapes of their inputs bound."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import gzip
import json
import weakref
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from model_server.runtime import protobufs
from model_server.runtime.bounded_graphs import BoundedGraphs
from model_server.runtime.run_times import RunTimes
from model_server.runtime.savedmodel import read_interface
from model_server.turns import Together, Turns, begin, in_task


def _bounds(graph: str) -> bool:
    meta_graph = type(protobufs.SavedModel().meta_graphs.add())()
    text_format.Parse(f"graph_def {{ {graph} }}", meta_graph)
    return BoundedGraphs(meta_graph.graph_def).bounds(["y:0"])


_TWO = 'input: "p" input: "sizes"'
_ITSELF = 'attr { key: "f" value { func { name: "f" } } }'
_COMPILED = 'library { function { signature { name: "f" } attr { key: "_XlaMustCompile" value { b: true } } } }'
_X = 'node { name: "x" op: "Placeholder" }'
_SHAPE = f'{_X} node {{ name: "s" op: "Shape" input: "x" }} node {{ name: "n" op: "StridedSlice" input: "s" }}'
_FILL = 'node { name: "y" op: "Fill" input: "sizes" input: "x" }'
_CALL = 'node { name: "y" op: "PartitionedCall" input: "x" attr { key: "f" value { func { name: "f" } } } }'


def _function(op: str, more: str = "") -> str:
    return f'library {{ function {{ signature {{ name: "f" }} node_def {{ name: "a" op: "{op}" {more} }} }} }}'


@pytest.mark.parametrize(
    ("graph", "bounded"),
    [
        (f'{_X} node {{ name: "y" op: "Relu" input: "x:0" }}', True),
        (f'{_X} node {{ name: "y" op: "While" input: "x" }}', False),
        (f'{_X} node {{ name: "y" op: "NobodyKnows" input: "x" }}', False),
        (f'{_X} node {{ name: "y" op: "Identity" input: "x" input: "^w" }} node {{ name: "w" op: "PyFunc" }}', False),
        (f'{_X} node {{ name: "y" op: "Identity" input: "x" }} node {{ name: "w" op: "While" }}', True),
        ('node { name: "y" op: "Identity" input: "gone" }', False),
        (f'{_X} node {{ name: "c" op: "Const" }} node {{ name: "y" op: "Fill" input: "c" input: "x" }}', True),
        (f'{_X} node {{ name: "c" op: "Const" }} node {{ name: "y" op: "Fill" input: "x" input: "c" }}', False),
        (f'{_SHAPE} node {{ name: "sizes" op: "Pack" input: "n" input: "n" input: "^x" }} {_FILL}', True),
        (f'{_SHAPE} node {{ name: "sizes" op: "Pack" input: "n" input: "x" }} {_FILL}', False),
        (f'{_SHAPE} node {{ name: "sizes" op: "ReadVariableOp" input: "n" }} {_FILL}', False),
        (f'{_SHAPE} node {{ name: "y" op: "Range" input: "n" input: "s" input: "n" }}', True),
        (f'{_SHAPE} node {{ name: "y" op: "Range" input: "n" input: "n" input: "x" }}', False),
        (f"{_X} {_CALL} {_function('Relu')}", True),
        (f"{_X} {_CALL} {_function('StatelessWhile')}", False),
        (f"{_X} {_CALL} {_function('Pad', _TWO)}", False),
        (f"{_X} {_CALL}", False),
        (f"{_X} {_CALL} {_function('PartitionedCall', _ITSELF)}", False),
        (f"{_X} {_CALL} {_COMPILED}", False),
    ],
    ids=[
        *("layer", "loop", "unknown", "control", "elsewhere", "missing", "constant-size", "size-is-a-value"),
        *("size-of-shapes", "size-of-shapes-and-a-value", "size-is-a-variable", "range", "range-by-a-value"),
        *("function", "loop-in-function", "size-is-an-argument", "no-function", "recursion", "compiled"),
    ],
)
def test_what_is_bounded(graph, bounded):
    assert _bounds(graph) is bounded


@pytest.mark.parametrize(
    ("model", "bounded"),
    [("digits", {"serving_default"}), ("runaway", set()), ("kinds", {"echo", "rare", "scalar", "total", "logarithm"})],
)
def test_signatures_as_keras_and_tensorflow_write_them(models, model, bounded):
    interface = read_interface(models / model / "1", ["serve"])
    assert {name for name, signature in interface.signatures.items() if signature.bounded} == bounded


def test_the_shortest_of_eight_runs_counts_until_eight_more():
    times = RunTimes()
    for seconds in (*[5.0] * 6, 1.0):
        times.add("a", seconds)
    assert times.seconds("a") == times.least == float("inf")
    times.add("a", 5.0)
    assert times.seconds("a") == times.least == 1.0
    for _ in range(8):
        times.add("a", 3.0)
    assert times.seconds("a") == 3.0


def test_shapes_of_the_clients_choice_do_not_fill_the_memory():
    times = RunTimes()
    for shape in range(2000):
        for _ in range(8):
            times.add(shape, 1.0)
    assert len(times._runs) <= 256
    assert len(times._shortest) <= 256


async def test_turns_come_in_order_and_let_the_event_loop_in():
    turns, called = Turns(), list[Any]()
    loop = asyncio.get_running_loop()
    turns.add(lambda: called.append(("first", len(turns))))
    loop.call_soon(called.append, "event")
    assert len(turns) == 1
    assert await turns.take(lambda: _asking("answer", called)) == "answer"
    assert called == [("first", 1), "read answer", "run answer", "event"]
    with pytest.raises(ZeroDivisionError):
        await turns.take(lambda: _asking("", called))


async def _asking(name: str, called: list[Any], seconds: float = 0.0) -> str:
    """Reads, runs and answers; without a name its run fails."""
    called.append(f"read {name}")
    ran: str = await Together(lambda: f"run {name}" if name else 1 / 0, seconds)
    called.append(ran)
    return name


async def test_in_one_slice_all_is_read_then_run_then_answered():
    turns, called = Turns(), list[Any]()
    asking = [turns.take(functools.partial(_asking, name, called)) for name in ("a", "", "b")]
    assert [str(found) for found in await asyncio.gather(*asking, return_exceptions=True)] == [
        "a",
        "division by zero",
        "b",
    ]
    assert called == ["read a", "read ", "read b", "run a", "run b"]


async def test_no_more_is_read_for_one_slice_than_can_be_run_in_it():
    turns, called = Turns(), list[Any]()
    await asyncio.gather(*[turns.take(functools.partial(_asking, name, called, 1)) for name in "ab"])
    assert called == ["read a", "run a", "read b", "run b"]


class _Tensor:
    """What is large, and must go when it is not needed any more."""


async def test_what_a_turn_held_is_free_when_it_is_over():
    async def asking(tensor: _Tensor) -> _Tensor:
        same: _Tensor = await Together(lambda: tensor, 0.0)
        return same

    tensor = _Tensor()
    held = weakref.ref(tensor)
    gc.disable()
    try:
        assert await Turns().take(functools.partial(asking, tensor)) is tensor
        del tensor
        await asyncio.sleep(0)
        assert held() is None
    finally:
        gc.enable()


async def test_who_gives_up_before_its_turn_is_not_begun():
    turns, called = Turns(), list[Any]()
    asking = asyncio.create_task(turns.take(lambda: _asking("a", called)))
    await asyncio.sleep(0)
    assert len(turns) == 1
    asking.cancel()
    assert await turns.take(lambda: _asking("b", called)) == "b"
    assert called == ["read b", "run b"]


async def test_a_coroutine_that_does_not_wait_is_answered_at_once_and_another_goes_on_as_a_task():
    async def answer(waits: bool) -> str:
        if waits:
            await in_task()
            async with asyncio.timeout(60):
                await asyncio.sleep(0)
        return "answer"

    assert begin(answer(False)) == "answer"
    outside = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: outside.set_result(begin(answer(True))))
    begun: Any
    for begun in (await outside, begin(answer(True)), begin(Turns().take(lambda: answer(False)))):
        assert await asyncio.create_task(begun) == "answer"


def _switches(server: Any) -> int:
    """How often threads of the server other than the event loop's have been woken up."""
    found = 0
    for task in Path(f"/proc/{server.process.pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it has just ended
            if task.name != str(server.process.pid):
                status = (task / "status").read_text(encoding="ascii")
                found += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return found


def test_small_requests_of_short_runs_are_answered_without_another_thread(models, launch_server, until):
    # With more than one thread within operations, TensorFlow shares out even these.
    base = f"--model_base_path={models / 'digits'}"
    server = launch_server("--model_name=digits", base, "--tensorflow_session_parallelism=1")
    server.wait_available("digits", 2)
    image = {"instances": [[[[0.5]] * 8] * 8]}
    first = server.predict("digits", image).json

    def alone() -> bool:
        before = _switches(server)
        assert all(server.predict("digits", image).json == first for _ in range(200))
        return _switches(server) - before < 100

    until(alone, "200 requests wake up less than 100 threads")
    body, headers = gzip.compress(json.dumps(image).encode()), {"Content-Encoding": "gzip"}
    assert server.predict("digits", body, headers).json == first
    # Where the short way ends, everything else still works as before.
    assert server.predict("digits", {"instances": [[0.5]]}).status == 400
    assert server.predict("digits", json.dumps(image)[:-1].encode()).status == 400
    assert len(server.predict("digits", {"instances": image["instances"] * 3}).json["predictions"]) == 3
