"""Stores that refuse or do not answer: each failure is one of our errors, and its sentence says what to do."""

from __future__ import annotations

import json
import os
import socket
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.loaders import JSONFileLoader

import model_store.s3 as s3_store
from model_store import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    Corrupt,
    NoSpace,
    NotFound,
    Store,
    StoreError,
    StoreUriError,
    Unreachable,
    claim,
    open_store,
    read_manifest,
)
from model_store.s3_faults import Place, explain

if TYPE_CHECKING:
    from tests.unit.model_store.conftest import Minio


def s3(uri: str, endpoint: str) -> Store:
    return open_store(uri, endpoint=endpoint)


def every_operation(store: Store, tmp_path: Path) -> list[Any]:
    (tmp_path / "source").write_bytes(b"x")
    return [
        lambda: list(store.list()),
        lambda: list(store.folders()),
        lambda: store.read("a", limit=1),
        lambda: store.write("a", b"x"),
        lambda: store.write("a", b"x", only_if_absent=True),
        lambda: store.upload(tmp_path / "source", "a"),
        lambda: store.download("a", tmp_path / "target"),
        lambda: store.exists("a"),
        lambda: claim(store, 1, "uid"),
        lambda: read_manifest(store, 1),
    ]


def test_a_missing_bucket_is_named_by_every_operation(minio: Minio, tmp_path: Path) -> None:
    for operation in every_operation(s3("s3://not-there/models", minio.endpoint), tmp_path):
        with pytest.raises(BucketNotFound, match=f"no bucket 'not-there' at {minio.endpoint}.*create it") as caught:
            operation()
        assert not caught.value.retryable


def test_an_unknown_access_key_is_named(
    minio: Minio, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    for operation in every_operation(s3(f"s3://{bucket}/models", minio.endpoint), tmp_path):
        with pytest.raises(AccessDenied, match=r"does not know the access key id.*correct AWS_ACCESS_KEY_ID"):
            operation()


def test_a_wrong_secret_key_is_named(
    minio: Minio, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    for operation in every_operation(s3(f"s3://{bucket}/models", minio.endpoint), tmp_path):
        with pytest.raises(AccessDenied, match=r"does not belong to its access key id.*AWS_SECRET_ACCESS_KEY"):
            operation()


def test_missing_credentials_are_named(
    minio: Minio, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for operation in every_operation(s3(f"s3://{bucket}/models", minio.endpoint), tmp_path):
        with pytest.raises(AccessDenied, match=r"There are no credentials for s3://.*set AWS_ACCESS_KEY_ID"):
            operation()


def test_credentials_without_the_right_are_told_what_to_allow(
    minio: Minio, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = {"Effect": "Allow", "Action": ["s3:ListAllMyBuckets"], "Resource": ["arn:aws:s3:::*"]}
    session = boto3.Session(minio.access_key, minio.secret_key, region_name="us-east-1")
    keys = session.client("sts", endpoint_url=minio.endpoint).assume_role(
        RoleArn="arn:x:ignored:by:minio:",
        RoleSessionName="tests",
        Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", keys["SessionToken"])
    store = s3(f"s3://{bucket}/models", minio.endpoint)
    for operation in [*every_operation(store, tmp_path), lambda: store.holds("a", size=1, sha256="0" * 64)]:
        with pytest.raises(AccessDenied, match=f"may not do this.*allow s3:ListBucket on '{bucket}'"):
            operation()


def test_an_endpoint_where_nobody_listens_is_unreachable(credentials: None, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match=f"http://127.0.0.1:{port} cannot be reached") as caught:
        s3("s3://models/x", f"http://127.0.0.1:{port}").read("a", limit=1)
    assert caught.value.retryable


def test_a_store_that_takes_connections_and_says_nothing_is_told_of_before_a_slow_listing_would_be(
    credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_store, "CLIENT", s3_store.CLIENT.merge(Config(read_timeout=3600)))
    monkeypatch.setattr(s3_store, "SMALL", s3_store.SMALL.merge(Config(read_timeout=0.1)))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Unreachable, match=f"http://127.0.0.1:{port} did not answer in time about s3://models/x/a"):
            s3("s3://models/x", f"http://127.0.0.1:{port}").read("a", limit=1)


def test_a_host_name_that_nobody_knows_is_unreachable(credentials: None) -> None:
    with pytest.raises(Unreachable, match=r"http://minio.invalid:9000 cannot be reached"):
        s3("s3://models/x", "http://minio.invalid:9000").read("a", limit=1)


def test_tls_against_a_server_without_it_is_explained(minio: Minio) -> None:
    with pytest.raises(Unreachable, match=r"does not speak TLS.*use http://"):
        s3("s3://models/x", minio.endpoint.replace("http:", "https:")).read("a", limit=1)


@pytest.mark.parametrize(
    ("code", "status", "kind", "sentence"),
    [
        ("RequestTimeTooSkewed", 403, AccessDenied, "clock"),
        ("ExpiredToken", 400, AccessDenied, "renew AWS_SESSION_TOKEN"),
        ("SomethingNew", 403, AccessDenied, "may not do this"),
        ("403", 403, AccessDenied, "may not do this"),
        ("PermanentRedirect", 301, StoreUriError, "set AWS_REGION"),
        ("PreconditionFailed", 412, AlreadyExists, "is not overwritten"),
        ("404", 404, NotFound, "is not there"),
        ("XMinioStorageFull", 507, NoSpace, "The disk under the store is full"),
        ("BadDigest", 400, Corrupt, "damaged on its way"),
        ("SlowDown", 503, Unreachable, "HTTP 503"),
        ("InternalError", 500, Unreachable, "it usually passes"),
        ("ConditionalRequestConflict", 409, Unreachable, "it usually passes"),
        ("MethodNotAllowed", 405, StoreError, "HTTP 405"),
    ],
)
def test_each_answer_of_a_store_has_its_error(code: str, status: int, kind: type[StoreError], sentence: str) -> None:
    answer: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = explain(ClientError(answer, "PutObject"), Place("s3://models/x/a", "models", "http://minio:9000"))
    assert type(error) is kind
    assert sentence in str(error)
    assert "s3://models/x" in str(error)
    assert error.retryable == (kind is Unreachable)


def test_a_second_store_does_not_read_again_what_botocore_knows_of_s3(
    minio: Minio, bucket: str, credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3(f"s3://{bucket}/models", minio.endpoint).write("a", b"1")

    def load(*_: object) -> None:
        pytest.fail("a file was read")

    monkeypatch.setattr(JSONFileLoader, "load_file", load)
    assert s3(f"s3://{bucket}/models", minio.endpoint).read("a", limit=1) == b"1"


def test_credentials_that_were_corrected_in_their_file_are_those_of_the_next_store(
    minio: Minio, bucket: str, credentials: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    s3(f"s3://{bucket}/models", minio.endpoint).write("a", b"1")
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    user, password = (os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for secret, refused in (("wrong", True), (password, False)):
        file.write_text(f"[default]\naws_access_key_id = {user}\naws_secret_access_key = {secret}\n")
        store = s3(f"s3://{bucket}/models", minio.endpoint)
        outcome: AbstractContextManager[object] = pytest.raises(AccessDenied) if refused else nullcontext()
        with outcome:
            assert store.read("a", limit=1) == b"1"
