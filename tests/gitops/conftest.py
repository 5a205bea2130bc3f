"""Real programs of other projects that judge objects: built from their pinned Go modules when a test asks for them."""

import json
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from devcluster.build import binary, build_all
from devcluster.places import here

ROOT = Path(__file__).resolve().parents[2]
Judge = Callable[[Iterable[dict[str, Any]]], list[dict[str, str]]]


def program(pin: str, name: str) -> str:
    """The path of a program of devcluster/go, built if need be."""
    build_all(here(), [pin])
    return str(binary(here(), name))


def _judge(*command: str) -> Judge:
    def judge(objects: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
        lines = "\n".join(json.dumps(content) for content in objects)
        done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return judge


@pytest.fixture(scope="session")
def kstatus() -> Judge:
    """The status and message that kstatus computes for each object."""
    return _judge(program("kstatus", "kstatus"))


@pytest.fixture(scope="session")
def argocd_health() -> Judge:
    """The health and message that Argo CD shows for each object with the health check of manifests/argocd."""
    return _judge(program("argocd-health", "argocd-health"), str(ROOT / "manifests" / "argocd" / "health.lua"))


@pytest.fixture(scope="session")
def kubectl() -> str:
    """The path of kubectl; no cluster is needed for what is done with it here."""
    return program("kubernetes", "kubectl")
