"""A full disk: NoSpace names the path and the bytes, and nothing half-written is left.

The disk is as full as a file size limit makes it, which the system reports at the same place as a full disk.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_store import NoSpace, Store, fetch, open_store, publish

KIB = 1024


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def servable(tmp_path: Path) -> Path:
    (tmp_path / "servable").mkdir()
    (tmp_path / "servable" / "small").write_bytes(b"s")
    (tmp_path / "servable" / "weights").write_bytes(bytes(512 * KIB))
    return tmp_path / "servable"


def test_a_fetch_to_a_full_disk_names_the_path_and_the_bytes(store: Store, servable: Path, tmp_path: Path) -> None:
    publish(store, 1, servable, {})
    with no_file_above(64 * KIB), pytest.raises(NoSpace, match=r"models/.fetching-1.*524,288 bytes are needed"):
        fetch(store, 1, tmp_path / "models")
    assert not (tmp_path / "models" / "1").exists()
    assert not list((tmp_path / "models").rglob("*.partial"))
    fetch(store, 1, tmp_path / "models")
    assert (tmp_path / "models" / "1" / "weights").stat().st_size == 512 * KIB


def test_a_folder_on_a_full_disk_takes_nothing_half(servable: Path, tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/store")
    with no_file_above(64 * KIB):
        with pytest.raises(NoSpace, match=r"store/1/weights is full: 524,288 bytes are needed"):
            publish(store, 1, servable, {})
        with pytest.raises(NoSpace):
            store.write("a", bytes(65 * KIB))
    assert not any(entry.key.startswith((".runs", "1/weights", "a")) for entry in store.list())
    assert list((tmp_path / "store" / ".partial").iterdir()) == []
    publish(store, 1, servable, {})
