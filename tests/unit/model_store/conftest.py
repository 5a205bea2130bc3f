"""A real MinIO on loopback, and the same empty store once as a folder and once as a bucket."""

from __future__ import annotations

import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from devcluster.build import binary
from devcluster.places import here
from model_store import Store, open_store

ACCESS_KEY, SECRET_KEY = "store-tests", "store-tests-secret"
READY_WITHIN = 30.0


class Minio:
    """One MinIO process with a folder of its own; `kill` and `start` keep its port and its data."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary, self.folder = binary, folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.access_key, self.secret_key = ACCESS_KEY, SECRET_KEY
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "MINIO_ROOT_USER": ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": SECRET_KEY,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }
        address = f"127.0.0.1:{self.port}"
        with (self.folder / "minio.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "server", "--quiet", "--address", address, self.folder / "data"],
                env=environment,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + READY_WITHIN
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"MinIO does not answer: {(self.folder / 'minio.log').read_text()}")
            time.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/minio/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def bucket(self) -> str:
        """A new, empty bucket."""
        name = f"tests-{secrets.token_hex(6)}"
        client = boto3.Session(ACCESS_KEY, SECRET_KEY).client("s3", endpoint_url=self.endpoint, region_name="us-east-1")
        client.create_bucket(Bucket=name)
        return name


@pytest.fixture(scope="session")
def minio_binary() -> Path:
    """The one that the dev cluster runs, else the one on the PATH."""
    built = binary(here(), "minio")
    found = built if built.exists() else shutil.which("minio")
    if not found:
        pytest.fail(f"There is no {built}, and no minio on the PATH: run `make cluster` once, which builds it.")
    return Path(found)


@pytest.fixture(scope="session")
def running_minio(minio_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    minio = Minio(minio_binary, tmp_path_factory.mktemp("minio"))
    minio.start()
    yield minio
    minio.kill()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials as a pod has them, and nothing that this machine's user may have configured."""
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.fixture
def minio(running_minio: Minio, credentials: None) -> Minio:
    return running_minio


@pytest.fixture
def bucket(minio: Minio) -> str:
    return minio.bucket()


@pytest.fixture
def own_minio(minio_binary: Path, tmp_path: Path, credentials: None) -> Iterator[Minio]:
    """A MinIO that only this test uses, so that it may kill it."""
    folder = tmp_path / "minio"
    folder.mkdir()
    minio = Minio(minio_binary, folder)
    minio.start()
    yield minio
    minio.kill()


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(f"file://{tmp_path}/store/models")
    minio: Minio = request.getfixturevalue("minio")
    return open_store(f"s3://{request.getfixturevalue('bucket')}/models", endpoint=minio.endpoint)
