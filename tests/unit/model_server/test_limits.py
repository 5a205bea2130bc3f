"""What is refused at once: more requests than fit, requests that are too large, and what is past its deadline."""

from __future__ import annotations

import threading
from typing import Any

import grpc
import numpy as np
import pytest

from model_server.runtime import protobufs
from model_server.runtime.admission import Admission
from model_server.runtime.dtypes import DataType
from model_server.runtime.errors import Code, OverloadedError
from model_server.runtime.tensor_proto import proto_from_array
from model_server.turns import Turns

_LONG = {"signature_name": "slow", "instances": [200]}
_SHORT = {"signature_name": "slow", "instances": [1]}


@pytest.fixture(scope="module")
def narrow(models, launch_server):
    """A server with one worker, room for two requests, and small ones at that."""
    server = launch_server(
        "--model_name=kinds",
        f"--model_base_path={models / 'kinds'}",
        "--rest_api_num_threads=1",
        "--max_queued_requests=2",
        "--max_request_bytes=100000",
        f"--monitoring_config_file={_monitoring(models)}",
    )
    server.wait_available("kinds", 1)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield server, protobufs.prediction_services()[0].PredictionServiceStub(channel)


def _monitoring(folder: Any) -> Any:
    path = folder / "monitoring.config"
    path.write_text("prometheus_config { enable: true }")
    return path


def _slow_request(rounds: int) -> Any:
    request = protobufs.predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "kinds", "slow"
    request.inputs["rounds"].CopyFrom(proto_from_array(np.array([rounds], np.int32), DataType.INT32, as_content=True))
    return request


def _runs(server: Any) -> int:
    """How many times a graph was run."""
    page = server.get("/monitoring/prometheus/metrics").body.decode()
    counts = [line for line in page.splitlines() if line.startswith(":tensorflow:serving:runtime_latency_count")]
    return sum(int(line.rsplit(" ", 1)[1]) for line in counts)


class _Asking(threading.Thread):
    """Asks again and again until told to stop."""

    def __init__(self, server: Any, body: Any) -> None:
        super().__init__(daemon=True)
        self._server, self._body = server, body
        self._done = threading.Event()
        self.statuses: set[int] = set()

    def run(self) -> None:
        while not self._done.is_set():
            self.statuses.add(self._server.predict("kinds", self._body).status)

    def finish(self) -> None:
        self._done.set()
        self.join(60)


def test_what_does_not_fit_is_refused_at_once_and_told_when_to_come_again(narrow, until):
    server, stub = narrow
    asking = [_Asking(server, _LONG) for _ in range(4)]
    for thread in asking:
        thread.start()
    refused = until(lambda: (a := server.predict("kinds", _SHORT)).status == 429 and a, "a request is refused")
    error = until(lambda: _refusal(stub), "a request over gRPC is refused")
    for thread in asking:
        thread.finish()
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "2 requests are under way, as many as --max_queued_requests allows" in refused.error
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) >= 1000
    assert set().union(*(thread.statuses for thread in asking)) == {200, 429}
    assert server.predict("kinds", _SHORT).status == 200


def _refusal(stub: Any) -> Any:
    try:
        stub.Predict(_slow_request(1), timeout=30)
    except grpc.RpcError as error:
        return error
    return None


def _code(stub: Any, rounds: int, seconds: float) -> grpc.StatusCode:
    try:
        stub.Predict(_slow_request(rounds), timeout=seconds)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def test_what_is_past_its_deadline_when_its_turn_comes_is_not_begun(narrow, until):
    server, stub = narrow
    before = _runs(server)
    codes: list[grpc.StatusCode] = []
    # It keeps the only worker busy until its own deadline; a run that ends so is not counted.
    endless = threading.Thread(target=lambda: codes.append(_code(stub, 10_000_000, 4)))
    short: list[grpc.StatusCode] = []

    def given_up() -> bool:
        short.append(_code(stub, 1, 0.5))
        return short[-1] is grpc.StatusCode.DEADLINE_EXCEEDED

    endless.start()
    until(given_up, "a request waits behind the endless one for longer than it may")
    endless.join(60)
    assert codes == [grpc.StatusCode.DEADLINE_EXCEEDED]
    assert server.predict("kinds", _SHORT).status == 200
    assert _runs(server) - before == short.count(grpc.StatusCode.OK) + 1


def test_a_request_that_is_too_large_is_refused(narrow):
    server, stub = narrow
    assert server.predict("kinds", b" " * 100_001).status == 413
    request = _slow_request(1)
    request.inputs["more"].tensor_content = b"x" * 100_001
    with pytest.raises(grpc.RpcError, match="larger than max") as error:
        stub.Predict(request, timeout=30)
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_places_are_given_back_and_counted():
    admission = Admission(1, Turns())
    for _ in range(3):
        with admission, pytest.raises(OverloadedError) as refused, admission:
            pytest.fail("admitted")
        assert refused.value.code is Code.RESOURCE_EXHAUSTED
        assert refused.value.retry_seconds >= 1
    with admission:
        pass


async def test_who_waits_for_a_turn_is_counted_when_the_next_one_comes():
    turns = Turns()
    admission = Admission(1, turns)
    admission.check()
    turns.add(lambda: None)
    with pytest.raises(OverloadedError):
        admission.check()
    with admission:
        pass


def test_grpc_max_threads_bounds_the_calls_that_are_answered_at_the_same_time(models, launch_server, until):
    server = launch_server("--model_name=kinds", f"--model_base_path={models / 'kinds'}", "--grpc_max_threads=1")
    server.wait_available("kinds", 1)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        grpc.channel_ready_future(channel).result(60)
        stub = protobufs.prediction_services()[0].PredictionServiceStub(channel)
        calls = [stub.Predict.future(_slow_request(1500), timeout=120) for _ in range(10)]
        codes = {call.code() for call in calls}
        assert codes == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        # A client has its answer a moment before the server counts the call as over.
        until(
            lambda: stub.Predict.future(_slow_request(1), timeout=120).code() is grpc.StatusCode.OK, "the next is taken"
        )
