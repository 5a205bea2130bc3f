"""What `make cluster-status` says, and what `make -n` does."""

import os
import subprocess
from pathlib import Path

import pytest

from devcluster.node_cluster import readiness

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("count", "ready", "said"),
    [
        pytest.param(1, True, "node is Ready", id="one"),
        pytest.param(1, False, "node is not ready", id="one that is not"),
        pytest.param(2, True, "all nodes are Ready", id="two"),
        pytest.param(2, False, "not all nodes are ready", id="two of which one may be"),
    ],
)
def test_the_status_says_whether_all_nodes_are_ready(count, ready, said):
    assert readiness(count, ready=ready) == said


def test_make_tells_what_the_tests_would_do_and_does_nothing(tmp_path):
    done = tmp_path / "done"
    for program in ("python3", "apt-get"):
        fake = tmp_path / program
        fake.write_text(f'#!/bin/sh\necho "$0 $*" >> {done}\n')
        fake.chmod(0o755)
    surroundings = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        surroundings.pop(name, None)
    told = subprocess.run(
        ["make", "-n", "test"], cwd=ROOT, env=surroundings, capture_output=True, text=True, check=True
    ).stdout
    assert not done.exists(), done.read_text()
    steps = [told.index(f"devcluster {word}") for word in ("up", "build", "images")]
    assert steps == sorted(steps)
    assert "pytest tests/chaos" in told
