"""Graphs that loop for ever or need more memory than there is: the client is told, and everybody else is answered."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import os
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from model_server.runtime import protobufs
from model_server.runtime.dtypes import DataType
from model_server.runtime.tensor_proto import proto_from_array
from model_server.runtime.workers import Workers

_ENDLESS, _SHORT = -1, 1
_UNENDING_SECONDS = 600


@pytest.fixture
def launch(models, launch_server, tmp_path) -> Iterator[Callable[..., Any]]:
    """A server of the model `runaway`, version 1, with one thread for each kind of work; killed after the test."""
    started = []
    base = tmp_path / "runaway"
    shutil.copytree(models / "runaway" / "1", base / "1")

    def start(*flags: str) -> Any:
        server = launch_server(
            "--model_name=runaway",
            f"--model_base_path={base}",
            "--rest_api_num_threads=1",
            "--tensorflow_inter_op_parallelism=1",
            *flags,
        )
        started.append(server)
        server.wait_available("runaway", 1)
        return server

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def stub_of() -> Iterator[Callable[[Any], Any]]:
    """`stub_of(server)`: a gRPC client."""
    channels = []

    def connect(server: Any) -> Any:
        channels.append(grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}"))
        return protobufs.prediction_services()[0].PredictionServiceStub(channels[-1])

    yield connect
    for channel in channels:
        channel.close()


def _request(x: int, signature: str = "serving_default") -> Any:
    request = protobufs.predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "runaway", signature
    request.inputs["x"].CopyFrom(proto_from_array(np.array([x], np.int32), DataType.INT32, as_content=True))
    return request


def _answer(server: Any, x: int, signature: str = "serving_default") -> Any:
    return server.predict("runaway", {"signature_name": signature, "instances": [x]})


def _connected(server: Any) -> int:
    """Clients of the REST port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()]
    established, suffix = "01", f":{server.port:04X}"
    return sum(words[1].endswith(suffix) and words[3] == established for words in lines)


def _runnable(server: Any) -> set[str]:
    """The threads of the server that compute, or would if the machine let them."""
    found = set()
    for task in Path(f"/proc/{server.process.pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it has just ended
            if (task / "stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "R":
                found.add(task.name)
    return found


def _burns(server: Any) -> bool:
    """Whether a thread of the server never rests."""
    steady = _runnable(server)
    for _ in range(10):
        time.sleep(0.03)
        steady &= _runnable(server)
    return bool(steady)


@pytest.mark.parametrize("flags", [(), ("--enable_batching",)], ids=["each by itself", "batches"])
def test_a_deadline_ends_the_answer_and_the_run(launch, stub_of, until, flags):
    server = launch("--rest_api_timeout_in_ms=1500", "--max_timeout_in_ms=2500", *flags)
    stub = stub_of(server)
    until(lambda: _answer(server, _SHORT).status == 200, "it answers")
    answer = _answer(server, _ENDLESS)
    assert (answer.status, answer.error) == (504, "Timed out waiting for the prediction")
    with pytest.raises(grpc.RpcError) as bounded:
        stub.Predict(_request(_ENDLESS), timeout=1)
    assert bounded.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    with pytest.raises(grpc.RpcError, match="no request may take longer than --max_timeout_in_ms=2500") as unbounded:
        stub.Predict(_request(_ENDLESS))
    assert unbounded.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    until(lambda: not _burns(server), "the loops have ended")
    until(lambda: _answer(server, _SHORT).status == 200, "it still answers")


@pytest.mark.parametrize("batches", [False, True], ids=["each by itself", "batches"])
def test_others_are_answered_while_graphs_loop(launch, stub_of, until, tmp_path, batches):
    parameters = tmp_path / "batching.config"
    parameters.write_text("num_batch_threads { value: 1 }")
    flags = ("--enable_batching", f"--batching_parameters_file={parameters}") if batches else ()
    server = launch(f"--max_timeout_in_ms={_UNENDING_SECONDS}000", *flags)
    stub = stub_of(server)
    # In a batch with a short one it would not loop.
    count = 1 if batches else 3
    endless = [stub.Predict.future(_request(_ENDLESS), timeout=_UNENDING_SECONDS) for _ in range(count)]
    until(lambda: _burns(server), "a graph loops")
    for _ in range(3):
        assert _answer(server, _SHORT).json == {"predictions": [1]}
    assert not any(call.done() for call in endless)


def _loop_compiled(server: Any, stub: Any, until: Any) -> None:
    """Have a loop begin that TensorFlow cannot end, and give up waiting for it after a second."""
    # XLA compiles within the first request, which may take its time.
    assert _answer(server, _SHORT, "compiled").json == {"predictions": [1]}

    def goes_on() -> bool:
        with pytest.raises(grpc.RpcError) as given_up:
            stub.Predict(_request(_ENDLESS, "compiled"), timeout=1)
        assert given_up.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        return _burns(server)

    until(goes_on, "the loop has begun, and does not end")


def test_a_loop_that_cannot_be_ended_ends_the_process(launch, stub_of, until):
    server = launch("--max_overtime_in_ms=2000")
    _loop_compiled(server, stub_of(server), until)
    assert server.process.wait(60) == 255
    run = 'signature "compiled" of runaway version 1'
    assert f"{run} still runs 2 s after its deadline: TensorFlow cannot end it" in server.log
    assert (
        server.log.rstrip().splitlines()[-1].startswith(f"The server has to end. Error: {run} did not end at the dead")
    )


def test_a_loop_that_cannot_be_ended_does_not_hold_up_the_change_of_versions(models, launch, stub_of, tmp_path, until):
    server = launch("--max_overtime_in_ms=2000", "--rest_api_num_threads=2")
    _loop_compiled(server, stub_of(server), until)
    until(lambda: "TensorFlow cannot end it" in server.log, "the run is overdue")
    assert _answer(server, _SHORT).json == {"predictions": [1]}
    shutil.copytree(models / "runaway" / "1", tmp_path / "3")
    (tmp_path / "3").rename(tmp_path / "runaway" / "3")
    assert server.process.wait(60) == 255
    assert "runaway version 3 is available" in server.log
    assert 'signature "compiled" of runaway version 1 did not end at the deadline' in server.log


def _add_looping_version(models: Path, folder: Path) -> Path:
    """The folder of version 2, whose warm-up loops, beside version 1."""
    shutil.copytree(models / "runaway" / "2", folder / "2")
    return (folder / "2").rename(folder / "runaway" / "2")


def test_a_version_answers_while_another_loops_at_warm_up(models, launch, tmp_path, until):
    server = launch(f"--max_timeout_in_ms={_UNENDING_SECONDS}000")
    _add_looping_version(models, tmp_path)
    until(lambda: server.states("runaway").get(2) == "LOADING" and _burns(server), "the warm-up loops")
    for _ in range(3):
        assert _answer(server, _SHORT).json == {"predictions": [1]}
    assert server.states("runaway") == {1: "AVAILABLE", 2: "LOADING"}


def test_a_version_that_loops_at_warm_up_is_not_exposed(models, launch, tmp_path, until):
    server = launch("--max_timeout_in_ms=2000", "--max_num_load_retries=0")
    folder = _add_looping_version(models, tmp_path)
    until(lambda: server.states("runaway") == {1: "AVAILABLE", 2: "END"}, "version 2 is given up")
    (failed,) = [v for v in server.get("/v1/models/runaway").json["model_version_status"] if v["version"] == "2"]
    assert failed["status"] == {
        "error_code": "DEADLINE_EXCEEDED",
        "error_message": f"record 0 of {folder}/assets.extra/tf_serving_warmup_requests is not answered by signature "
        '"serving_default" within --max_timeout_in_ms=2000: its graph loops for ever, or is too slow to serve',
    }
    until(lambda: not _burns(server), "the warm-up has ended")
    until(lambda: _answer(server, _SHORT).status == 200, "version 1 answers")


def test_a_graph_that_gets_no_memory_fails_alone(launch):
    server = launch()
    assert _answer(server, 0, "memory").status == 400, "no GiB has no first element"
    # What the kernel refuses here, a container's limit would answer with SIGKILL.
    used = int(Path(f"/proc/{server.process.pid}/statm").read_text(encoding="ascii").split()[0])
    limit = used * os.sysconf("SC_PAGE_SIZE") + 2**31
    resource.prlimit(server.process.pid, resource.RLIMIT_AS, (limit, limit))
    answer = _answer(server, 64, "memory")
    assert answer.status == 429
    assert "OOM when allocating tensor with shape[17179869184]" in answer.error
    assert _answer(server, _SHORT).json == {"predictions": [1]}


def test_workers_grow_and_shrink(until):
    gate, workers = threading.Event(), Workers(1)
    waiting = [workers.submit(gate.wait) for _ in range(3)]
    until(lambda: [one.running() for one in waiting] == [True, False, False], "the only thread is taken")
    workers.add(1)
    until(lambda: [one.running() for one in waiting] == [True, True, False], "one more")
    workers.add(0)
    gate.set()
    assert all(one.result(60) for one in waiting)
    until(lambda: workers._started == 1, "it has ended")
    with pytest.raises(ZeroDivisionError):
        workers.submit(lambda: 1 / 0).result(60)


DRAINS = {"a request of 20 s has 1 s": (20_000, 1_000), "a request of 5 s has an hour": (5_000, 3_600_000)}


@pytest.mark.parametrize(("takes_ms", "has_ms"), DRAINS.values(), ids=DRAINS.keys())
def test_a_process_that_ends_waits_for_requests_as_long_as_it_was_told(launch, stub_of, until, takes_ms, has_ms):
    """Their graphs end at their deadline, of which the server tells the client: an answer like any other."""
    server = launch(
        f"--max_drain_in_ms={has_ms}", f"--max_timeout_in_ms={takes_ms}", f"--rest_api_timeout_in_ms={takes_ms}"
    )
    over_grpc = stub_of(server).Predict.future(_request(_ENDLESS))
    with concurrent.futures.ThreadPoolExecutor() as threads:
        over_rest = threads.submit(_answer, server, _ENDLESS)
        until(lambda: _connected(server) == 1 and _burns(server), "both are under way")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        if takes_ms < has_ms:
            assert over_rest.result().status == 504
            assert over_grpc.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        else:
            with pytest.raises((http.client.HTTPException, OSError)):
                over_rest.result()
            assert over_grpc.code() is grpc.StatusCode.UNAVAILABLE
