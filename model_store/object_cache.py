"""Objects of one place in a store on a shared volume, many of them in one file, checked whenever one is read.

60,000 small files would take a network file system minutes; packs of some megabytes take it seconds. An object is known
by its key, size and etag: one that was replaced in the store is another one. What two processes write at once lies in
packs of different names. A pack that is damaged is removed and said in the log: a cache can only save time.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from model_store.cache_folder import CacheFolder
from model_store.disk import write_hashed
from model_store.pack import Damaged, Object, Record, chunks_of, pack_size, read_index, write_pack
from model_store.store import Entry

log = logging.getLogger(__name__)

CHUNK = 1024 * 1024
# Large enough that a network file system copies at its speed, small enough to be kept in memory until it is whole.
PACK_BYTES = 16 * CHUNK

Taken = TypeVar("Taken")


class ObjectCache:
    """Objects below `place`, as far as `folder` has them. Safe to use from several threads and processes.

    Args:
        folder: the volume.
        place: the store's endpoint and uri; what lies elsewhere is something else.
        writes: whether it keeps what `keep` is given.
    """

    def __init__(self, folder: CacheFolder, place: str, *, writes: bool = True) -> None:
        self._folder = folder
        self._place = place
        self._writes = writes
        self._name = f"packs/{hashlib.sha256(place.encode()).hexdigest()[:32]}"
        self._index: dict[bytes, tuple[str, Record]] = {}
        self._packs: set[str] = set()
        self._used: set[str] = set()
        self._looked = False
        self._lock = threading.RLock()
        self._writing = threading.Lock()
        self._pending: dict[bytes, Object] = {}
        self._pending_bytes = 0

    def holds(self, entry: Entry) -> bool:
        """Whether a listed object is there; whether its bytes are still good is known once they are read."""
        return self._find(self._identity(entry)) is not None

    def take(self, entry: Entry) -> bytes | None:
        """A listed object's bytes; None where they are not there."""

        def joined(chunks: Iterator[bytes], _: bytes) -> tuple[bytes, bytes]:
            data = b"".join(chunks)
            return data, hashlib.sha256(data).digest()

        return self._read(entry, joined)

    def take_file(self, entry: Entry, path: Path) -> str | None:
        """Copy an object to `path`, which appears whole or not at all; returns its SHA-256 in hex, None without it.

        Raises NoSpace where the disk of `path` is full.
        """

        def copied(chunks: Iterator[bytes], wanted: bytes) -> tuple[str, bytes]:
            sha256 = write_hashed(chunks, path, size=entry.size)
            if sha256 != wanted.hex():
                path.unlink()
            return sha256, bytes.fromhex(sha256)

        return self._read(entry, copied)

    def keep(self, entry: Entry, data: bytes) -> None:
        """Keep an object's bytes; they are on the volume once there is a pack of them, or after `flush`."""
        if not self._writes:
            return
        found = Object(self._identity(entry), len(data), hashlib.sha256(data).digest(), (data,))
        with self._lock:
            if found.identity not in self._pending:
                self._pending[found.identity] = found
                self._pending_bytes += found.length
        self._write_pending(PACK_BYTES)

    def keep_file(self, entry: Entry, path: Path, sha256: str) -> None:
        """Keep the object that is the file `path`, whose content has this hash."""
        size = path.stat().st_size
        if size < PACK_BYTES:
            self.keep(entry, path.read_bytes())
        elif self._writes:
            with self._writing:
                self._write([Object(self._identity(entry), size, bytes.fromhex(sha256), _FileChunks(path))])

    def flush(self) -> None:
        """Write what waits for more to come."""
        self._write_pending(0)

    def _identity(self, entry: Entry) -> bytes:
        return hashlib.sha256(f"{self._place}\n{entry.etag}\n{entry.size}\n{entry.key}".encode()).digest()

    def _find(self, identity: bytes) -> tuple[str, Record] | None:
        with self._lock:
            if not self._looked:
                self._look()
                self._looked = True
            return self._index.get(identity)

    def _read(self, entry: Entry, use: Callable[[Iterator[bytes], bytes], tuple[Taken, bytes]]) -> Taken | None:
        """What `use` makes of an object's bytes, given the SHA-256 that they should have; it returns what they have."""
        found = self._find(self._identity(entry))
        if found is None:
            return None
        name, record = found
        file = self._folder.open(name)
        if file is None:
            # Another process made room.
            self._forget(name)
            return None
        with file:
            try:
                taken, sha256 = use(chunks_of(file, record, CHUNK), record.sha256)
                if record.length != entry.size or sha256 != record.sha256:
                    raise Damaged(f"{entry.key} in it is not what was put there; it was damaged or changed")
            except Damaged as damage:
                self._folder.remove(name, str(damage))
                self._forget(name)
                return None
            if name not in self._used:
                self._used.add(name)
                self._folder.used(file)
                self._folder.spare(name)
        return taken

    def _look(self) -> None:
        """Learn of the packs that are there and were not known."""
        for name in self._folder.names(self._name):
            if name in self._packs:
                continue
            file = self._folder.open(name)
            self._packs.add(name)
            if file is None:
                continue
            with file:
                try:
                    self._index.update((record.identity, (name, record)) for record in read_index(file))
                except Damaged as damage:
                    self._folder.remove(name, str(damage))

    def _forget(self, name: str) -> None:
        with self._lock:
            self._index = {identity: at for identity, at in self._index.items() if at[0] != name}

    def _write_pending(self, least: int) -> None:
        """Write a pack if there are so many bytes for it. Who fills it while another one is written waits for that."""
        with self._lock:
            if self._pending_bytes < least or not self._pending:
                return
        with self._writing:
            with self._lock:
                if self._pending_bytes < least:
                    return
                objects, self._pending, self._pending_bytes = [*self._pending.values()], {}, 0
            self._write(objects)

    def _write(self, objects: list[Object]) -> None:
        with self._lock:
            # Others that learn from the same data may have been quicker.
            self._look()
            missing = [one for one in objects if one.identity not in self._index]
        if not missing:
            return
        name = f"{self._name}/{secrets.token_hex(16)}"
        if self._folder.add(name, pack_size(one.length for one in missing), lambda file: write_pack(file, missing)):
            self._folder.spare(name)


class _FileChunks:
    """A file's bytes, as often as they are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
