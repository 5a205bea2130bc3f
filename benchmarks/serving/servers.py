"""Who is measured: this project's runtime, and the others, each as its own documentation has it for one core."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.serving.installed import PEERS, environment
from benchmarks.serving.served import INFER, JPEG, PREDICT, Network, Ports, Server

Start = tuple[Sequence[str], Mapping[str, str]]
_MODEL = "default"


def _own(network: Network, ports: Ports, *flags: str) -> Start:
    return _runtime(ports, f"--model_base_path={network.servable}", *flags)


def _runtime(ports: Ports, *flags: str) -> Start:
    program = str(Path(sys.executable).with_name("tensorflow_model_server"))
    return [program, f"--rest_api_port={ports.rest}", f"--port={ports.grpc}", *flags], {}


OWN = Server(
    "KerasServer", lambda network, ports, _: _own(network, ports), f"/v1/models/{_MODEL}:predict", grpc=PREDICT
)


def with_flags(*flags: str) -> Server:
    """The runtime with flags of its command line."""
    return dataclasses.replace(OWN, start=lambda network, ports, _: _own(network, ports, *flags))


def with_pictures(*flags: str) -> Server:
    """The runtime, asked with a JPEG file as the body."""
    return dataclasses.replace(with_flags(*flags), body="input.jpg", content_type=JPEG)


def from_config(config: Path) -> Server:
    """The runtime with a file that says what it serves."""
    return dataclasses.replace(OWN, start=lambda _, ports, __: _runtime(ports, f"--model_config_file={config}"))


def _kserve(network: Network, ports: Ports, _: Path) -> Start:
    python = str(environment("kserve") / "python")
    flags = (f"--http_port={ports.rest}", f"--grpc_port={ports.grpc}", "--workers=1")
    return [python, str(PEERS / "kserve_model.py"), str(network.folder), *flags], {}


def _mlserver(network: Network, ports: Ports, folder: Path) -> Start:
    """Its model runs in the server's own process: a worker beside it would only share the one core with it."""
    settings = {
        "name": _MODEL,
        "implementation": "mlserver_runtime.Network",
        "parameters": {"uri": str(network.folder)},
    }
    own = folder / "mlserver"
    own.mkdir(exist_ok=True)
    (own / "model-settings.json").write_text(json.dumps(settings))
    variables = {
        "MLSERVER_HTTP_PORT": str(ports.rest),
        "MLSERVER_GRPC_PORT": str(ports.grpc),
        "MLSERVER_METRICS_PORT": str(ports.other),
        "MLSERVER_PARALLEL_WORKERS": "0",
        "MLSERVER_DEBUG": "false",
        "PYTHONPATH": str(PEERS),
    }
    return [str(environment("mlserver") / "mlserver"), "start", str(own)], variables


def _litserve(network: Network, ports: Ports, _: Path) -> Start:
    python = str(environment("litserve") / "python")
    return [python, str(PEERS / "litserve_server.py"), str(network.folder), str(ports.rest)], {}


def _bentoml(network: Network, ports: Ports, folder: Path) -> Start:
    program = str(environment("bentoml") / "bentoml")
    command = [program, "serve", "bentoml_service:Network", "--working-dir", str(PEERS), "--port", str(ports.rest)]
    variables = {"MODEL": str(network.folder), "BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    return [*command, "--host", "127.0.0.1"], variables


def _gunicorn(module: str, network: Network, ports: Ports) -> Start:
    """One worker of the default kind: one with eight threads, and kept connections, answers fewer requests here."""
    program = str(environment("flask") / "gunicorn")
    flags = ["--workers=1", "--timeout=120", f"--bind=127.0.0.1:{ports.rest}", f"--chdir={PEERS}"]
    return [program, *flags, f"{module}:app"], {"MODEL": str(network.folder)}


FLASK_SIGNATURE = Server(
    "Flask, signature", lambda network, ports, _: _gunicorn("flask_signature", network, ports), "/predict"
)
OTHERS = (
    Server("KServe", _kserve, f"/v1/models/{_MODEL}:predict", grpc=INFER),
    Server("MLServer", _mlserver, f"/v2/models/{_MODEL}/infer", body="infer.json", grpc=INFER),
    Server("LitServe", _litserve, "/predict"),
    Server("BentoML", _bentoml, "/predict"),
    FLASK_SIGNATURE,
    Server("Flask, model.predict", lambda network, ports, _: _gunicorn("flask_keras", network, ports), "/predict"),
)
