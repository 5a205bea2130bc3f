"""The command of docs/gitops.md that gives the health check to an Argo CD which is there already."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KEY = "resource.customizations.health.keras-operator.dev_"


def test_the_documented_command_adds_the_health_check_and_nothing_else(
    api: Any, namespace: str, cluster_env: dict[str, str]
) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    api.request("POST", path, {"metadata": {"name": "argocd-cm"}, "data": {"url": "https://argocd.example.com"}})
    (command,) = re.findall(
        r"^kubectl create configmap argocd-cm -n argocd .*?-f -$", _text(), re.MULTILINE | re.DOTALL
    )

    env = {**os.environ, **cluster_env, "PATH": f"{cluster_env['DEVCLUSTER_BIN']}:{os.environ['PATH']}"}
    ours = command.replace("-n argocd", f"-n {namespace}")
    done = subprocess.run(["bash", "-c", ours], cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    script = (ROOT / "manifests" / "argocd" / "health.lua").read_text()
    expected = {KEY + kind: script for kind in ("KerasModel", "KerasModelVersion")}
    assert api.request("GET", f"{path}/argocd-cm")["data"] == {"url": "https://argocd.example.com"} | expected


def _text() -> str:
    return (ROOT / "docs" / "gitops.md").read_text()
