"""Environments of other servers, and of clients in tests: one each in the cache, made once from its pins."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.serving.errors import BenchmarkError
from devcluster.places import here, locked

PEERS = Path(__file__).parent / "peers"
_SECONDS_TO_INSTALL = 1800


def install_all() -> None:
    """Make every environment that is missing. Raises BenchmarkError."""
    for pins in sorted((PEERS / "pins").glob("*.txt")):
        environment(pins.stem)


def environment(name: str) -> Path:
    """The folder with the programs of the environment `peers/pins/<name>.txt`. Raises BenchmarkError."""
    return environment_of(PEERS / "pins" / f"{name}.txt")


def environment_of(pins: Path) -> Path:
    """The folder with the programs of an environment of these pins, made where it is missing.

    Raises:
        BenchmarkError: it cannot be made.
    """
    key = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = here().cache / "serving-peers" / f"{pins.stem}-{key}"
    with locked(folder.with_name(f"{pins.stem}.lock")):
        if not folder.is_dir():
            _make(pins, folder)
    return folder / "bin"


def _make(pins: Path, folder: Path) -> None:
    """Under its final name from the first: programs in an environment name its path. Half of one is removed."""
    print(f"installing {pins.stem} …", flush=True)
    uv = _uv()
    try:
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        # Compiled at once, as an image would be: the first start is then as soon as the others.
        _run([uv, "pip", "sync", "--quiet", "--compile-bytecode", "--python", str(folder / "bin/python"), str(pins)])
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _uv() -> str:
    """The uv that `make setup` has installed."""
    found = os.environ.get("UV") or shutil.which("uv") or next(map(str, here().cache.glob("uv-*/bin/uv")), None)
    if found is None:
        raise BenchmarkError("uv was not found in the cache or on PATH: run `make setup`, which installs it")
    return found


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS_TO_INSTALL, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"`{' '.join(command)}` did not end within {_SECONDS_TO_INSTALL} s") from error
    if done.returncode:
        raise BenchmarkError(f"`{' '.join(command)}` ended with status {done.returncode}: {done.stderr.strip()[-800:]}")
