"""The clients that people use: gRPC's own in C and in Go, and curl."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from devcluster.build import binary, build_all
from devcluster.places import here
from model_server.runtime import protobufs
from model_server.runtime.dtypes import DataType
from model_server.runtime.tensor_proto import array_from_proto, proto_from_array

_SERVING = health_pb2.HealthCheckResponse.SERVING
_CALLS = 20_000
_WAYS = ("port", "socket", "TLS", "TLS for known clients")


def _pem(folder: Any, name: str) -> tuple[bytes, bytes]:
    """A key and a certificate for localhost that signs itself."""
    key, cert = folder / f"{name}.key", folder / f"{name}.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *names, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return key.read_bytes(), cert.read_bytes()


@pytest.fixture(scope="module")
def addresses(models, launch_server, tmp_path_factory) -> dict[str, tuple[str, Any]]:
    """For each way to a server its address and its client's credentials."""
    folder = tmp_path_factory.mktemp("tls")
    (key, cert), (client_key, client_cert) = _pem(folder, "server"), _pem(folder, "client")
    found: dict[str, tuple[str, Any]] = {"socket": (f"unix:{folder / 'grpc.sock'}", None)}
    for way in ("port", "TLS", "TLS for known clients"):
        flags = ["--model_name=kinds", f"--model_base_path={models / 'kinds'}", "--enable_grpc_healthcheck_service"]
        credentials = None
        if way == "port":
            flags.append(f"--grpc_socket_path={folder / 'grpc.sock'}")
        else:
            known = way == "TLS for known clients"
            texts = {"server_key": key, "server_cert": cert, **({"custom_ca": client_cert} if known else {})}
            lines = [f"{name}: {json.dumps(text.decode())}" for name, text in texts.items()]
            config = folder / f"{way}.config"
            config.write_text("\n".join([*lines, f"client_verify: {str(known).lower()}"]))
            flags.append(f"--ssl_config_file={config}")
            own = (client_key, client_cert) if known else (None, None)
            credentials = grpc.ssl_channel_credentials(cert, *own)
        server = launch_server(*flags)
        server.wait_available("kinds", 1)
        found[way] = (f"localhost:{server.grpc_port}", credentials)
    return found


@pytest.fixture(params=_WAYS)
def channel(request, addresses) -> Iterator[grpc.Channel]:
    address, credentials = addresses[request.param]
    opened = grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)
    with opened as channel:
        yield channel


def _request(rows: int) -> Any:
    request = protobufs.predict_pb2.PredictRequest()
    request.model_spec.name = "kinds"
    request.inputs["a"].CopyFrom(proto_from_array(np.ones((rows, 2), np.float32), DataType.FLOAT, as_content=True))
    request.inputs["b"].CopyFrom(proto_from_array(np.arange(rows, dtype=np.int32), DataType.INT32, as_content=True))
    return request


def _assert_right(response: Any, rows: int) -> None:
    np.testing.assert_array_equal(array_from_proto("sum", response.outputs["sum"])[0][:, 0], np.arange(rows) + 1.0)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        pytest.param(1, {}, id="small"),
        pytest.param(1, {"timeout": 100}, id="with a deadline"),
        pytest.param(50_000, {}, id="larger than all windows"),
        pytest.param(20_000, {"compression": grpc.Compression.Gzip}, id="gzip"),
        pytest.param(20_000, {"compression": grpc.Compression.Deflate}, id="deflate"),
        pytest.param(1, {"metadata": (("x-key", "value"), ("x-key-bin", bytes(range(256))))}, id="with metadata"),
    ],
)
def test_grpcs_own_client_is_answered(channel, rows, words):
    stub = protobufs.prediction_services()[0].PredictionServiceStub(channel)
    _assert_right(stub.Predict(_request(rows), **words), rows)


def test_many_calls_at_once_share_a_connection(channel):
    stub = protobufs.prediction_services()[0].PredictionServiceStub(channel)
    calls = [stub.Predict.future(_request(rows), timeout=120) for rows in range(1, 201)]
    for rows, call in enumerate(calls, 1):
        _assert_right(call.result(), rows)


def test_health_is_checked_and_watched(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    assert stub.Check(health_pb2.HealthCheckRequest(), timeout=60).status == _SERVING
    with pytest.raises(grpc.RpcError) as unknown:
        stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=60)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    watches = [stub.Watch(health_pb2.HealthCheckRequest(service=name), timeout=60) for name in ("", "nobody")]
    expected = (_SERVING, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
    assert tuple(next(watch).status for watch in watches) == expected
    for watch in watches:
        watch.cancel()
        with pytest.raises(grpc.RpcError):
            next(watch)
    assert stub.Check(health_pb2.HealthCheckRequest(), timeout=60).status == _SERVING


def test_calls_that_are_given_up_disturb_no_other(channel):
    stub = protobufs.prediction_services()[0].PredictionServiceStub(channel)
    given_up = [stub.Predict.future(_request(20_000), timeout=60) for _ in range(50)]
    kept = stub.Predict.future(_request(7), timeout=60)
    for call in given_up:
        call.cancel()
    _assert_right(kept.result(), 7)


def test_tls_agrees_on_http2(addresses):
    name, _, port = addresses["TLS"][0].rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1", "h2"])
    with (
        socket.create_connection((name, int(port)), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        assert secured.selected_alpn_protocol() == "h2"
        assert secured.version() in {"TLSv1.2", "TLSv1.3"}


def test_clients_in_many_threads_whose_connections_end_all_the_time_lose_no_call(short_lived):
    def call(channel: grpc.Channel) -> int:
        check = health_pb2_grpc.HealthStub(channel).Check
        return sum(check(health_pb2.HealthCheckRequest(), timeout=60).status == _SERVING for _ in range(300))

    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(f"127.0.0.1:{short_lived.grpc_port}", options) for _ in range(8)]
    with ThreadPoolExecutor(len(channels)) as pool:
        assert sum(pool.map(call, channels)) == 300 * len(channels)
    for channel in channels:
        channel.close()


@pytest.fixture(scope="module")
def short_lived(models, launch_server) -> Any:
    """A server that sends each connection away after a quarter of a second."""
    server = launch_server(
        *("--model_name=kinds", f"--model_base_path={models / 'kinds'}", "--enable_grpc_healthcheck_service"),
        "--grpc_channel_arguments=grpc.max_connection_age_ms=250",
    )
    server.wait_available("kinds", 1)
    return server


def test_clients_in_go_whose_connections_end_all_the_time_lose_no_call(short_lived):
    """A client that is sent away takes what it had begun to another connection, and its caller does not see it."""
    build_all(here(), ["grpc-client"])
    command = [str(binary(here(), "grpc-client")), f"-address=127.0.0.1:{short_lived.grpc_port}", f"-calls={_CALLS}"]
    done = subprocess.run(
        [*command, "-connections=20", "-each=2"], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"OK": _CALLS}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_is_answered(addresses, tmp_path):
    body, answer = tmp_path / "body", tmp_path / "answer"
    body.write_bytes(bytes(5))
    command = ["curl", "--silent", "--show-error", "--http2-prior-knowledge", "--data-binary", f"@{body}"]
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers", "--output", str(answer)]
    url = f"http://{addresses['port'][0]}/grpc.health.v1.Health/Check"
    done = subprocess.run(
        [*command, *headers, "--write-out", "%{http_code} %{http_version}", url],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr, answer.read_bytes()) == ("200 2", "", b"\0\0\0\0\x02\x08\x01")
