"""What the kubelet asks a runtime to find out whether it hangs: whoever is slow answers, and whoever hangs does not."""

from __future__ import annotations

import concurrent.futures
import shutil
import signal
import socket
from typing import Any

import pytest

_ENDLESS = {"instances": [-1]}


@pytest.fixture
def launch(models, launch_server, tmp_path):
    """A server of the model `runaway`, of one version, with one thread for requests; killed after the test."""
    started = []

    def start(number: int, *flags: str) -> Any:
        base = tmp_path / "runaway"
        shutil.copytree(models / "runaway" / str(number), base / str(number))
        few = ("--rest_api_num_threads=1", "--tensorflow_inter_op_parallelism=1")
        server = launch_server("--model_name=runaway", f"--model_base_path={base}", *few, *flags)
        started.append(server)
        return server

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()


def _live(server: Any) -> int:
    status: int = server.request("GET", "/v2/health/live", timeout=30).status
    return status


def test_it_is_answered_while_every_thread_computes_and_predictions_are_refused(launch, until):
    server = launch(1, "--max_queued_requests=8", "--rest_api_timeout_in_ms=600000", "--max_timeout_in_ms=600000")
    server.wait_available("runaway", 1)
    with concurrent.futures.ThreadPoolExecutor(9) as threads:
        path = "/v1/models/runaway:predict"
        asked = [threads.submit(server.request, "POST", path, _ENDLESS, timeout=600) for _ in range(9)]
        try:
            # Whichever comes last; a tenth that came before it would wait for a place for ever.
            until(lambda: any(one.done() for one in asked), "there is no room for one")
            assert [one.result().status for one in asked if one.done()] == [429]
            assert server.predict("runaway", {"instances": [1]}).status == 429
            assert [_live(server) for _ in range(20)] == [200] * 20
        finally:
            server.process.kill()


def test_it_is_answered_while_the_only_version_loads(launch, until):
    server = launch(2, "--max_timeout_in_ms=600000")
    until(lambda: server.states("runaway") == {2: "LOADING"}, "its warm-up loops")
    assert _live(server) == 200
    assert server.get("/v2/health/ready").status == 503


def test_it_is_not_answered_by_a_process_that_hangs_with_its_port_open(launch):
    server = launch(1)
    server.wait_available("runaway", 1)
    server.process.send_signal(signal.SIGSTOP)
    with socket.create_connection(("127.0.0.1", server.port), 30):
        pass  # which is all that a look at the port finds out
    with pytest.raises(TimeoutError):
        server.request("GET", "/v2/health/live", timeout=2)
