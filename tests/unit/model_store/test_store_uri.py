"""Store uris: what is accepted, and the sentence for what is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_store import AccessDenied, StoreUriError, open_store


@pytest.mark.parametrize(
    ("uri", "normal"),
    [
        ("s3://models", "s3://models"),
        ("s3://models/", "s3://models"),
        ("s3://models/Dog Classifier/ü", "s3://models/Dog Classifier/ü"),
        ("s3://models/a/b/", "s3://models/a/b"),
        ("file:///var/models/", "file:///var/models"),
        ("file:///var/my%20models", "file:///var/my%20models"),
    ],
)
def test_a_good_uri_opens_a_store(uri: str, normal: str) -> None:
    assert open_store(uri).uri == normal


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("models", "has no scheme; write s3://bucket/prefix"),
        ("gs://models/x", "begins with 'gs://', which is not supported"),
        ("S3://models/x", "begins with 'S3://'"),
        ("s3://", "names the bucket ''"),
        ("s3:///prefix", "names the bucket ''"),
        ("s3://No_Bucket/x", "names the bucket 'No_Bucket'"),
        ("s3://key:secret@models/x", "names the bucket"),
        ("s3://models/a/../b", "has a part '.' or '..'"),
        ("s3://models//a", "is an absolute path"),
        ("file://models", "names no absolute folder"),
        ("file:///", "names no absolute folder"),
        ("file:///a/../../etc", "has a part '.' or '..'"),
        ("file:///a/%2e%2e/etc", "has a part '.' or '..'"),
    ],
)
def test_a_bad_uri_is_refused_with_what_to_write(uri: str, sentence: str) -> None:
    with pytest.raises(StoreUriError) as caught:
        open_store(uri)
    assert sentence in str(caught.value)
    assert "write s3://bucket/prefix" in str(caught.value)


@pytest.mark.parametrize("endpoint", ["minio:9000", "ftp://minio", "http://", "http://minio:port", "http://minio:0"])
def test_a_bad_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(StoreUriError, match="http://minio:9000"):
        open_store("s3://models/x", endpoint=endpoint)


def test_a_link_does_not_lead_out_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "private").write_text("x")
    (tmp_path / "store" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "store" / "file").symlink_to(tmp_path / "outside" / "private")
    store = open_store(f"file://{tmp_path}/store")
    assert list(store.list()) == []
    for key in ("link/private", "file"):
        with pytest.raises(StoreUriError, match="symbolic link"):
            store.read(key, limit=10)
        with pytest.raises(StoreUriError, match="symbolic link"):
            store.write(key, b"y")
    assert (tmp_path / "outside" / "private").read_text() == "x"


def test_a_folder_that_may_not_be_used_is_named(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/store")
    store.write("a", b"1")
    with as_nobody(), pytest.raises(AccessDenied, match=f"change the owner or the mode of {tmp_path}/store"):
        store.write("b", b"1")
    with as_nobody(), pytest.raises(AccessDenied, match="user id"):
        store.read("a", limit=1)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may do everything, so be somebody else for a moment."""
    user = os.geteuid()
    if user != 0:
        pytest.skip("only root can become somebody who may not use a folder")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_unfinished_writes_are_out_of_sight(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")
    store.write("a", b"1")
    (tmp_path / ".partial" / "left-by-a-killed-process").write_bytes(b"half")
    assert [entry.key for entry in store.list()] == ["a"]
    assert list(store.folders()) == []
    with pytest.raises(StoreUriError, match="unfinished writes"):
        store.read(".partial/left-by-a-killed-process", limit=10)
