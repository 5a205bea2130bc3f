"""HandleReloadConfigRequest, called through the stub of `tensorflow-serving-api`."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import text_format

from model_server.runtime import protobufs


@pytest.fixture(scope="module")
def reloadable(models, launch_server):
    """A server that was started for `digits` by flags, and its `reload(text of the config)`."""
    server = launch_server("--model_name=digits", f"--model_base_path={models / 'digits'}", "--max_num_load_retries=0")
    server.wait_available("digits", 2)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        stub = protobufs.prediction_services()[1].ModelServiceStub(channel)

        def reload(text: str) -> Any:
            request = protobufs.model_management_pb2.ReloadConfigRequest()
            text_format.Parse(text, request)
            return stub.HandleReloadConfigRequest(request, timeout=60)

        yield server, reload


def _models(*entries: str) -> str:
    return "config { model_config_list {" + " ".join(f"config {{ {entry} }}" for entry in entries) + "} }"


def test_a_new_model_answers_when_the_call_returns_and_one_left_out_is_unloaded(reloadable, models, until):
    server, reload = reloadable
    digits = f'name: "digits" base_path: "{models / "digits"}"'
    response = reload(_models(digits, f'name: "kinds" base_path: "{models / "kinds"}"'))
    assert (response.status.error_code, response.status.error_message) == (0, "")
    assert server.states("kinds") == {1: "AVAILABLE"}
    assert server.states("digits") == {2: "AVAILABLE"}
    reload(_models(f"{digits} model_version_policy {{ all {{}} }}"))
    until(lambda: server.states("kinds") == {1: "END"}, "kinds is unloaded")
    server.wait_available("digits", 1)
    reload(_models(f'{digits} model_version_policy {{ all {{}} }} version_labels {{ key: "old" value: 1 }}'))
    assert server.get("/v1/models/digits/labels/old").json["model_version_status"][0]["version"] == "1"


@pytest.mark.parametrize(
    ("policy", "numbers"),
    [
        ("latest { num_versions: 2 }", {1, 2}),
        ("latest { num_versions: 1 }", {2}),
        ("specific { versions: 1 }", {1}),
        ("all {}", {1, 2}),
        ("latest {}", {2}),
        ("specific { versions: 2 versions: 1 versions: 7 }", {1, 2}),
        ("", {2}),
    ],
)
def test_a_policy_chooses_among_the_versions(reloadable, models, until, policy, numbers):
    server, reload = reloadable
    reload(_models(f'name: "digits" base_path: "{models / "digits"}" model_version_policy {{ {policy} }}'))

    def settled() -> bool:
        states = server.states("digits")
        return (
            set(states.values()) <= {"AVAILABLE", "END"}
            and {number for number, state in states.items() if state == "AVAILABLE"} == numbers
        )

    until(settled, f"{numbers} alone")


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", "INVALID_ARGUMENT", "Only ModelConfigList is currently supported"),
        ("config { custom_model_config {} }", "INVALID_ARGUMENT", "Only ModelConfigList is currently supported"),
        (_models('base_path: "/m"'), "INVALID_ARGUMENT", "has no name"),
        (_models('name: "digits"'), "INVALID_ARGUMENT", "model digits has no base_path"),
        (
            _models('name: "d" base_path: "/a"', 'name: "d" base_path: "/b"'),
            "INVALID_ARGUMENT",
            "list model d multiple",
        ),
        (
            _models('name: "digits" base_path: "/m" version_labels { key: "x" value: 9 }'),
            "FAILED_PRECONDITION",
            "assign label to version 9 of model digits, which is not currently available",
        ),
        ('metric_names: "m"', "UNIMPLEMENTED", "leave metric_names empty"),
    ],
)
def test_a_request_that_cannot_be_used_says_why_and_changes_nothing(reloadable, text, code, message):
    server, reload = reloadable
    before = server.states("digits")
    with pytest.raises(grpc.RpcError, match=message) as refused:
        reload(text)
    assert refused.value.code().name == code
    assert server.states("digits") == before


def test_a_new_model_that_cannot_load_is_named(reloadable, models, tmp_path):
    server, reload = reloadable
    digits = f'name: "digits" base_path: "{models / "digits"}" model_version_policy {{ all {{}} }}'
    (tmp_path / "empty" / "7").mkdir(parents=True)
    for path, reason in ((tmp_path / "empty", "version 7"), (tmp_path / "nowhere", "Could not find base path")):
        with pytest.raises(grpc.RpcError, match=f"Some models did not become available: bad: {reason}") as refused:
            reload(_models(digits, f'name: "bad" base_path: "{path}"'))
        assert refused.value.code() is grpc.StatusCode.UNKNOWN
        assert server.states("digits")[2] == "AVAILABLE"
