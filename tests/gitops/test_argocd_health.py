"""The Argo CD health check, run by the interpreter that Argo CD embeds, and the ways to install it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.gitops.conftest import ROOT, Judge
from tests.gitops.states import MODELS, VERSIONS, State

COMPONENT = ROOT / "manifests" / "argocd"
KEY = "resource.customizations.health.keras-operator.dev_"
KINDS = ("KerasModel", "KerasModelVersion")


@pytest.mark.parametrize("state", [*MODELS, *VERSIONS], ids=lambda state: f"{state.content['kind']} {state.words}")
def test_health(argocd_health: Judge, state: State) -> None:
    (found,) = argocd_health([state.content])
    assert found["status"] == state.argocd
    seen = state.content["status"]["observedGeneration"] == state.content["metadata"]["generation"]
    assert found["message"] == (state.message if seen else "keras-operator has not looked at this spec yet")


def test_every_health_is_met() -> None:
    assert {state.argocd for state in MODELS} == {"Healthy", "Progressing", "Degraded", "Suspended"}


@pytest.mark.parametrize("content", [{"metadata": {"generation": 1}}, {"metadata": {"generation": 1}, "status": {}}])
def test_an_object_without_a_status_is_on_its_way(argocd_health: Judge, content: dict[str, Any]) -> None:
    """As an API server with an older CRD shows it."""
    assert [found["status"] for found in argocd_health([content])] == ["Progressing"]


def test_the_component_adds_the_check_to_argocds_own_configuration(tmp_path: Path, kubectl: str) -> None:
    configuration = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": {"url": "x"}}
    (tmp_path / "argocd-cm.yaml").write_text(yaml.safe_dump(configuration))
    # kustomize takes a component from a relative path only.
    (tmp_path / "health").symlink_to(COMPONENT)
    ours = {"namespace": "argocd", "resources": ["argocd-cm.yaml"], "components": ["health"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(ours))

    done = subprocess.run([kubectl, "kustomize", tmp_path], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    made = yaml.safe_load(done.stdout)
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("argocd-cm", "argocd")
    script = (COMPONENT / "health.lua").read_text()
    assert made["data"] == {"url": "x"} | {KEY + kind: script for kind in KINDS}
