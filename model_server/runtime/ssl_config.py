"""TLS on the gRPC port, from the file of `--ssl_config_file`."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from model_server.runtime.errors import invalid
from model_server.runtime.protobufs import configuration_message, read_text_proto


def read_ssl_context(path: Path) -> ssl.SSLContext:
    """What TLS needs, out of a text-format SSLConfig, whose fields hold PEM texts themselves. Raises ServingError."""
    config = read_text_proto(path, configuration_message("SSLConfig")())
    for name in ("server_key", "server_cert", *(["custom_ca"] if config.client_verify else [])):
        if not getattr(config, name):
            raise invalid(f"{path}: {name} is empty, it has to hold a text in PEM format")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Python reads keys from files alone; this one is nobody else's to read.
    with tempfile.NamedTemporaryFile("w") as pair:
        pair.write(f"{config.server_cert}\n{config.server_key}\n")
        pair.flush()
        try:
            context.load_cert_chain(pair.name)
        except ssl.SSLError as error:
            raise invalid(f"{path}: server_key and server_cert are no pair of texts in PEM format: {error}") from error
    if config.client_verify:
        context.verify_mode = ssl.CERT_REQUIRED
    if config.custom_ca:
        try:
            context.load_verify_locations(cadata=config.custom_ca)
        except ssl.SSLError as error:
            raise invalid(f"{path}: custom_ca is no certificate in PEM format: {error}") from error
    context.set_alpn_protocols(["h2"])
    return context
