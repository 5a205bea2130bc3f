"""A store that goes away in the middle: the next attempt goes on, and nothing half-done is ever visible."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import IncompleteReadError
from botocore.response import StreamingBody

from model_store import Corrupt, NotFound, Unreachable, fetch, open_store, publish
from model_store.s3 import RESUMES, S3Store

if TYPE_CHECKING:
    from tests.unit.model_store.conftest import Minio

MIB = 1024 * 1024


def s3(bucket: str, endpoint: str) -> S3Store:
    store = open_store(f"s3://{bucket}/models", endpoint=endpoint)
    assert isinstance(store, S3Store)
    return store


def test_an_upload_that_lost_its_store_is_taken_up_again(
    own_minio: Minio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servable = tmp_path / "servable"
    servable.mkdir()
    big = hashlib.shake_256(b"weights").digest(64 * MIB)
    (servable / "saved_model.pb").write_bytes(b"graph")
    (servable / "variables").write_bytes(big)
    store = s3(own_minio.bucket(), own_minio.endpoint)
    store.upload(servable / "saved_model.pb", "1/saved_model.pb")
    parts = []

    def kill_at_the_third_part(request: Any, **_: Any) -> None:
        parts.append(request)
        if len(parts) == 3:
            own_minio.kill()

    store._client.meta.events.register("before-send.s3.UploadPart", kill_at_the_third_part)
    with pytest.raises(Unreachable, match=own_minio.endpoint) as caught:
        publish(store, 1, servable, {})
    assert caught.value.retryable
    assert len(parts) >= 3

    own_minio.start()
    with pytest.raises(NotFound, match="Version 1 is not published"):
        fetch(store, 1, tmp_path / "models")
    assert not store.exists("1/variables")

    sent: list[str] = []

    def upload(path: Path, key: str, *, sha256: str | None = None) -> None:
        sent.append(key)
        S3Store.upload(store, path, key, sha256=sha256)

    monkeypatch.setattr(store, "upload", upload)
    publish(store, 1, servable, {})
    assert sent == ["1/variables"]
    fetch(store, 1, tmp_path / "models")
    assert (tmp_path / "models" / "1" / "variables").read_bytes() == big


def break_streams(monkeypatch: pytest.MonkeyPatch, times: int, then: Any = lambda: None) -> list[int]:
    """Let the next `times` answers break after two chunks. The list that is returned gets one item a stream."""
    whole = StreamingBody.iter_chunks
    opened: list[int] = []

    def iter_chunks(body: StreamingBody, size: int = 1024) -> Iterator[bytes]:
        opened.append(size)
        breaks = len(opened) <= times
        for number, chunk in enumerate(whole(body, size)):
            if breaks and number == 2:
                then()
                raise IncompleteReadError(actual_bytes=number, expected_bytes=number + 1)
            yield chunk

    monkeypatch.setattr(StreamingBody, "iter_chunks", iter_chunks)
    return opened


@pytest.fixture
def stored(minio: Minio, bucket: str, tmp_path: Path) -> S3Store:
    store = s3(bucket, minio.endpoint)
    (tmp_path / "source").write_bytes(hashlib.shake_256(b"x").digest(13 * MIB + 1))
    store.upload(tmp_path / "source", "a")
    return store


def test_a_broken_download_goes_on_where_it_stopped(
    stored: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = break_streams(monkeypatch, times=RESUMES)
    source = tmp_path / "source"
    assert stored.download("a", tmp_path / "target") == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (tmp_path / "target").read_bytes() == source.read_bytes()
    assert len(opened) == RESUMES + 1


def test_a_download_that_always_breaks_ends_and_leaves_nothing(
    stored: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_streams(monkeypatch, times=100)
    with pytest.raises(Unreachable, match=r"broke while s3://.*/models/a was in use"):
        stored.download("a", tmp_path / "new" / "target")
    assert list((tmp_path / "new").iterdir()) == []


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed(
    stored: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_streams(monkeypatch, times=1, then=lambda: stored.write("a", b"another one"))
    with pytest.raises(Corrupt, match="was replaced while it was being read"):
        stored.download("a", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_one_failed_file_stops_a_publication_before_its_manifest(
    minio: Minio, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        (tmp_path / "servable").mkdir(exist_ok=True)
        (tmp_path / "servable" / str(number)).write_bytes(b"x")
    store = s3(bucket, minio.endpoint)
    asked: list[str] = []

    def upload(path: Path, key: str, *, sha256: str | None = None) -> None:
        asked.append(key)
        raise Unreachable("gone")

    monkeypatch.setattr(store, "upload", upload)
    with pytest.raises(Unreachable, match="gone"):
        publish(store, 1, tmp_path / "servable", {})
    assert len(asked) < 20
    assert list(store.list()) == []
