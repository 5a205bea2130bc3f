"""The pod in which a team's own image trains: what each container sees, and what ends the Job."""

from typing import Any

import pytest
from keras_operator.api import Credentials, OwnContainer, Resources, Store
from keras_operator.plan.desired import Template

from tests.unit.plan.observations import decide, trained, version
from tests.unit.render.test_templates import PRINTER, RENDERER, environment

STORE = Store(uri="s3://models/dogs", credentials=Credentials(secret_name="minio"))
CONTAINER = OwnContainer(
    image="registry.example.com/vision/net:1.4",
    command=("python", "-c", "print('$(HOME)')"),
    args=("--width=64",),
    params={"text": "$(HOME) {{ 'x' }} \u00fc"},
)
SPEC = trained(store=STORE, container=CONTAINER, training_resources=Resources(limits={"memory": "4Gi"}), seed=7)


def job(spec: Any = SPEC) -> dict[str, Any]:
    (desired,) = (one for one in decide(spec, version(7, spec)).create if one.template is Template.TRAIN_JOB)
    made = RENDERER.render(desired)
    assert made == PRINTER.render(desired)
    return made["spec"]  # type: ignore[no-any-return]


def containers(spec: Any = SPEC) -> dict[str, dict[str, Any]]:
    pod = job(spec)["template"]["spec"]
    assert [one["name"] for one in pod["initContainers"]] == ["prepare", "own"], "one after the other, in this order"
    return {one["name"]: one for one in (*pod["initContainers"], *pod["containers"])}


def test_the_teams_container_is_what_the_team_wrote():
    own = containers()["own"]
    assert (own["image"], own["command"], own["args"]) == (CONTAINER.image, [*CONTAINER.command], [*CONTAINER.args])
    assert own["resources"] == {"limits": {"memory": "4Gi"}}
    bare = containers(trained(container=OwnContainer(image="net")))["own"]
    assert not {"command", "args", "resources"} & bare.keys(), "left out: the image's, and what the namespace allows"


def test_it_is_told_what_to_do_and_no_secret():
    assert environment(containers()["own"]) == {
        "KERAS_OPERATOR_MODEL": "vision/dogs",
        "KERAS_OPERATOR_VERSION": "7",
        "KERAS_OPERATOR_EPOCHS": "10",
        "KERAS_OPERATOR_BATCH_SIZE": "32",
        "KERAS_OPERATOR_SEED": "7",
        # The kubelet makes one dollar of two, and puts no variable in its place.
        "KERAS_OPERATOR_PARAMS": '{"text":"$$(HOME) {{ \'x\' }} \u00fc"}',
        "KERAS_OPERATOR_DATA": "/keras/data",
        "KERAS_OPERATOR_WORK": "/keras/work",
        "KERAS_OPERATOR_OUTPUT": "/keras/output",
        "HOME": "/keras/work",
        "TMPDIR": "/keras/work",
    }
    for name in ("prepare", "train"):
        assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= environment(containers()[name]).keys()
    template = job()["template"]
    assert template["metadata"]["annotations"] == {"eks.amazonaws.com/skip-containers": "own"}
    assert template["spec"]["automountServiceAccountToken"] is False


def test_each_container_sees_its_folders_and_no_others():
    def mounts(name: str) -> dict[str, str]:
        found = containers()[name]["volumeMounts"]
        return {one["mountPath"]: "read" if one.get("readOnly") else "write" for one in found}

    assert mounts("prepare") == {"/scratch": "write", "/prepared": "write", "/keras/data": "write"}
    assert mounts("own") == {"/keras/data": "read", "/keras/work": "write", "/keras/output": "write"}
    assert mounts("train") == {
        "/scratch": "write",
        "/prepared": "read",
        "/keras/data": "read",
        "/keras/output": "read",
    }
    volumes = job()["template"]["spec"]["volumes"]
    assert volumes == [{"name": name, "emptyDir": {}} for name in ("scratch", "prepared", "data", "work", "output")]


@pytest.mark.parametrize("name", ["prepare", "own", "train"])
def test_each_container_is_as_restricted_as_any(name):
    assert containers()[name]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert containers()[name]["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_the_operators_containers_know_which_part_is_theirs():
    prepare, train = (containers()[name] for name in ("prepare", "train"))
    assert (prepare["command"], prepare["args"]) == (["keras-trainer"], ["train", "--prepare"])
    assert (train["command"], train["args"]) == (["keras-trainer"], ["train"])
    places = {"KERAS_DATA": "/keras/data", "KERAS_OUTPUT": "/keras/output", "KERAS_PREPARED": "/prepared"}
    for container in (prepare, train):
        assert places.items() <= environment(container).items()
    assert environment(train)["KERAS_STORE_PATIENCE_SECONDS"] == "3600"
    assert "KERAS_STORE_PATIENCE_SECONDS" not in environment(prepare)


def test_a_mistake_ends_the_job_and_what_may_pass_is_tried_again():
    rules = [one["onExitCodes"] for one in job()["podFailurePolicy"]["rules"] if "onExitCodes" in one]
    assert rules == [
        {"containerName": "train", "operator": "In", "values": [65, 137]},
        {"containerName": "prepare", "operator": "In", "values": [65, 137]},
        {"containerName": "own", "operator": "NotIn", "values": [75, 143]},
    ]


def test_other_trainings_have_none_of_it():
    (desired,) = (one for one in decide(trained(), version(7, trained())).create if one.template is Template.TRAIN_JOB)
    pod = RENDERER.render(desired)["spec"]["template"]
    assert "annotations" not in pod["metadata"]
    assert "initContainers" not in pod["spec"]
    assert [one["name"] for one in pod["spec"]["volumes"]] == ["scratch"]
