"""The command line: TensorFlow Serving's flags, in TensorFlow's syntax `--name=value`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from model_server.runtime.errors import ServingError, invalid


class UsageError(Exception):
    """A flag that is unknown, not implemented here, or of a wrong value. `str()` is one line for the user."""


@dataclasses.dataclass(frozen=True, slots=True)
class Flags:
    """The flags of this server, under their own names; the defaults are TensorFlow Serving's.

    `max_queued_requests` bounds the predictions that are under way at the same time, over both protocols; further
    ones are refused with RESOURCE_EXHAUSTED. `max_request_bytes` bounds one request; 0 is 1 GiB for REST and no bound
    for gRPC. `grpc_max_threads` bounds the gRPC calls that are answered at the same time; 0 leaves that to
    `max_queued_requests`. `max_timeout_in_ms` bounds each request, whatever deadline its client sets, and each record
    of warm-up; 0 does not. `max_overtime_in_ms` is how long a graph may run on after its deadline before it counts as
    stuck; with as many of those as there are workers, the process ends. 0 is never. `max_drain_in_ms` is how long what
    is in flight has when the process is told to end.
    """

    port: int = 8500
    grpc_socket_path: str = ""
    grpc_channel_arguments: str = ""
    grpc_max_threads: int = 0
    rest_api_port: int = 0
    rest_api_num_threads: int = 0
    rest_api_timeout_in_ms: int = 30000
    rest_api_enable_cors_support: bool = False
    model_name: str = "default"
    model_base_path: str = ""
    model_config_file: str = ""
    model_config_file_poll_wait_seconds: int = 0
    file_system_poll_wait_seconds: int = 1
    enable_batching: bool = False
    batching_parameters_file: str = ""
    monitoring_config_file: str = ""
    ssl_config_file: str = ""
    # Not TensorFlow Serving's: it queues without end.
    max_queued_requests: int = 1000
    max_request_bytes: int = 0
    max_timeout_in_ms: int = 300_000
    max_overtime_in_ms: int = 30_000
    max_drain_in_ms: int = 30_000
    saved_model_tags: str = "serve"
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    num_load_threads: int = 0
    num_unload_threads: int = 0
    tensorflow_session_parallelism: int = 0
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 0
    allow_version_labels_for_unavailable_models: bool = False
    enable_grpc_healthcheck_service: bool = False
    enable_serialization_as_tensor_content: bool = False
    enable_signature_method_name_check: bool = False
    version: bool = False

    def check(self) -> None:
        """Raise ServingError, in TensorFlow Serving's words where it has them, when flags contradict each other."""
        if self.port == 0 and not self.grpc_socket_path:
            raise invalid("At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.")
        if not self.model_base_path and not self.model_config_file:
            raise invalid("Both server_options.model_base_path and server_options.model_config_file are empty!")
        if self.batching_parameters_file and not self.enable_batching:
            raise invalid(
                "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
            )
        bounded = (
            *("max_queued_requests", "max_request_bytes", "max_timeout_in_ms", "max_overtime_in_ms"),
            *("max_drain_in_ms", "grpc_max_threads"),
        )
        for name in bounded:
            least = 1 if name == "max_queued_requests" else 0
            if getattr(self, name) < least:
                raise invalid(f"--{name} must be at least {least}, found {getattr(self, name)}")
        if self.rest_api_port and self.rest_api_port == self.port:
            raise invalid(
                "--rest_api_port cannot be the same as --port. Please use a different port for HTTP/REST API."
            )

    def channel_arguments(self) -> list[tuple[str, int | str]]:
        """The gRPC arguments: integers where they look like one. Raises ServingError."""
        arguments: list[tuple[str, int | str]] = []
        for pair in filter(None, self.grpc_channel_arguments.split(",")):
            key, separator, value = pair.partition("=")
            if not separator:
                raise invalid(f"--grpc_channel_arguments: {pair!r} is not of the form key=value")
            arguments.append((key, int(value) if value.lstrip("-").isdigit() else value))
        return arguments


# TensorFlow Serving's other flags. They are refused by name: taking one and doing nothing would be a lie.
_NOT_IMPLEMENTED = frozenset(
    {
        "enable_per_model_batching_parameters",
        "enable_profiler",
        "flush_filesystem_caches",
        "mixed_precision",
        "num_tflite_interpreters_per_pool",
        "num_tflite_pools",
        "per_process_gpu_memory_fraction",
        "platform_config_file",
        "prefer_tflite_model",
        "remove_unused_fields_from_bundle_metagraph",
        "skip_initialize_tpu",
        "tensorflow_session_config_file",
        "thread_pool_factory_config_file",
        "use_alts_credentials",
        "xla_cpu_compilation_enabled",
        "xla_gpu_compilation_enabled",
    }
)


def _boolean(text: str) -> bool:
    if text.lower() in {"", "true", "1"}:
        return True
    if text.lower() in {"false", "0"}:
        return False
    raise ValueError(text)


_PARSERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "bool": (_boolean, "true or false"),
    "int": (int, "an integer"),
    "str": (str, "text"),
}


def parse_flags(arguments: Sequence[str]) -> Flags:
    """The flags on a command line without the program's name. Raises UsageError."""
    kinds = {field.name: str(field.type) for field in dataclasses.fields(Flags)}
    values: dict[str, Any] = {}
    for argument in arguments:
        name, separator, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or (name not in kinds and name not in _NOT_IMPLEMENTED):
            msg = f"unknown argument: {argument}"
            raise UsageError(msg)
        if name in _NOT_IMPLEMENTED:
            msg = f"--{name} is a flag of TensorFlow Serving that this server does not implement: remove it"
            raise UsageError(msg)
        parse, wanted = _PARSERS[kinds[name]]
        try:
            if not separator and kinds[name] != "bool":
                raise ValueError(text)
            values[name] = parse(text)
        except ValueError as error:
            msg = f"--{name} takes {wanted}, as --{name}=VALUE; found {argument}"
            raise UsageError(msg) from error
    return Flags(**values)


def usage() -> str:
    """The flags with their defaults, one a line."""
    lines = [f"\t--{field.name}={field.default!r}\t{field.type}" for field in dataclasses.fields(Flags)]
    return "usage: tensorflow_model_server\nFlags:\n" + "\n".join(lines)


__all__ = ["Flags", "ServingError", "UsageError", "parse_flags", "usage"]
