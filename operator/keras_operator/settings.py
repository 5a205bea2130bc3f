"""What the operator is started with: flags, each of which an environment variable `KERAS_OPERATOR_<FLAG>` sets too."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from keras_operator.cluster.transport import DEFAULT_CONCURRENCY, SERVICE_CONCURRENCY

_NAMESPACE_OF_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings.

    Attributes:
        namespaces: where to look for models; empty for everywhere.
        kubeconfig: path of a kubeconfig, or None to find the cluster as kubectl and pods do.
        context: of that kubeconfig, or None for its current one.
        trainer_image: image of training and export Jobs.
        trainer_gpu_image: image of trainings that ask for GPUs; `trainer_image` where it is empty.
        server_image: image of the serving agent, and of the runtime `KerasServer`.
        tensorflow_serving_image: image of the runtime `TensorFlowServing`.
        templates: folder of templates that take the place of built-in ones of the same name, or None.
        prometheus_url: where the queries of canaries are asked, without `/api/v1`; None for nowhere.
        prometheus_token_file: file with the bearer token for it, or None.
        prometheus_ca_file: file with the certificates that may sign its own, or None for the system's.
        workers: models reconciled at the same time.
        concurrency: requests to the API server at once, without those for Services.
        service_concurrency: requests for Services at once.
        request_timeout: seconds for one request.
        resync: seconds between two looks at a model that nothing wakes.
        audit_interval: seconds between two comparisons of the cache with the cluster.
        leader_elect: whether replicas agree on one that works.
        lease_namespace: where the Lease is.
        lease_name: its name.
        drain: seconds that work under way has at shutdown.
        probe_port: port of /healthz, /readyz and /metrics; 0 for any free one.
        debug_port: port of /debug/state on the loopback address, or None for none; 0 for any free one.
        log_format: `json` or `console`.
        log_level: `debug`, `info`, `warning` or `error`.
    """

    trainer_image: str
    server_image: str
    tensorflow_serving_image: str
    trainer_gpu_image: str = ""
    namespaces: tuple[str, ...] = ()
    kubeconfig: str | None = None
    context: str | None = None
    templates: Path | None = None
    prometheus_url: str | None = None
    prometheus_token_file: Path | None = None
    prometheus_ca_file: Path | None = None
    workers: int = 20
    concurrency: int = DEFAULT_CONCURRENCY
    service_concurrency: int = SERVICE_CONCURRENCY
    request_timeout: float = 30.0
    resync: float = 1800.0
    audit_interval: float = 300.0
    leader_elect: bool = True
    lease_namespace: str = "default"
    lease_name: str = "keras-operator"
    drain: float = 20.0
    probe_port: int = 8081
    debug_port: int | None = None
    log_format: str = "json"
    log_level: str = "info"


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Settings from a command line and an environment; a flag wins over its variable.

    Raises:
        SystemExit: something is wrong and was said on standard error, or help was asked for.
    """
    parser = _parser(environment)
    values = vars(parser.parse_args(arguments))
    missing = [name for name in ("trainer_image", "server_image") if not values[name]]
    if missing:
        flags = " and ".join("--" + name.replace("_", "-") for name in missing)
        variables = " and ".join(_variable(name) for name in missing)
        parser.error(f"{flags} not given: name the images that Jobs and serving pods run, there or in {variables}")
    for name in ("prometheus_token_file", "prometheus_ca_file"):
        if values[name] and not values["prometheus_url"]:
            parser.error(f"--{name.replace('_', '-')} is given, and --prometheus-url is not: write where Prometheus is")
    return Settings(**{field.name: values[field.name] for field in fields(Settings)})


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keras-operator",
        description="Turns KerasModel objects into trained, evaluated, published and served models.",
        epilog="Every flag can be set by an environment variable as well: --probe-port by KERAS_OPERATOR_PROBE_PORT.",
    )
    parser.add_argument("command", nargs="?", choices=["run"], default="run", help="run the operator (the default)")

    def add(name: str, convert: Callable[[str], object], default: object, help_text: str, metavar: str) -> None:
        # A string as a default goes through the conversion, so that a bad variable is refused like a bad flag.
        parser.add_argument(
            "--" + name.replace("_", "-"),
            type=convert,
            default=environment.get(_variable(name), default),
            help=help_text,
            metavar=metavar,
        )

    add("trainer_image", str, "", "image of training and export Jobs", "IMAGE")
    add(
        "trainer_gpu_image",
        str,
        "",
        "image of trainings with GPUs (docs/gpus.md); that of all others by default",
        "IMAGE",
    )
    add("server_image", str, "", "image of the agent and of the runtime KerasServer", "IMAGE")
    add("tensorflow_serving_image", str, "tensorflow/serving:2.20.0", "image of TensorFlowServing", "IMAGE")
    add("namespaces", _namespaces, (), "namespaces to serve, separated by commas; all by default", "NAMES")
    add("kubeconfig", str, None, "kubeconfig file; by default as kubectl and pods find the cluster", "FILE")
    add("context", str, None, "context of the kubeconfig", "NAME")
    add("templates", _folder, None, "folder with templates that replace built-in ones", "FOLDER")
    add(
        "prometheus_url", _base_url, None, "where canaries' queries are asked: http://prometheus.monitoring:9090", "URL"
    )
    add("prometheus_token_file", _file, None, "file with the bearer token for Prometheus", "FILE")
    add("prometheus_ca_file", _file, None, "certificates that may sign Prometheus'; the system's by default", "FILE")
    add("workers", _whole(1, 1000), 20, "models reconciled at the same time (20)", "N")
    add("concurrency", _whole(1, 1000), DEFAULT_CONCURRENCY, "requests to the API server at once (20)", "N")
    add("service_concurrency", _whole(1, 1000), SERVICE_CONCURRENCY, "requests for Services at once (5)", "N")
    add("request_timeout", _seconds, 30.0, "seconds for one request (30)", "S")
    add("resync", _seconds, 1800.0, "seconds between two looks at a model that nothing wakes (1800)", "S")
    add("audit_interval", _seconds, 300.0, "seconds between comparisons of the cache with the cluster (300)", "S")
    add("lease_namespace", _namespace, _own_namespace(), "namespace of the Lease; the pod's own by default", "NAME")
    add("lease_name", _namespace, "keras-operator", "name of the Lease (keras-operator)", "NAME")
    add("drain", _seconds, 20.0, "seconds that work under way has at shutdown (20)", "S")
    add("probe_port", _whole(0, 65535), 8081, "port of /healthz, /readyz and /metrics (8081); 0: any", "PORT")
    add("debug_port", _whole(0, 65535), None, "port of /debug/state, on loopback; 0: any; none by default", "PORT")
    add("log_format", _one_of("json", "console"), "json", "json or console (json)", "FORMAT")
    add(
        "log_level", _one_of("debug", "info", "warning", "error"), "info", "debug, info, warning, error (info)", "LEVEL"
    )
    parser.add_argument(
        "--leader-elect",
        action=argparse.BooleanOptionalAction,
        default=_switch(parser, _variable("leader_elect"), environment),
        help="let replicas agree on one that works",
    )
    return parser


def _switch(parser: argparse.ArgumentParser, variable: str, environment: Mapping[str, str]) -> bool:
    value = {"": True, "true": True, "false": False}.get(environment.get(variable, "").lower())
    if value is None:
        parser.error(f"{variable} is {environment[variable]!r}: write true or false")
    return value


def _variable(name: str) -> str:
    return f"KERAS_OPERATOR_{name.upper()}"


def _own_namespace() -> str:
    return _NAMESPACE_OF_POD.read_text().strip() if _NAMESPACE_OF_POD.exists() else "default"


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {lowest} to {highest}")
        return int(text)

    return convert


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _namespace(text: str) -> str:
    if not _DNS_LABEL.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name: lower-case letters, digits and '-', at most 63")
    return text


def _namespaces(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_namespace(name.strip()) for name in text.split(",") if name.strip()))


def _folder(text: str) -> Path:
    folder = Path(text)
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder")
    return folder


def _file(text: str) -> Path:
    file = Path(text)
    if not file.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file")
    return file


def _base_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment or not text.isprintable():
        raise argparse.ArgumentTypeError(
            f"{_without_password(text)!r} is not an address such as http://prometheus.monitoring:9090, without user, "
            "password and query"
        )
    return text


def _without_password(url: str) -> str:
    return re.sub(r"//.*@", "//…@", url)


def _one_of(*choices: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(choices)}")
        return text

    return convert
