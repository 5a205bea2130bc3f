"""Many small objects fetched by this project, by the AWS CLI and by s5cmd; the starts of the processes included."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.training.errors import BenchmarkError
from benchmarks.training.minio import Minio
from devcluster.build import binary, build_all
from devcluster.places import here

_AWS_CLI = "awscli==1.46.0"
_BUCKET = "objects"
_WITHIN = 1800.0


def fill(store: Minio, folder: Path) -> None:
    """Put every file below `folder` into a new bucket. Raises BenchmarkError."""
    build_all(here(), ["s5cmd"])
    s5cmd = [str(binary(here(), "s5cmd")), "--endpoint-url", store.endpoint]
    _run([*s5cmd, "mb", f"s3://{_BUCKET}"], store)
    _run([*s5cmd, "cp", f"{folder}/", f"s3://{_BUCKET}/"], store)
    # Installed, where it is missing, before it is measured.
    _run([*_aws_cli(), "--version"], store)


def seconds(way: str, store: Minio, scratch: Path, count: int) -> float:
    """How long it takes to have all `count` objects as files, in one of WAYS. Raises BenchmarkError."""
    target = scratch / way
    target.mkdir()
    began = time.perf_counter()
    _run(WAYS[way](store, target), store)
    took = time.perf_counter() - began
    found = sum(1 for path in target.rglob("*") if path.is_file())
    if found != count:
        raise BenchmarkError(f"{way} brought {found} of {count} objects")
    shutil.rmtree(target)
    return took


def _this(store: Minio, target: Path) -> list[str]:
    # What a Job starts first of all, while TensorFlow is imported.
    return [sys.executable, "-m", "model_trainer.data.read_ahead", f"s3://{_BUCKET}", store.endpoint, str(target)]


def _aws(store: Minio, target: Path) -> list[str]:
    words = ["--endpoint-url", store.endpoint, "s3", "cp", "--recursive", "--quiet", f"s3://{_BUCKET}", str(target)]
    return [*_aws_cli(), *words]


def _s5cmd(store: Minio, target: Path) -> list[str]:
    return [str(binary(here(), "s5cmd")), "--endpoint-url", store.endpoint, "cp", f"s3://{_BUCKET}/*", f"{target}/"]


WAYS: dict[str, Callable[[Minio, Path], list[str]]] = {"aws": _aws, "s5cmd": _s5cmd, "this": _this}


def _aws_cli() -> list[str]:
    """An environment of its own, because it asks for one botocore and no other; kept in uv's cache."""
    uv = next(iter(sorted(here().cache.glob("uv-*/bin/uv"), reverse=True)), None)
    if uv is None:
        raise BenchmarkError("uv is not in the cache: run `make setup`, which installs it")
    return [str(uv), "tool", "run", "--quiet", "--from", _AWS_CLI, "aws"]


def _run(words: list[str], store: Minio) -> None:
    environment = os.environ | store.environment | {"AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": "us-east-1"}
    done = subprocess.run(
        words,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=_WITHIN,
        check=False,
    )
    if done.returncode != 0:
        raise BenchmarkError(f"{words[0]} ended with {done.returncode}: {done.stderr[-1000:]}")
