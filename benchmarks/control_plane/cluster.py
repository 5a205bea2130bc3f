"""The cluster of the benchmark: the clone's own with kwok's nodes, started anew for each run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.control_plane.errors import BenchmarkError
from benchmarks.demo.kubectl import Kubectl
from benchmarks.demo.surroundings import exports
from devcluster.places import here
from devcluster.processes import of_cluster

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "keras-operator-system"
USER = f"system:serviceaccount:{NAMESPACE}:keras-operator"
# What the operator's own Deployment would not be here: it runs as a process of this machine.
_LEFT_OUT = ("Deployment",)
_START_SECONDS, _STOP_SECONDS = 900, 120


@dataclass(frozen=True)
class Cluster:
    """Where the control plane is, and how to be its administrator or the operator."""

    kubectl: Kubectl
    audit_log: Path
    kubeconfig: Path
    operator_kubeconfig: Path


def start(folder: Path) -> Cluster:
    """Start an empty cluster and install everything of the operator except its process.

    Args:
        folder: for the operator's kubeconfig.

    Raises:
        BenchmarkError: it did not start.
    """
    _devcluster("down", _STOP_SECONDS)
    _devcluster("up", _START_SECONDS)
    known = exports(_devcluster("env", _STOP_SECONDS))
    kubeconfig = Path(known["KUBECONFIG"])
    kubectl = Kubectl(str(Path(known["DEVCLUSTER_BIN"]) / "kubectl"), str(kubeconfig))
    _install(kubectl)
    operator = folder / "operator.kubeconfig"
    operator.write_text(_with_token(kubeconfig, kubectl.run("create", "token", "keras-operator", "-n", NAMESPACE)))
    operator.chmod(0o600)
    return Cluster(kubectl, Path(known["DEVCLUSTER_AUDIT_LOG"]), kubeconfig, operator)


def stop() -> None:
    """End the cluster and remove what it wrote."""
    _devcluster("down", _STOP_SECONDS)


def cpu_seconds() -> dict[str, float]:
    """User and system time of each component of the control plane since its start."""
    seconds: dict[str, float] = {}
    for process in of_cluster(replace(here(), fake_nodes=True).name):
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        seconds[process.name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def _install(kubectl: Kubectl) -> None:
    rendered = kubectl.run("kustomize", str(ROOT / "manifests" / "overlays" / "dev"))
    documents = [part for part in rendered.split("\n---\n") if not _is_left_out(part)]
    for only in ("Namespace", "CustomResourceDefinition", ""):
        chosen = [part for part in documents if not only or f"\nkind: {only}\n" in f"\n{part}\n"]
        kubectl.run("apply", "--server-side", "--force-conflicts", "-f", "-", text_in="\n---\n".join(chosen))
    kubectl.run("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")


def _is_left_out(document: str) -> bool:
    return any(line == f"kind: {kind}" for line in document.splitlines() for kind in _LEFT_OUT)


def _with_token(kubeconfig: Path, token: str) -> str:
    document = json.loads(kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token.strip()}
    return json.dumps(document)


def _devcluster(command: str, seconds: float) -> str:
    words = [sys.executable, "-m", "devcluster", command]
    environment = {**os.environ, "CLUSTER": "kwok"}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=seconds
    )
    if done.returncode != 0:
        raise BenchmarkError(f"`CLUSTER=kwok python3 -m devcluster {command}` failed:\n{done.stdout}{done.stderr}")
    return done.stdout
