"""How the demo learns where the cluster is, and how it tells people what to try next."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.demo.errors import DemoError
from benchmarks.demo.kubectl import Kubectl
from benchmarks.demo.next_steps import next_steps
from benchmarks.demo.predict import most_probable
from benchmarks.demo.surroundings import exports, machine, surroundings


def test_shell_exports_are_read() -> None:
    lines = "export KUBECONFIG=/a/b DEVCLUSTER_S3_SECRET_KEY='x y'\n# a comment\nexport EMPTY=\n"
    assert exports(lines) == {"KUBECONFIG": "/a/b", "DEVCLUSTER_S3_SECRET_KEY": "x y", "EMPTY": ""}


def test_variables_that_are_set_win_over_the_dev_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/k")
    monkeypatch.setenv("DEVCLUSTER_S3_ENDPOINT", "http://s3:9000")
    monkeypatch.setenv("DEVCLUSTER_S3_ACCESS_KEY", "a")
    monkeypatch.setenv("DEVCLUSTER_S3_SECRET_KEY", "s")
    monkeypatch.delenv("DEVCLUSTER_AUDIT_LOG", raising=False)
    found = surroundings()
    assert (found.kubeconfig, found.s3_endpoint, found.audit_log) == ("/k", "http://s3:9000", None)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/k")
    monkeypatch.setenv("DEVCLUSTER_S3_ENDPOINT", "http://s3:9000")
    monkeypatch.delenv("DEVCLUSTER_S3_ACCESS_KEY", raising=False)
    monkeypatch.setenv("DEVCLUSTER_S3_SECRET_KEY", "s")
    with pytest.raises(DemoError, match="DEVCLUSTER_S3_ACCESS_KEY not set"):
        surroundings()


def test_the_machine_is_told_in_one_line() -> None:
    assert "GiB" in machine()
    assert "\n" not in machine()


def test_the_most_probable_class_is_the_largest() -> None:
    assert most_probable([0.1, 0.7, 0.2]) == 1


def test_what_to_try_next_works_as_it_is_printed(tmp_path: Path) -> None:
    image = tmp_path / "held out" / "7" / "0042.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(bytes(range(256)))
    kubectl = Kubectl(f"{tmp_path}/a b/kubectl", f"{tmp_path}/kube config")
    text = next_steps(kubectl, namespace="demo", model="digits", address="198.18.1.2:8501", image=image)
    commands = "\n".join(line for line in text.splitlines() if line.startswith("  "))
    # Each program writes down its words as JSON instead of doing anything.
    shown = "import json, sys; print(json.dumps(sys.argv[1:]))"
    programs = "".join(
        f"{name}() {{ '{sys.executable}' -c '{shown}' {name} \"$@\"; }}\n" for name in ("curl", "kubectl", "make")
    )
    done = subprocess.run(["bash", "-euc", programs + commands], capture_output=True, text=True, check=True)
    called = [json.loads(line) for line in done.stdout.splitlines()]
    curl, *others = called
    assert curl[0::3] == ["curl", "http://198.18.1.2:8501/v1/models/digits:predict"]
    body = json.loads(curl[2])
    assert base64.b64decode(body["instances"][0]["b64"]) == bytes(range(256))
    patches = [json.loads(words[-1].removeprefix("-p=")) for words in others if "patch" in words]
    assert [patch["spec"]["training"]["seed"] for patch in patches] == [7, 8]
    assert others[-1] == ["make", "demo-down"]
