"""Training reads many small objects through obstore, and whatever that cannot do through boto3, on a real MinIO."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from model_store import (
    AccessDenied,
    BucketNotFound,
    Changed,
    NotFound,
    Store,
    StoreError,
    TooLarge,
    Unreachable,
    open_store,
)
from model_trainer.data.quick_reads import MOST_FAILURES, quick_reads
from model_trainer.data.stand_in import StandIn
from tests.unit.model_store.conftest import Minio

KEYS = (
    "cats/1.png",
    "cats and dogs/a picture (1).png",
    "größe/写真~1.png",
    "per%20cent/100%.png",
    "plus+and&/=?#[x]'!*;:@,$.png",
    "back\\slash|pipe^caret`tick{brace}.png",
    "dots/..hidden/a..png",
)


@dataclass
class Asked(StandIn):
    """boto3's store, which counts what it is asked for."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.keys: list[str] = []

    def read(self, key: str, *, limit: int, etag: str | None = None) -> bytes:
        self.keys.append(key)
        return super().read(key, limit=limit, etag=etag)


@pytest.fixture
def slow(minio: Minio, bucket: str) -> Asked:
    return Asked(open_store(f"s3://{bucket}/data/set 1", endpoint=minio.endpoint))


@pytest.mark.parametrize("key", KEYS)
def test_any_name_is_read_as_it_is(slow, minio, key):
    slow.write(key, key.encode())
    slow.write("another", b"another")
    quick = quick_reads(slow, minio.endpoint)
    assert quick.read(key, limit=1000) == key.encode()


def test_boto3_has_nothing_to_do(slow, minio):
    for number in range(20):
        slow.write(f"{number}.png", bytes([number]) * 1000)
    quick = quick_reads(slow, minio.endpoint)
    assert [quick.read(f"{number}.png", limit=1000)[0] for number in range(20)] == list(range(20))
    assert slow.keys == []
    assert {entry.key for entry in quick.list()} == {f"{number}.png" for number in range(20)}


def test_an_object_at_the_root_of_a_bucket_is_read(minio, bucket):
    slow = Asked(open_store(f"s3://{bucket}", endpoint=minio.endpoint))
    slow.write("1.png", b"one")
    assert quick_reads(slow, minio.endpoint).read("1.png", limit=3) == b"one"
    assert slow.keys == []


def test_what_is_missing_or_too_large_is_said_as_ever(slow, minio):
    slow.write("1.png", b"four")
    quick = quick_reads(slow, minio.endpoint)
    for key, limit, error in (("2.png", 4, NotFound), ("1.png", 3, TooLarge)):
        said = [_failure(store, key, limit, error) for store in (quick, slow)]
        assert said[0] == said[1]
    nowhere = open_store("s3://no-such-bucket-anywhere", endpoint=minio.endpoint)
    with pytest.raises(BucketNotFound):
        quick_reads(nowhere, minio.endpoint).read("1.png", limit=4)


def test_what_was_replaced_since_it_was_listed_is_not_read_as_that(slow, minio):
    slow.write("1.png", b"old")
    quick = quick_reads(slow, minio.endpoint)
    listed = quick.entry("1.png").etag
    assert quick.read("1.png", limit=3, etag=listed) == b"old"
    assert slow.keys == []
    slow.write("1.png", b"new")
    for _ in range(MOST_FAILURES + 1):
        with pytest.raises(Changed):
            quick.read("1.png", limit=3, etag=listed)
    slow.keys.clear()
    assert quick.read("1.png", limit=3) == b"new"
    assert slow.keys == []


def test_wrong_credentials_are_said_as_ever_and_not_tried_for_ever(slow, minio, bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    wrong = Asked(open_store(f"s3://{bucket}/data", endpoint=minio.endpoint))
    quick = quick_reads(wrong, minio.endpoint)
    for _ in range(MOST_FAILURES + 2):
        with pytest.raises(AccessDenied, match="AWS_SECRET_ACCESS_KEY"):
            quick.read("1.png", limit=4)
    assert len(wrong.keys) == MOST_FAILURES + 2
    assert quick._failures == MOST_FAILURES  # type: ignore[attr-defined]


def test_a_store_that_is_away_is_said_as_ever_and_goes_on_when_it_is_back(own_minio):
    store = open_store(f"s3://{own_minio.bucket()}", endpoint=own_minio.endpoint)
    store.write("1.png", b"one")
    quick = quick_reads(store, own_minio.endpoint)
    own_minio.kill()
    with pytest.raises(Unreachable):
        quick.read("1.png", limit=3)
    own_minio.start()
    assert quick.read("1.png", limit=3) == b"one"


def test_a_folder_is_read_as_it_is(tmp_path):
    store = open_store(f"file://{tmp_path}")
    assert quick_reads(store, None) is store


def test_without_credentials_boto3_is_left_to_say_so(minio, bucket, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    store = open_store(f"s3://{bucket}", endpoint=minio.endpoint)
    assert quick_reads(store, minio.endpoint) is store


def _failure(store: Store, key: str, limit: int, error: type[StoreError]) -> str:
    with pytest.raises(error) as raised:
        store.read(key, limit=limit)
    return str(raised.value)
