"""The runtime's command line."""

from __future__ import annotations

import pytest

from model_server.runtime.errors import ServingError
from model_server.runtime.flags import Flags, UsageError, parse_flags, usage
from model_server.runtime.grpc_server import connection_limits


def test_flags_of_the_serving_pod_are_taken():
    flags = parse_flags(
        [
            "--port=8500",
            "--rest_api_port=8501",
            "--model_config_file=/models/models.config",
            "--model_config_file_poll_wait_seconds=1",
            "--file_system_poll_wait_seconds=1",
            "--monitoring_config_file=/models/monitoring.config",
            "--enable_batching",
            "--batching_parameters_file=/etc/serving/batching.config",
        ]
    )
    flags.check()
    assert (flags.rest_api_port, flags.enable_batching) == (8501, True)
    assert flags.batching_parameters_file == "/etc/serving/batching.config"


@pytest.mark.parametrize(
    ("text", "value"), [("", True), ("=true", True), ("=1", True), ("=false", False), ("=0", False)]
)
def test_booleans_are_written_in_tensorflows_ways(text, value):
    assert parse_flags([f"--enable_model_warmup{text}"]).enable_model_warmup is value


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--nonsense=1", "unknown argument: --nonsense=1"),
        ("stray", "unknown argument: stray"),
        ("--port", "--port takes an integer, as --port=VALUE; found --port"),
        ("--port=x", "--port takes an integer, as --port=VALUE; found --port=x"),
        ("--enable_batching=maybe", "--enable_batching takes true or false"),
        (
            "--mixed_precision=x",
            "--mixed_precision is a flag of TensorFlow Serving that this server does not implement",
        ),
    ],
)
def test_wrong_arguments_are_refused(argument, message):
    with pytest.raises(UsageError) as refused:
        parse_flags([argument])
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (Flags(), "Both server_options.model_base_path and server_options.model_config_file are empty!"),
        (Flags(port=0), "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set."),
        (
            Flags(model_base_path="/m", batching_parameters_file="x"),
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true.",
        ),
        (Flags(model_base_path="/m", max_queued_requests=0), "--max_queued_requests must be at least 1, found 0"),
        (Flags(model_base_path="/m", max_timeout_in_ms=-1), "--max_timeout_in_ms must be at least 0, found -1"),
        (Flags(model_base_path="/m", max_overtime_in_ms=-1), "--max_overtime_in_ms must be at least 0, found -1"),
        (Flags(model_base_path="/m", port=1, rest_api_port=1), "--rest_api_port cannot be the same as --port."),
    ],
)
def test_flags_that_contradict_each_other_are_refused(flags, message):
    with pytest.raises(ServingError) as refused:
        flags.check()
    assert str(refused.value).startswith(message)


def test_channel_arguments_are_numbers_or_text():
    flags = Flags(grpc_channel_arguments="grpc.max_connection_age_ms=2000,grpc.x=y")
    assert flags.channel_arguments() == [("grpc.max_connection_age_ms", 2000), ("grpc.x", "y")]
    with pytest.raises(ServingError, match=r"grpc\.x has no meaning for this server, which takes grpc\.max_conn"):
        connection_limits(flags.channel_arguments(), -1)
    limits = connection_limits([("grpc.max_connection_age_ms", 2500), ("grpc.max_concurrent_streams", 7)], 10)
    assert (limits.age, limits.calls, limits.message) == (2.5, 7, 10)
    with pytest.raises(
        ServingError, match=r"grpc\.max_concurrent_streams takes an integer of at least 1, found 'many'"
    ):
        connection_limits([("grpc.max_concurrent_streams", "many")], -1)
    with pytest.raises(ServingError, match="not of the form key=value"):
        Flags(grpc_channel_arguments="nonsense").channel_arguments()


def test_usage_names_every_flag():
    assert all(f"--{name}=" in usage() for name in Flags.__dataclass_fields__)
