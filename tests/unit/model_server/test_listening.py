"""Where the gRPC server listens: with TLS on a port, or on a socket in the file system."""

from __future__ import annotations

import subprocess
from typing import Any

import grpc
import pytest

from model_server.runtime import protobufs


def _pem(folder: Any, name: str) -> tuple[str, str]:
    """A key and a certificate for localhost that signs itself."""
    key, cert = folder / f"{name}.key", folder / f"{name}.crt"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *names, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return key.read_text(), cert.read_text()


def _config(path: Any, **fields: str) -> Any:
    quoted = {name: "'" + text.replace("\n", "\\n") + "'" for name, text in fields.items()}
    path.write_text("\n".join(f"{name}: {text}" for name, text in quoted.items()))
    return path


def _versions(channel: grpc.Channel) -> list[int]:
    stub = protobufs.prediction_services()[1].ModelServiceStub(channel)
    request = protobufs.get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "digits"
    return [status.version for status in stub.GetModelStatus(request, timeout=10).model_version_status]


@pytest.fixture(scope="module")
def pems(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pem")
    return folder, _pem(folder, "server"), _pem(folder, "client")


def test_tls_with_a_certificate_asked_of_the_client(models, launch_server, pems):
    folder, (key, cert), (client_key, client_cert) = pems
    config = _config(folder / "ssl.config", server_key=key, server_cert=cert, custom_ca=client_cert)
    config.write_text(config.read_text() + "\nclient_verify: true")
    server = launch_server(
        "--model_name=digits", f"--model_base_path={models / 'digits'}", f"--ssl_config_file={config}"
    )
    server.wait_available("digits", 2)
    address = f"localhost:{server.grpc_port}"
    known = grpc.ssl_channel_credentials(cert.encode(), client_key.encode(), client_cert.encode())
    with grpc.secure_channel(address, known) as channel:
        assert _versions(channel) == [2]
    for unknown in (grpc.ssl_channel_credentials(cert.encode()), None):
        opened = grpc.secure_channel(address, unknown) if unknown else grpc.insecure_channel(address)
        with opened as channel, pytest.raises(grpc.RpcError) as refused:
            _versions(channel)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"server_cert": "x"}, "server_key is empty, it has to hold a text in PEM format"),
        ({"server_key": "x", "server_cert": "y"}, "server_key and server_cert are no pair of texts in PEM format"),
        ({"key": "x"}, "is not a valid text-format SSLConfig"),
    ],
)
def test_a_damaged_ssl_config_is_refused_at_the_start(launch_server, models, tmp_path, fields, message):
    config = _config(tmp_path / "ssl.config", **fields)
    server = launch_server(f"--model_base_path={models / 'digits'}", f"--ssl_config_file={config}", wait=False)
    assert server.process.wait(60) == 255
    assert message in server.log


def test_a_key_of_another_certificate_is_refused(launch_server, models, tmp_path, pems):
    _, (key, _), (_, other) = pems
    config = _config(tmp_path / "ssl.config", server_key=key, server_cert=other)
    server = launch_server(f"--model_base_path={models / 'digits'}", f"--ssl_config_file={config}", wait=False)
    assert server.process.wait(60) == 255
    assert "server_key and server_cert are no pair" in server.log


def test_a_socket_in_the_file_system(models, launch_server, tmp_path):
    path = tmp_path / "grpc.sock"
    server = launch_server(
        "--model_name=digits", f"--model_base_path={models / 'digits'}", f"--grpc_socket_path={path}", "--port=0"
    )
    server.wait_available("digits", 2)
    with grpc.insecure_channel(f"unix:{path}") as channel:
        assert _versions(channel) == [2]
