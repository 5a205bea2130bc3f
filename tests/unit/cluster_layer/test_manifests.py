"""The operator's manifests: least privilege, and the names that the code relies on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from keras_operator.kinds import CHILDREN, MODEL, VERSION
from keras_operator.settings import parse

ROOT = Path(__file__).parents[3]
BASE = ROOT / "manifests/base"


def documents(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((BASE / file).read_text()))


RULES = documents("cluster-role.yaml")[0]["rules"]


def verbs(group: str, resource: str) -> set[str]:
    return {v for r in RULES if group in r["apiGroups"] and resource in r["resources"] for v in r["verbs"]}


def test_no_secret_and_no_wildcard_is_in_any_role():
    for file in ("cluster-role.yaml", "leader-election-role.yaml", "user-roles.yaml"):
        for role in documents(file):
            for rule in role.get("rules", ()):
                assert "secrets" not in rule["resources"]
                assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]


@pytest.mark.parametrize("kind", [MODEL, VERSION, *CHILDREN], ids=str)
def test_every_watched_kind_may_be_listed_and_watched(kind):
    assert {"list", "watch"} <= verbs(kind.group, kind.plural)


def test_people_s_objects_are_never_written():
    assert verbs(MODEL.group, MODEL.plural) == {"get", "list", "watch"}
    assert verbs("", "pods") == {"list", "watch", "patch"}
    assert verbs("batch", "jobs").isdisjoint({"patch", "update"})


def test_the_lease_s_name_is_the_operator_s_default():
    (named,) = [r for r in documents("leader-election-role.yaml")[0]["rules"] if "resourceNames" in r]
    assert named["resourceNames"] == [parse(["--trainer-image=t", "--server-image=s"], {}).lease_name]


@pytest.mark.parametrize("overlay", [None, "dev", "namespaced", "prometheus"])
def test_every_variable_of_the_deployment_is_one_that_the_operator_reads(overlay, monkeypatch):
    file = BASE / "deployment.yaml" if overlay is None else ROOT / "manifests/overlays" / overlay / "deployment.yaml"
    (container,) = yaml.safe_load(file.read_text())["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable.get("value", "some-namespace") for variable in container["env"]}
    images = {"KERAS_OPERATOR_TRAINER_IMAGE": "t", "KERAS_OPERATOR_SERVER_IMAGE": "s"}
    plain = parse([], images)
    for name, value in variables.items():
        other = "console" if value == "json" else f"{value}-x" if name.endswith("IMAGE") else value
        assert parse([], {**images, name: other}) != plain, f"{name} changes nothing"


def test_every_file_of_the_base_is_applied():
    listed = set(yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"])
    assert listed == {file.name for file in BASE.iterdir()} - {"kustomization.yaml"} | {"../../crds"}


def test_every_crd_is_applied():
    listed = yaml.safe_load((ROOT / "crds/Kustomization").read_text())["resources"]
    assert set(listed) == {file.name for file in (ROOT / "crds").glob("*.yaml")}
