"""What every store does alike: the same tests against a folder and against a real bucket."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from model_store import AlreadyExists, Changed, NotFound, Store, StoreUriError, TooLarge, open_store

if TYPE_CHECKING:
    from tests.unit.model_store.conftest import Minio

BAD_KEYS = ["", "/etc/passwd", "../x", "a/../../x", "a/./b", "a//b", "a/", "a\nb", "\udcff", "x" * 1025]


def keys(store: Store, prefix: str = "") -> list[str]:
    return [entry.key for entry in store.list(prefix)]


def test_what_was_written_is_read(store: Store) -> None:
    store.write("a/b.json", b"{}")
    assert store.read("a/b.json", limit=2) == b"{}"
    assert store.exists("a/b.json")


def test_an_empty_object_is_an_object(store: Store, tmp_path: Path) -> None:
    store.write("empty", b"")
    assert store.read("empty", limit=0) == b""
    assert store.download("empty", tmp_path / "empty") == hashlib.sha256(b"").hexdigest()
    assert (tmp_path / "empty").read_bytes() == b""


def test_a_write_replaces(store: Store) -> None:
    store.write("a", b"old")
    store.write("a", b"new")
    assert store.read("a", limit=10) == b"new"


def test_a_conditional_write_never_replaces(store: Store) -> None:
    store.write("a", b"first", only_if_absent=True)
    with pytest.raises(AlreadyExists, match="a is already there"):
        store.write("a", b"second", only_if_absent=True)
    assert store.read("a", limit=10) == b"first"


def test_one_of_many_conditional_writers_wins(store: Store) -> None:
    start = threading.Barrier(8)
    outcomes: list[int | None] = []

    def write(number: int) -> None:
        start.wait()
        try:
            store.write("a", str(number).encode(), only_if_absent=True)
        except AlreadyExists:
            outcomes.append(None)
        else:
            outcomes.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if outcome is not None]
    assert len(outcomes) == 8
    assert winners == [int(store.read("a", limit=10))]


def test_reading_names_what_is_missing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=f"{store.uri}/nowhere/x is not there"):
        store.read("nowhere/x", limit=10)
    with pytest.raises(NotFound, match="nowhere/x is not there"):
        store.download("nowhere/x", tmp_path / "x")
    assert not store.exists("nowhere/x")
    assert list(tmp_path.glob("x*")) == []


def test_an_entry_is_what_a_listing_has(store: Store) -> None:
    store.write("a/b", b"12")
    assert [store.entry("a/b")] == [*store.list()]
    for key in ("a", "a/b/c", "nowhere"):
        with pytest.raises(NotFound, match=f"{store.uri}/{key} is not there"):
            store.entry(key)


def test_what_was_replaced_since_it_was_listed_is_not_read_as_that(minio: Minio, bucket: str, tmp_path: Path) -> None:
    store = open_store(f"s3://{bucket}/models", endpoint=minio.endpoint)
    store.write("a", b"old")
    listed = store.entry("a").etag
    assert store.read("a", limit=3, etag=listed) == b"old"
    store.write("a", b"new")
    with pytest.raises(Changed, match="models/a was replaced since it was listed"):
        store.read("a", limit=3, etag=listed)
    with pytest.raises(Changed):
        store.download("a", tmp_path / "a", etag=listed)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_an_object(store: Store) -> None:
    store.write("a/b", b"1")
    assert not store.exists("a")
    with pytest.raises(NotFound):
        store.read("a", limit=10)


def test_reading_stops_at_the_limit(store: Store) -> None:
    store.write("a", b"12345")
    with pytest.raises(TooLarge, match="more than"):
        store.read("a", limit=4)


def test_a_listing_has_every_object_below_in_the_order_of_its_bytes(store: Store) -> None:
    names = ["a/b", "a.txt", "a/ü/1", "a/z", "b", "B", "a-b/c", "größe x/1", ".runs/1/claim.json"]
    for name in names:
        store.write(name, name.encode())
    assert keys(store) == sorted(names, key=str.encode)
    assert {entry.key: entry.size for entry in store.list()} == {name: len(name.encode()) for name in names}


def test_a_listing_of_a_folder_has_no_sibling_whose_name_begins_alike(store: Store) -> None:
    for name in ["1/a", "10/a", "1.txt"]:
        store.write(name, b"")
    assert keys(store, "1") == keys(store, "1/") == ["1/a"]
    assert keys(store, "nothing") == []


def test_more_objects_than_one_page_are_listed(store: Store) -> None:
    for number in range(1005):
        store.write(f"n/{number:04}", b"")
    assert keys(store, "n") == [f"n/{number:04}" for number in range(1005)]


def test_folders_are_those_directly_below(store: Store) -> None:
    for name in ["1/a/b", "10/a", ".runs/7/x", "file"]:
        store.write(name, b"")
    assert sorted(store.folders()) == [".runs", "1", "10"]
    assert list(store.folders(".runs")) == ["7"]
    store.delete("10/a")
    assert sorted(store.folders()) == [".runs", "1"]


def test_a_folder_marker_is_no_object(minio: Minio, bucket: str) -> None:
    store = open_store(f"s3://{bucket}/models", endpoint=minio.endpoint)
    client = boto3.client("s3", endpoint_url=minio.endpoint, region_name="us-east-1")
    client.put_object(Bucket=bucket, Key="models/cats/", Body=b"")
    store.write("cats/1.png", b"")
    assert keys(store) == ["cats/1.png"]


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert keys(store) == []
    assert list(store.folders()) == []


def test_a_file_goes_up_and_comes_down_unchanged(store: Store, tmp_path: Path) -> None:
    # 40 MiB: three parts of a multipart upload, the last one short.
    data = hashlib.shake_256(b"seed").digest(40 * 1024 * 1024 + 7)
    (tmp_path / "up").write_bytes(data)
    store.upload(tmp_path / "up", "big/file")
    assert store.download("big/file", tmp_path / "new" / "down") == hashlib.sha256(data).hexdigest()
    assert (tmp_path / "new" / "down").read_bytes() == data
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["down"]


def test_holds_compares_size_and_hash(store: Store, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(b"abc")
    sha256 = hashlib.sha256(b"abc").hexdigest()
    assert not store.holds("a", size=3, sha256=sha256)
    store.upload(tmp_path / "up", "a", sha256=sha256)
    assert store.holds("a", size=3, sha256=sha256)
    assert not store.holds("a", size=4, sha256=sha256)
    assert not store.holds("a", size=3, sha256=hashlib.sha256(b"abd").hexdigest())


def test_delete_is_silent_about_what_is_gone(store: Store) -> None:
    store.write("a/b", b"")
    store.delete("a/b")
    store.delete("a/b")
    assert keys(store) == []


@pytest.mark.parametrize("key", BAD_KEYS)
def test_no_operation_takes_a_key_that_could_leave_the_root(store: Store, tmp_path: Path, key: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    for operation in (
        lambda: store.read(key, limit=1),
        lambda: store.write(key, b"x"),
        lambda: store.download(key, tmp_path / "target"),
        lambda: store.upload(source, key),
        lambda: store.exists(key),
        lambda: store.delete(key),
        lambda: store.holds(key, size=1, sha256="0" * 64),
    ):
        with pytest.raises(StoreUriError, match="rename that file"):
            operation()
    assert not (tmp_path / "target").exists()
