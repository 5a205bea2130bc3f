"""TLS on the gRPC port, from the file of `--ssl_config_file`."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from typing import Any

import grpc

from model_server.runtime.errors import invalid
from model_server.runtime.protobufs import configuration_message, read_text_proto


def read_credentials(path: Path) -> Any:
    """The credentials of a text-format SSLConfig, whose fields hold PEM texts themselves. Raises ServingError."""
    config = read_text_proto(path, configuration_message("SSLConfig")())
    for name in ("server_key", "server_cert", *(["custom_ca"] if config.client_verify else [])):
        if not getattr(config, name):
            raise invalid(f"{path}: {name} is empty, it has to hold a text in PEM format")
    _check_pair(path, config)
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )


def _check_pair(path: Path, config: Any) -> None:
    # gRPC would only say that it cannot listen. Python reads keys from files alone; this one is nobody else's to read.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w") as pair:
        pair.write(f"{config.server_cert}\n{config.server_key}\n")
        pair.flush()
        try:
            context.load_cert_chain(pair.name)
        except ssl.SSLError as error:
            raise invalid(f"{path}: server_key and server_cert are no pair of texts in PEM format: {error}") from error
    if config.custom_ca:
        try:
            context.load_verify_locations(cadata=config.custom_ca)
        except ssl.SSLError as error:
            raise invalid(f"{path}: custom_ca is no certificate in PEM format: {error}") from error
