"""Clients that stay connected and say nothing cost little, and keep nobody else from being answered."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import grpc

from model_server.runtime import protobufs

# `make idle-clients` has 10,000.
_CLIENTS = int(os.environ.get("IDLE_CLIENTS", "300"))
_BYTES_PER_CLIENT = 64 * 1024
_GROWTH_BYTES = 32 * 1024 * 1024
# HTTP/2's preface and an empty SETTINGS frame: a gRPC client that has nothing to ask yet.
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def _resident(server: Any) -> int:
    pages = Path(f"/proc/{server.process.pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_idle_clients_of_both_protocols_are_kept_and_cost_little(models, launch_server, until):
    server = launch_server(f"--model_base_path={models / 'kinds'}", "--model_name=kinds")
    server.wait_available("kinds", 1)
    files = Path(f"/proc/{server.process.pid}/fd")
    before, memory = len(list(files.iterdir())), _resident(server)
    status = protobufs.get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "kinds"
    with contextlib.ExitStack() as stack:
        rest: list[socket.socket] = []
        rpc: list[socket.socket] = []
        for _ in range(_CLIENTS // 2):
            for clients, port in ((rest, server.port), (rpc, server.grpc_port)):
                client = socket.create_connection(("127.0.0.1", port), timeout=30)
                stack.callback(client.close)
                clients.append(client)
            rpc[-1].sendall(_HTTP2)
        until(lambda: len(list(files.iterdir())) >= _CLIENTS // 2 * 2, "the clients are connected")
        assert server.get("/v1/models/kinds").status == 200
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            stub = protobufs.prediction_services()[1].ModelServiceStub(channel)
            assert stub.GetModelStatus(status, timeout=30).model_version_status
        for client in rest[::10]:
            client.sendall(b"GET /v1/models/kinds HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        assert all(client.recv(9)[3:4] == b"\x04" for client in rpc[::10]), "the server's SETTINGS"
        assert _resident(server) - memory < _GROWTH_BYTES + _CLIENTS * _BYTES_PER_CLIENT
    until(lambda: len(list(files.iterdir())) < before + 50, "the clients' connections are gone")
    assert server.get("/v1/models/kinds").status == 200
