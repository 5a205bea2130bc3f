"""Objects in packs on a volume: damage, several writers, processes that are killed, and volumes that take nothing."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from model_store import CacheFolder, Entry, ObjectCache, object_cache
from model_store.pack import FOOTER, RECORD
from tests.unit.model_store.test_disk_full import no_file_above

KIB = 1024
PLACE = "http://minio:9000\ns3://datasets/dogs"
OBJECTS = {f"cat/{number:03}.png": hashlib.shake_128(b"%d" % number).digest(1000 + number) for number in range(100)}


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_cache, "PACK_BYTES", 18 * KIB)


def cache_of(volume: Path, most_bytes: int | None = 10**9, place: str = PLACE, *, writes: bool = True) -> ObjectCache:
    return ObjectCache(CacheFolder(volume, most_bytes), place, writes=writes)


def entry(key: str, data: bytes) -> Entry:
    return Entry(key, len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())


def keep(cache: ObjectCache, objects: dict[str, bytes] = OBJECTS) -> None:
    for key, data in objects.items():
        cache.keep(entry(key, data), data)
    cache.flush()


def taken(cache: ObjectCache, objects: dict[str, bytes] = OBJECTS) -> dict[str, bytes]:
    """What the cache has of these objects."""
    found = {key: cache.take(entry(key, data)) for key, data in objects.items()}
    return {key: data for key, data in found.items() if data is not None}


def packs(volume: Path) -> list[Path]:
    return sorted(path for path in (volume / "packs").rglob("*") if path.is_file())


def test_another_process_takes_what_one_kept(volume: Path) -> None:
    assert taken(cache_of(volume)) == {}
    keep(cache_of(volume))
    assert taken(cache_of(volume)) == OBJECTS
    assert cache_of(volume).holds(entry("cat/000.png", OBJECTS["cat/000.png"]))
    assert len(packs(volume)) == 1
    assert not list(volume.glob(".partial/*"))


def test_a_pack_is_written_when_it_is_full(volume: Path, small_packs: None) -> None:
    cache = cache_of(volume)
    for key, data in OBJECTS.items():
        cache.keep(entry(key, data), data)
    assert len(packs(volume)) == 5
    cache.flush()
    assert len(packs(volume)) == 6
    cache.flush()
    assert len(packs(volume)) == 6
    assert taken(cache_of(volume)) == OBJECTS


OTHERS = {
    "etag": lambda one: Entry(one.key, one.size, "0" * 32),
    "size": lambda one: Entry(one.key, one.size + 1, one.etag),
    "key": lambda one: Entry("dog/000.png", one.size, one.etag),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_an_object_of_another_is_another(other, volume: Path) -> None:
    keep(cache_of(volume))
    one = entry("cat/000.png", OBJECTS["cat/000.png"])
    assert cache_of(volume).take(one) is not None
    assert cache_of(volume).take(other(one)) is None


def test_the_same_object_of_another_place_is_another(volume: Path) -> None:
    keep(cache_of(volume))
    assert taken(cache_of(volume, place=PLACE.replace("9000", "9001"))) == {}


@pytest.mark.parametrize("size", [0, 5, 50 * KIB])
def test_a_file_comes_out_as_it_went_in(volume: Path, tmp_path: Path, small_packs: None, size: int) -> None:
    data = os.urandom(size)
    sha256 = hashlib.sha256(data).hexdigest()
    (tmp_path / "in").write_bytes(data)
    cache = cache_of(volume)
    cache.keep_file(entry("a.zip", data), tmp_path / "in", sha256)
    cache.flush()
    assert cache_of(volume).take_file(entry("a.zip", data), tmp_path / "out") == sha256
    assert (tmp_path / "out").read_bytes() == data


def flip(place: int) -> Any:
    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        path.write_bytes(data)

    return damage


def forge(path: Path) -> None:
    """An index that is whole, of which an object would lie behind the end."""
    records = RECORD.pack(
        cache_of(path)._identity(entry("cat/000.png", OBJECTS["cat/000.png"])), 2**63, 1000, bytes(32)
    )
    path.write_bytes(records + FOOTER.pack(b"KERASPK1", 1, hashlib.sha256(records).digest()))


DAMAGE = {
    "a flipped byte of an object": flip(10),
    "a flipped byte of the index": flip(-FOOTER.size - 10),
    "a flipped byte of the footer": flip(-1),
    "another number of objects": flip(-FOOTER.size + 10),
    "cut off in the footer": lambda path: os.truncate(path, path.stat().st_size - 1),
    "cut off in an object": lambda path: os.truncate(path, 5000),
    "cut off at a few bytes": lambda path: os.truncate(path, 5),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(os.urandom(path.stat().st_size)),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "forged": forge,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_pack_gives_nothing_wrong_is_said_and_replaced(
    damage, volume: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(cache_of(volume))
    (pack,) = packs(volume)
    damage(pack)
    cache = cache_of(volume)
    found = taken(cache)
    assert "cat/000.png" not in found
    assert found.items() <= OBJECTS.items()
    (said,) = caplog.messages
    assert f"{pack} in the cache is removed: " in said
    assert packs(volume) == []
    keep(cache)
    assert taken(cache_of(volume)) == OBJECTS


def test_a_damaged_file_is_not_left_where_it_was_copied_to(
    volume: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(cache_of(volume))
    flip(10)(packs(volume)[0])
    one = entry("cat/000.png", OBJECTS["cat/000.png"])
    assert cache_of(volume).take_file(one, tmp_path / "out") is None
    assert not (tmp_path / "out").exists()
    assert "cat/000.png in it is not what was put there" in caplog.text


ODD = {
    "a link": lambda path, other: path.symlink_to(other),
    "a pipe": lambda path, _: os.mkfifo(path),
    "a folder": lambda path, _: path.mkdir(),
}


@pytest.mark.parametrize("put_odd", ODD.values(), ids=ODD.keys())
def test_what_is_no_file_is_not_read(put_odd, volume: Path, tmp_path: Path) -> None:
    keep(cache_of(volume))
    (pack,) = packs(volume)
    pack.rename(tmp_path / "same")
    put_odd(pack, tmp_path / "same")
    assert taken(cache_of(volume)) == {}


def test_a_pack_that_another_process_removed_is_missed_in_silence(
    volume: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(cache_of(volume))
    cache = cache_of(volume)
    assert cache.holds(entry("cat/000.png", OBJECTS["cat/000.png"]))
    packs(volume)[0].unlink()
    assert taken(cache) == {}
    assert caplog.messages == []


def test_who_may_only_read_writes_nothing(volume: Path, tmp_path: Path, small_packs: None) -> None:
    reader = cache_of(volume, writes=False)
    keep(reader)
    (tmp_path / "in").write_bytes(bytes(50 * KIB))
    reader.keep_file(entry("a.zip", bytes(50 * KIB)), tmp_path / "in", "0" * 64)
    assert packs(volume) == []
    keep(cache_of(volume))
    assert taken(cache_of(volume, writes=False)) == OBJECTS


def test_a_full_volume_costs_the_cache_and_is_said_once(
    volume: Path, small_packs: None, caplog: pytest.LogCaptureFixture
) -> None:
    cache = cache_of(volume)
    with no_file_above(10 * KIB):
        keep(cache)
    assert len([said for said in caplog.messages if "takes nothing more, and all goes on without" in said]) == 1
    assert packs(volume) == []
    assert not list(volume.glob(".partial/*"))
    assert taken(cache) == {}


def test_a_volume_that_is_not_there_costs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = cache_of(tmp_path / "file" / "volume")
    keep(cache)
    assert taken(cache) == {}
    assert len([said for said in caplog.messages if "all goes on without" in said]) == 1


def test_data_that_is_larger_than_the_cache_keeps_what_came_first(
    volume: Path, small_packs: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Or each training would push out what it needs next, and the cache would never give anything."""
    for _ in range(2):
        cache = cache_of(volume, 70 * KIB)
        for key, data in OBJECTS.items():
            if cache.take(entry(key, data)) is None:
                cache.keep(entry(key, data), data)
        cache.flush()
        found = [*taken(cache_of(volume))]
        assert found == [*OBJECTS][: len(found)]
        assert 40 < len(found) < 70
    assert sum(pack.stat().st_size for pack in packs(volume)) <= 70 * KIB
    assert len([said for said in caplog.messages if "bytes are in use" in said]) == 2


def test_data_that_nobody_used_for_longest_makes_room(volume: Path, small_packs: None) -> None:
    keep(cache_of(volume, 150 * KIB, "old"))
    for pack in packs(volume):
        os.utime(pack, (1_000_000, 1_000_000))
    keep(cache_of(volume, 150 * KIB, "new"))
    assert taken(cache_of(volume, place="new")) == OBJECTS
    assert taken(cache_of(volume, place="old")) != OBJECTS


_WRITER = """
import sys
from pathlib import Path
from model_store import object_cache
from tests.unit.model_store.test_object_cache import KIB, OBJECTS, cache_of, entry, taken
object_cache.PACK_BYTES = 10 * KIB
most = int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(3):
    cache = cache_of(Path(sys.argv[1]), most)
    for key, data in OBJECTS.items():
        found = cache.take(entry(key, data))
        assert found in (None, data), key
        if found is None:
            cache.keep(entry(key, data), data)
    cache.flush()
"""


@pytest.mark.parametrize("most_bytes", [10**9, 60 * KIB], ids=["room for all", "both make room"])
def test_two_processes_at_once_damage_nothing(volume: Path, most_bytes: int) -> None:
    words = [sys.executable, "-c", _WRITER, str(volume), str(most_bytes)]
    writers = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    ended = [writer.communicate() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], ended
    assert not [said for _, said in ended if "removed:" in said]
    found = taken(cache_of(volume))
    assert found.items() <= OBJECTS.items()
    assert most_bytes < 10**9 or found == OBJECTS


_ENDLESS = """
import os, sys
from pathlib import Path
from tests.unit.model_store.test_object_cache import cache_of, entry
cache = cache_of(Path(sys.argv[1]))
data = bytes(1_000_000)
print("writes", flush=True)
number = 0
while True:
    number += 1
    cache.keep(entry(str(number), data), data)
    cache.flush()
"""


def test_a_process_that_is_killed_while_it_writes_leaves_nothing_half(volume: Path) -> None:
    for _ in range(2):
        writer = subprocess.Popen([sys.executable, "-c", _ENDLESS, str(volume)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        while not list(volume.glob(".partial/*")):
            assert writer.poll() is None
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        written = {str(number): bytes(1_000_000) for number in range(1, 10)}
        assert taken(cache_of(volume), written).items() <= written.items()


def test_many_threads_fill_one_cache(volume: Path, small_packs: None) -> None:
    cache = cache_of(volume)
    start = threading.Barrier(8)
    items = [*OBJECTS.items()]

    def work(number: int) -> None:
        start.wait()
        for key, data in items[number:] + items[:number]:
            if cache.take(entry(key, data)) is None:
                cache.keep(entry(key, data), data)

    threads = [threading.Thread(target=work, args=(number * 12,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cache.flush()
    assert taken(cache_of(volume)) == OBJECTS
    assert sum(pack.stat().st_size for pack in packs(volume)) < 2 * sum(map(len, OBJECTS.values()))
