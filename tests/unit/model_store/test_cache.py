"""The cache on a volume: several writers, processes that are killed, damage, links, and volumes that take nothing."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from model_store import ContentCache, Store, fetch, publish
from model_store.cache_folder import ABANDONED_SECONDS, CacheFolder
from tests.unit.model_store.test_disk_full import no_file_above
from tests.unit.model_store.test_publish_and_fetch import FILES, INFO, CountingStore, content, folder_with

KIB = 1024


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


@pytest.fixture
def published(store: Store, tmp_path: Path) -> Any:
    publish(store, 1, folder_with(tmp_path / "servable", FILES), INFO)
    return CountingStore(store)


def cache_of(volume: Path, most_bytes: int | None = 10**9) -> ContentCache:
    return ContentCache(CacheFolder(volume, most_bytes))


def put(cache: ContentCache, folder: Path, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    path = folder / f"source-{sha256[:8]}"
    path.write_bytes(data)
    cache.keep(path, sha256)
    return sha256


def kept(volume: Path) -> list[Path]:
    return [path for path in (volume / "contents").rglob("*") if path.is_file()]


def test_the_second_pod_asks_the_store_for_no_file(published: Any, volume: Path, tmp_path: Path) -> None:
    first, second = cache_of(volume), cache_of(volume)
    fetch(published, 1, tmp_path / "first", first)
    assert (sorted(published.downloads), first.taken) == (sorted(f"1/{name}" for name in FILES), 0)
    published.downloads.clear()
    manifest = fetch(published, 1, tmp_path / "second", second)
    assert (published.downloads, second.taken) == ([], manifest.bytes)
    assert content(tmp_path / "second" / "1") == content(tmp_path / "first" / "1") == FILES
    assert not list(volume.glob(".partial/*"))


DAMAGE = {
    "a flipped byte": lambda path: path.write_bytes(b"?" + path.read_bytes()[1:]),
    "cut off": lambda path: os.truncate(path, 100),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_removed_said_and_fetched_again(
    damage, published: Any, volume: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetch(published, 1, tmp_path / "first", cache_of(volume))
    largest = max(kept(volume), key=lambda path: path.stat().st_size)
    damage(largest)
    published.downloads.clear()
    fetch(published, 1, tmp_path / "second", cache_of(volume))
    assert published.downloads == ["1/variables/variables.data-00000-of-00001"]
    assert content(tmp_path / "second" / "1") == FILES
    (said,) = caplog.messages
    assert f"{largest} in the cache is removed: it" in said
    published.downloads.clear()
    fetch(published, 1, tmp_path / "third", cache_of(volume))
    assert published.downloads == []


ODD = {
    "a link": lambda path, other: path.symlink_to(other),
    "a pipe": lambda path, _: os.mkfifo(path),
    "a folder": lambda path, _: path.mkdir(),
}


@pytest.mark.parametrize("put_odd", ODD.values(), ids=ODD.keys())
def test_what_is_no_file_is_not_read(put_odd, published: Any, volume: Path, tmp_path: Path) -> None:
    fetch(published, 1, tmp_path / "first", cache_of(volume))
    largest = max(kept(volume), key=lambda path: path.stat().st_size)
    same = tmp_path / "same"
    largest.rename(same)
    put_odd(largest, same)
    published.downloads.clear()
    fetch(published, 1, tmp_path / "second", cache_of(volume))
    assert published.downloads == ["1/variables/variables.data-00000-of-00001"]
    assert content(tmp_path / "second" / "1") == FILES


def test_a_folder_that_is_a_link_is_not_written_through(
    published: Any, volume: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (volume / "contents").symlink_to(tmp_path / "elsewhere")
    fetch(published, 1, tmp_path / "models", cache_of(volume))
    assert content(tmp_path / "models" / "1") == FILES
    assert not [path for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()]
    assert len([said for said in caplog.messages if "takes nothing more" in said]) == 1


def test_a_full_volume_costs_the_cache_and_is_said_once(
    published: Any, volume: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = cache_of(volume)
    small = [put(cache, tmp_path, bytes([number])) for number in range(3)]
    with no_file_above(64 * KIB):
        for number in range(3):
            put_large = tmp_path / f"large-{number}"
            # A limit of file sizes would keep this test from writing it, too: it is all hole.
            put_large.touch()
            resource.setrlimit(resource.RLIMIT_FSIZE, (10**9, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            os.truncate(put_large, 100 * KIB)
            resource.setrlimit(resource.RLIMIT_FSIZE, (64 * KIB, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            cache.keep(put_large, f"{number}" * 64)
    assert len([said for said in caplog.messages if "takes nothing more" in said]) == 1
    assert not list(volume.glob(".partial/*"))
    assert {path.name for path in kept(volume)} <= set(small)
    fetch(published, 1, tmp_path / "models", cache)
    assert content(tmp_path / "models" / "1") == FILES


def test_a_volume_that_cannot_be_written_is_read(
    published: Any, volume: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetch(published, 1, tmp_path / "first", cache_of(volume))
    lost = max(kept(volume), key=lambda path: path.stat().st_size)
    lost.unlink()
    (volume / ".partial").rmdir()
    # For root as for anybody else: no folder can be made where a file is.
    (volume / ".partial").write_bytes(b"")
    published.downloads.clear()
    fetch(published, 1, tmp_path / "second", cache_of(volume))
    assert published.downloads == ["1/variables/variables.data-00000-of-00001"]
    assert content(tmp_path / "second" / "1") == FILES
    assert len([said for said in caplog.messages if "all goes on without" in said]) == 1


def test_a_volume_that_is_not_there_costs_nothing(published: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    fetch(published, 1, tmp_path / "models", cache_of(tmp_path / "file" / "volume"))
    assert content(tmp_path / "models" / "1") == FILES


def test_what_was_used_longest_ago_makes_room(volume: Path, tmp_path: Path) -> None:
    cache = cache_of(volume, 400 * KIB)
    contents = [put(cache, tmp_path, bytes([number]) * 100 * KIB) for number in range(3)]
    for age, sha256 in enumerate(reversed(contents)):
        place = volume / "contents" / sha256[:2] / sha256
        os.utime(place, (1_000_000 - age, 1_000_000 - age))
    assert cache.take(contents[0], 100 * KIB, tmp_path / "out")
    contents += [put(cache, tmp_path, bytes([number]) * 100 * KIB) for number in (3, 4)]
    names = {path.name for path in kept(volume)}
    assert contents[1] not in names
    assert {contents[0], contents[4]} <= names
    assert sum(path.stat().st_size for path in kept(volume)) <= 400 * KIB


def test_a_file_above_the_size_of_the_cache_is_not_kept(volume: Path, tmp_path: Path) -> None:
    cache = cache_of(volume, 50 * KIB)
    small = put(cache, tmp_path, b"small")
    put(cache, tmp_path, bytes(60 * KIB))
    assert [path.name for path in kept(volume)] == [small]


def test_without_a_size_some_of_the_volume_stays_free(
    volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A volume of 1 MiB, as far as its owner can tell."""
    total = 1024 * KIB

    def usage(_: Path) -> Usage:
        used = sum(path.stat().st_size for path in volume.rglob("*") if path.is_file()) + others
        return Usage(total, used, total - used)

    others = 0
    monkeypatch.setattr("model_store.cache_folder.shutil.disk_usage", usage)
    cache = cache_of(volume, None)
    for number in range(20):
        put(cache, tmp_path, bytes([number]) * 100 * KIB)
        assert usage(volume).free >= total / 20
    assert len(kept(volume)) >= 7
    others = total
    assert not cache.take("0" * 64, 1, tmp_path / "out")
    put(cache, tmp_path, b"one more")
    put(cache, tmp_path, b"and one more")
    assert [said for said in caplog.messages if "a twentieth of the volume is free" in said]
    assert len([said for said in caplog.messages if "takes nothing more" in said]) == 1


class Usage(NamedTuple):
    """What shutil.disk_usage answers."""

    total: int
    used: int
    free: int


def test_only_files_on_the_volume_are_removed(volume: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside" / "ab"
    outside.mkdir(parents=True)
    (outside / "precious").write_bytes(bytes(300 * KIB))
    cache = cache_of(volume, 300 * KIB)
    put(cache, tmp_path, b"a" * 100 * KIB)
    (volume / "linked").symlink_to(outside.parent)
    (volume / "contents" / "linked").symlink_to(outside)
    for number in range(6):
        put(cache, tmp_path, bytes([number]) * 100 * KIB)
    assert (outside / "precious").exists()
    assert len(kept(volume)) in {2, 3}


def test_files_of_processes_that_are_gone_are_removed(volume: Path, tmp_path: Path) -> None:
    (volume / ".partial").mkdir()
    old, new = volume / ".partial" / "old", volume / ".partial" / "new"
    for path in (old, new):
        path.write_bytes(b"half")
    about = new.stat().st_mtime
    os.utime(old, (about - ABANDONED_SECONDS - 60, about - ABANDONED_SECONDS - 60))
    put(cache_of(volume), tmp_path, b"any")
    assert (old.exists(), new.exists()) == (False, True)


def test_two_agents_one_cache(published: Any, volume: Path, tmp_path: Path) -> None:
    """Many at once, of which some make room at the same time: each has the right bytes at the end."""
    failures: list[BaseException] = []
    start = threading.Barrier(8)

    def agent(number: int) -> None:
        try:
            start.wait()
            for turn in range(5):
                # Too small for all files: every agent removes what the others have put there.
                fetch(published, 1, tmp_path / f"{number}-{turn}", cache_of(volume, 1100 * KIB))
                put(cache_of(volume, 1100 * KIB), tmp_path, bytes([number, turn]) * 100 * KIB)
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    threads = [threading.Thread(target=agent, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert all(content(tmp_path / f"{number}-{turn}" / "1") == FILES for number in range(8) for turn in range(5))
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in kept(volume))


_WRITER = """
import sys
from pathlib import Path
from typing import Any, NamedTuple
from model_store.cache_folder import CacheFolder
from model_store.content_cache import ContentCache
cache = ContentCache(CacheFolder(Path(sys.argv[1]), 10**9))
source = Path(sys.argv[2])
print("writes", flush=True)
while True:
    cache.keep(source, sys.argv[3])
    for path in Path(sys.argv[1]).glob("contents/*/*"):
        path.unlink()
"""


def test_a_process_that_is_killed_while_it_writes_leaves_nothing_half(volume: Path, tmp_path: Path) -> None:
    data = os.urandom(4 * KIB * KIB)
    source = tmp_path / "source"
    source.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    for _ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(volume), str(source), sha256], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        while not list(volume.glob(".partial/*")):
            assert writer.poll() is None
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert all(path.read_bytes() == data for path in kept(volume))
    cache = cache_of(volume)
    cache.keep(source, sha256)
    assert cache.take(sha256, len(data), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
