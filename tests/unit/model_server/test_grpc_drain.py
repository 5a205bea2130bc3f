"""A runtime that is told to end answers every call that has reached it over gRPC, and then ends."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from model_server.runtime import protobufs
from model_server.runtime.dtypes import DataType
from model_server.runtime.tensor_proto import proto_from_array

CALLS = 12
# Of 16 images a call is 4 KiB: 12 of them fit into a connection's first window, and outweigh their headers.
ROWS = 16


@pytest.fixture
def server(models, launch_server):
    running = launch_server(
        f"--model_base_path={models / 'digits'}", "--model_name=digits", "--enable_grpc_healthcheck_service"
    )
    running.wait_available("digits", 2)
    return running


def _request(rows: int) -> Any:
    request = protobufs.predict_pb2.PredictRequest()
    request.model_spec.name = "digits"
    images = np.zeros((rows, 8, 8, 1), np.float32)
    request.inputs["image"].CopyFrom(proto_from_array(images, DataType.FLOAT, as_content=True))
    return request


@contextlib.contextmanager
def _connected(server: Any) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        grpc.channel_ready_future(channel).result(60)
        yield channel


def _unread(port: int) -> int:
    """Bytes that wait in the sockets of connections to `port` until the server reads them."""
    tables = [Path(f"/proc/net/{name}").read_text(encoding="ascii") for name in ("tcp", "tcp6")]
    lines = [line.split() for table in tables for line in table.splitlines()]
    established, suffix = "01", f":{port:04X}"
    return sum(
        int(words[4].split(":")[1], 16) for words in lines if words[1].endswith(suffix) and words[3] == established
    )


def _stands_still(process: Any) -> bool:
    """Whether every thread has come to its stop: a signal takes effect only after it was sent."""
    states = [path.read_text(encoding="ascii") for path in Path(f"/proc/{process.pid}/task").glob("*/stat")]
    return all(state.rpartition(")")[2].split()[0] == "T" for state in states)


def test_calls_that_have_arrived_are_answered_after_sigterm(server):
    prediction, models = protobufs.prediction_services()
    # A batch of these takes long enough for the signal to come before the last of them is answered.
    request = _request(20_000)
    status = protobufs.get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "digits"
    with _connected(server) as channel:
        stub = prediction.PredictionServiceStub(channel)
        calls = [stub.Predict.future(request, timeout=120) for _ in range(CALLS)]
        # A connection's calls arrive in the order in which they were begun: with this one the others are there.
        models.ModelServiceStub(channel).GetModelStatus(status, timeout=120)
        server.process.send_signal(signal.SIGTERM)
        answers = [call.result(120) for call in calls]
    assert len(answers) == CALLS
    assert server.process.wait(60) == 0


def test_calls_that_wait_in_the_socket_when_sigterm_comes_are_answered(server, until):
    request = _request(ROWS)
    size = len(request.SerializeToString())
    with _connected(server) as channel:
        stub = protobufs.prediction_services()[0].PredictionServiceStub(channel)
        stub.Predict(request, timeout=60)
        server.process.send_signal(signal.SIGSTOP)
        until(lambda: _stands_still(server.process), "the server reads nothing any more")
        calls = [stub.Predict.future(request, timeout=120) for _ in range(CALLS)]
        until(lambda: _unread(server.grpc_port) >= CALLS * size, "all calls wait in the server's socket")
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGCONT)
        answers = [call.result(120) for call in calls]
    assert len(answers) == CALLS
    assert server.process.wait(60) == 0


def test_a_health_check_says_that_the_server_ends(server):
    with _connected(server) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        server.process.send_signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
    assert server.process.wait(60) == 0
