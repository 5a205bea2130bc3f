"""What a serving pod gives its runtime, read as the runtime reads it, whichever of the two it is; and how it ends."""

import os
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from keras_operator.api import Batching, Credentials, KerasModelSpec, Rollout, Runtime, Store, Strategy
from keras_operator.plan.desired import Template

from model_server.agent.options import parse_options
from model_server.agent.runtime_config import METRICS_PATH, MONITORING_CONFIG
from model_server.runtime.batching import read_batching_options
from model_server.runtime.flags import Flags, parse_flags
from model_server.runtime.protobufs import configuration_message
from tests.unit.plan.observations import trained
from tests.unit.render.test_templates import manifests

BATCHING = Batching(max_batch_size=8, timeout_micros=500)
SPECS = {
    "plain": trained(),
    "batching": trained(batching=BATCHING),
    "hot": trained(rollout=Rollout(strategy=Strategy.HOT), batching=BATCHING),
    "long requests": trained(max_request_seconds=900),
    "TensorFlow Serving": trained(runtime=Runtime.TENSORFLOW_SERVING, batching=BATCHING, max_request_seconds=60),
}
OWN_FLAGS = {
    *("max_queued_requests", "max_request_bytes", "max_timeout_in_ms", "max_overtime_in_ms", "max_drain_in_ms"),
}
"""Those that TensorFlow Serving's image does not know, and would end of."""

each = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


def template(spec: KerasModelSpec) -> dict[str, Any]:
    made: dict[str, Any] = manifests(spec)[Template.DEPLOYMENT]["spec"]["template"]
    return made


def containers(spec: KerasModelSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    """The agent and the runtime."""
    pod = template(spec)["spec"]
    (agent,), (runtime,) = pod["initContainers"], pod["containers"]
    return agent, runtime


def flags(spec: KerasModelSpec) -> Flags:
    read = parse_flags(containers(spec)[1]["args"])
    read.check()
    return read


def mounts(container: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """By path the volume, and whether it is read-only."""
    return {one["mountPath"]: (one["name"], one.get("readOnly", False)) for one in container["volumeMounts"]}


def ports(container: dict[str, Any]) -> dict[str, int]:
    return {one["name"]: one["containerPort"] for one in container["ports"]}


@each
def test_the_runtime_knows_every_flag(spec):
    names = {one.removeprefix("--").partition("=")[0] for one in containers(spec)[1]["args"]}
    assert spec.serving.runtime is Runtime.KERAS_SERVER or not names & OWN_FLAGS
    assert flags(spec).model_config_file_poll_wait_seconds == flags(spec).file_system_poll_wait_seconds == 1


def test_the_pod_is_the_same_but_for_what_is_the_runtimes_own():
    one, other = (template(trained(runtime=runtime)) for runtime in Runtime)
    (ours,), (theirs,) = (made["spec"]["containers"] for made in (one, other))
    for what in ("image", "livenessProbe"):
        assert ours.pop(what) != theirs.pop(what)
    own = [flag for flag in ours["args"] if flag.removeprefix("--").partition("=")[0] in OWN_FLAGS]
    ours["args"] = [flag for flag in ours["args"] if flag not in own]
    assert own
    assert one == other


@each
def test_the_runtime_listens_where_it_is_asked(spec):
    agent, runtime = containers(spec)
    read = flags(spec)
    assert ports(runtime) == {"grpc": read.port, "http": read.rest_api_port}
    assert f"--runtime-url=http://127.0.0.1:{read.rest_api_port}" in agent["args"]
    probe = runtime["livenessProbe"]
    assert probe.get("httpGet", probe.get("tcpSocket"))["port"] == "http"
    service = manifests(spec)[Template.SERVICE]["spec"]
    assert {one["targetPort"] for one in service["ports"]} == set(ports(runtime))


@each
def test_the_runtime_reads_what_the_agent_writes_and_cannot_change_it(spec):
    agent, runtime = containers(spec)
    told, read = parse_options(agent["args"]), flags(spec)
    assert Path(read.model_config_file) == told.config_file
    assert Path(read.monitoring_config_file) == told.monitoring_file
    assert told.config_file.parent == told.models_dir
    assert mounts(agent)[str(told.models_dir)] == ("models", False)
    assert mounts(runtime)[str(told.models_dir)] == ("models", True)
    monitoring = text_format.Parse(MONITORING_CONFIG, configuration_message("MonitoringConfig")())
    assert (monitoring.prometheus_config.enable, monitoring.prometheus_config.path) == (True, METRICS_PATH)


@pytest.mark.parametrize("spec", [SPECS[name] for name in ("batching", "hot", "TensorFlow Serving")])
def test_the_parameters_of_batching_are_in_the_file_that_is_named(spec, tmp_path):
    (_, runtime), read, made = containers(spec), flags(spec), template(spec)
    folder, name = os.path.split(read.batching_parameters_file)
    volume, read_only = mounts(runtime)[folder]
    assert read_only
    (source,) = (one["downwardAPI"]["items"] for one in made["spec"]["volumes"] if one["name"] == volume)
    (item,) = source
    assert item["path"] == name
    key = item["fieldRef"]["fieldPath"].removeprefix("metadata.annotations['").removesuffix("']")
    text = made["metadata"]["annotations"][key]
    parameters = text_format.Parse(text, configuration_message("BatchingParameters")())
    assert (parameters.max_batch_size.value, parameters.batch_timeout_micros.value) == (8, 500)
    (tmp_path / name).write_text(text)
    assert read_batching_options(tmp_path / name, cpus=2).max_batch_size == 8


@each
def test_slow_loading_is_waited_for_and_hanging_is_not(spec):
    agent, runtime = containers(spec)
    assert agent["restartPolicy"] == "Always", "a native sidecar: the runtime waits for its startup probe"
    paths = [agent[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")]
    assert paths == ["/startupz", "/readyz", "/livez"]
    startup, liveness = agent["startupProbe"], agent["livenessProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 3600, "a large servable in a slow store"
    assert liveness["periodSeconds"] * liveness["failureThreshold"] <= 60
    # Whether it has loaded is the agent's readiness; asked for here, it would end a runtime that loads for long.
    if spec.serving.runtime is Runtime.KERAS_SERVER:
        probe = runtime["livenessProbe"]
        assert probe["httpGet"]["path"] == "/v2/health/live", "see test_liveness.py"
        assert probe["timeoutSeconds"] >= 30, "a pod with a fifth of a processor answered in 16 s while clients came"
        assert probe["timeoutSeconds"] * probe["failureThreshold"] <= 300
        assert probe["terminationGracePeriodSeconds"] <= 15, "one that hangs finishes nothing"
    else:
        assert "httpGet" not in runtime["livenessProbe"]
    assert "readinessProbe" not in runtime


@each
def test_a_pod_that_goes_has_the_time_that_its_runtime_takes(spec):
    pod, (_, runtime) = template(spec)["spec"], containers(spec)
    before = runtime["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert before >= 1, "nodes' proxies send new connections here for a moment"
    seconds = spec.serving.max_request_seconds
    # Beside that: until the process is told, has written its last words and is seen to have ended.
    assert pod["terminationGracePeriodSeconds"] >= before + seconds + 5
    read = flags(spec)
    assert read.rest_api_timeout_in_ms == seconds * 1000
    if spec.serving.runtime is Runtime.KERAS_SERVER:
        assert read.max_drain_in_ms == seconds * 1000
        assert read.max_timeout_in_ms >= seconds * 1000, "what a pod waits for may take that long"


@each
def test_pods_are_spread_over_nodes_and_none_goes_before_another_is_ready(spec):
    deployment = manifests(spec)[Template.DEPLOYMENT]["spec"]
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["maxSkew"]) == ("kubernetes.io/hostname", 1)
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway", "one node is better than none"
    assert spread["labelSelector"] == deployment["selector"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_only_the_agent_has_the_keys_to_the_store():
    spec = trained(store=Store(uri="s3://models/dogs", credentials=Credentials(secret_name="minio")))
    agent, runtime = containers(spec)
    assert [one["name"] for one in agent["env"] if one["name"].startswith("AWS_")]
    assert "env" not in runtime
    assert "envFrom" not in runtime
