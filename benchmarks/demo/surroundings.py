"""What the running cluster says about itself: where its API, its object storage and its audit log are."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.demo.errors import DemoError


@dataclass(frozen=True)
class Surroundings:
    """Everything that the demo has to know about the cluster; `audit_log` is None where there is none to read."""

    kubeconfig: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str
    audit_log: Path | None


def surroundings() -> Surroundings:
    """Read from `python3 -m devcluster env`, or from the environment where the same variables are set already."""
    known: Mapping[str, str] = os.environ
    if "DEVCLUSTER_S3_ENDPOINT" not in known:
        words = [sys.executable, "-m", "devcluster", "env"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DemoError(f"python3 -m devcluster env: {done.stderr.strip().removeprefix('error: ')}.")
        known = {**os.environ, **exports(done.stdout)}
    missing = [name for name in ("KUBECONFIG", *_S3) if not known.get(name)]
    if missing:
        raise DemoError(f"{', '.join(missing)} not set: run `make cluster`, or set them for your own cluster.")
    audit = known.get("DEVCLUSTER_AUDIT_LOG")
    endpoint, access, secret = (known[name] for name in _S3)
    return Surroundings(known["KUBECONFIG"], endpoint, access, secret, Path(audit) if audit else None)


_S3 = ("DEVCLUSTER_S3_ENDPOINT", "DEVCLUSTER_S3_ACCESS_KEY", "DEVCLUSTER_S3_SECRET_KEY")


def exports(shell: str) -> dict[str, str]:
    """The variables that shell lines such as `export A=1 B='x y'` set."""
    words = shlex.split(shell, comments=True)
    return dict(word.split("=", 1) for word in words if "=" in word and not word.startswith("="))


def machine() -> str:
    """This machine in one line: processors, memory, system without what its builder added to its version."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    kib = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return (
        f"{os.cpu_count()} × {model}, {kib / 2**20:.0f} GiB, {platform.system()} {platform.release().partition('-')[0]}"
    )


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []
