"""A server that ends under clients that stay connected and never pause, as behind a Service: they lose no call."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import grpc
import pytest
from tensorflow import make_tensor_proto
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

CLIENTS = 8


class Relay:
    """Gives each new connection to the server that is behind it then, as kube-proxy does, and leaves old ones alone."""

    def __init__(self, port: int) -> None:
        self.target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=_copy, args=(one, other), daemon=True).start()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


class Client(threading.Thread):
    """Calls over one channel, one call after the other, until it is told to end."""

    def __init__(self, port: int, request: predict_pb2.PredictRequest) -> None:
        super().__init__(daemon=True)
        self._port, self._request = port, request
        self.answered = 0
        self.failures: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{self._port}", options) as channel:
            predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
            while not self.over.is_set():
                try:
                    predict(self._request, timeout=20)
                    self.answered += 1
                except grpc.RpcError as error:
                    self.failures.append(f"{error.code()}: {error.details()}")


@pytest.fixture
def relay() -> Iterator[Relay]:
    made = Relay(0)
    yield made
    made.close()


def test_clients_that_never_pause_lose_no_call(models, launch_server, digits, relay, until):
    arguments = (f"--model_base_path={models / 'digits'}", "--model_name=digits")
    ends, stays = launch_server(*arguments), launch_server(*arguments)
    for server in (ends, stays):
        server.wait_available("digits", 2)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "digits"
    request.inputs["image"].CopyFrom(make_tensor_proto(digits[2]["image"][:1]))
    relay.target = ends.grpc_port
    clients = [Client(relay.port, request) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    until(lambda: all(client.answered > 100 for client in clients), "every client is answered")
    relay.target = stays.grpc_port
    assert ends.terminate() == 0
    before = [client.answered for client in clients]
    until(lambda: all(client.answered > was + 100 for client, was in zip(clients, before, strict=True)), "they go on")
    for client in clients:
        client.over.set()
        client.join()
    assert [failure for client in clients for failure in client.failures] == []
