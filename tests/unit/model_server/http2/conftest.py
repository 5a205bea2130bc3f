"""One server process, with small limits, and clients that send it frames of their own making."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.model_server.http2.raw_client import Connection

MAX_REQUEST_BYTES = 1_000_000


def resident(server: Any) -> int:
    """Bytes of memory that the server's process holds."""
    pages = Path(f"/proc/{server.process.pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="session")
def grpc_server(models, launch_server) -> Any:
    """A server of the models `kinds` and health that takes requests of up to 1 MB."""
    server = launch_server(
        *("--model_name=kinds", f"--model_base_path={models / 'kinds'}"),
        *(f"--max_request_bytes={MAX_REQUEST_BYTES}", "--enable_grpc_healthcheck_service=true"),
    )
    server.wait_available("kinds", 1)
    with Connection(server.grpc_port) as connection:
        assert connection.call().status == 0
    return server


@pytest.fixture
def connect(grpc_server) -> Iterator[Callable[..., Connection]]:
    """`connect(settings, …)`: a connection of a test's own; at the end the server still answers others."""
    opened: list[Connection] = []

    def one(*arguments: Any, **words: Any) -> Connection:
        opened.append(Connection(grpc_server.grpc_port, *arguments, **words))
        return opened[-1]

    yield one
    for connection in opened:
        connection.socket.close()
    with Connection(grpc_server.grpc_port) as another:
        assert another.call().status == 0
    assert grpc_server.process.poll() is None, grpc_server.log


@pytest.fixture
def connection(connect) -> Connection:
    """A connection whose windows leave the server free to send."""
    client: Connection = connect()
    return client
