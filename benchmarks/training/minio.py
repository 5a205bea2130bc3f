"""A MinIO of one's own on loopback, with what a run reads in it."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config

from benchmarks.training.errors import BenchmarkError
from devcluster.build import binary, build_all
from devcluster.places import here

_READY_WITHIN = 30.0


@dataclass(frozen=True)
class Minio:
    """A running MinIO."""

    endpoint: str
    environment: dict[str, str]
    """What its clients need."""

    def upload(self, folder: Path, bucket: str) -> None:
        """Every file below `folder`, by its path, into a new bucket; and an empty bucket `models`."""
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(proxies={}),
        )
        for name in (bucket, "models"):
            client.create_bucket(Bucket=name)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                client.put_object(Bucket=bucket, Key=str(path.relative_to(folder)), Body=path.read_bytes())


@contextmanager
def minio() -> Iterator[Minio]:
    """Start it, and end it with the context. Raises BenchmarkError where it does not answer."""
    places = here()
    build_all(places, ["minio"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    keys = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark-secret"}
    with tempfile.TemporaryDirectory(prefix="minio-") as folder:
        process = subprocess.Popen(
            [binary(places, "minio"), "server", "--quiet", "--address", f"127.0.0.1:{port}", f"{folder}/data"],
            env={
                "PATH": os.environ["PATH"],
                "HOME": folder,
                "MINIO_ROOT_USER": keys["AWS_ACCESS_KEY_ID"],
                "MINIO_ROOT_PASSWORD": keys["AWS_SECRET_ACCESS_KEY"],
                "MINIO_BROWSER": "off",
                "MINIO_UPDATE": "off",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until = time.monotonic() + _READY_WITHIN
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > until:
                    raise BenchmarkError("MinIO does not answer")
                time.sleep(0.05)
            yield Minio(f"http://127.0.0.1:{port}", keys)
        finally:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/minio/health/ready")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()
