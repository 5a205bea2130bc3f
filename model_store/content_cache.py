"""Files by the SHA-256 of their content on a shared volume: taken from there instead of from the store.

A name is believed as little as whoever wrote the file: a content is hashed while it is copied out, and one that is
another is removed, said in the log, and fetched from the store. So a cache can only save time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from model_store.cache_folder import CacheFolder
from model_store.disk import write_hashed

CHUNK = 1024 * 1024


def open_cache(folder: Path, gigabytes: int | None = None) -> ContentCache:
    """The cache on the volume at `folder`, of so many gigabytes at most; None: of nearly the whole volume."""
    return ContentCache(CacheFolder.of(folder, gigabytes))


class _Unreadable(Exception):  # noqa: N818 - what became of a file, not a mistake of the program
    """The volume does not give a file's bytes."""


class ContentCache:
    """Contents in `folder`. `taken` counts the bytes that came from it. Safe to use from several threads."""

    def __init__(self, folder: CacheFolder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self.taken = 0

    def take(self, sha256: str, size: int, path: Path) -> bool:
        """Copy a content to `path`, which appears whole or not at all; False if the cache does not have it.

        Raises NoSpace where the disk of `path` is full.
        """
        name = _name(sha256)
        file = self._folder.open(name)
        if file is None:
            return False
        with file:
            found = os.fstat(file.fileno()).st_size
            if found != size:
                self._folder.remove(name, f"it has {found:,} bytes instead of {size:,}")
                return False
            try:
                is_it = write_hashed(_chunks(file), path, size=size) == sha256
            except _Unreadable as error:
                self._folder.remove(name, str(error))
                return False
            if not is_it:
                path.unlink()
                self._folder.remove(name, "its bytes are not those of its name; it was damaged or changed")
                return False
            self._folder.used(file)
        with self._lock:
            self.taken += size
        return True

    def keep(self, path: Path, sha256: str) -> None:
        """Put a copy of the file `path`, whose content has this hash, into the cache, where that can take it."""
        name = _name(sha256)
        size = path.stat().st_size
        if not self._folder.holds(name):
            self._folder.add(name, size, lambda file: _copy(path, file))


def _name(sha256: str) -> str:
    return f"contents/{sha256[:2]}/{sha256}"


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    try:
        while chunk := file.read(CHUNK):
            yield chunk
    except OSError as error:
        raise _Unreadable(f"it cannot be read ({error.strerror})") from error


def _copy(path: Path, target: IO[bytes]) -> None:
    with path.open("rb") as source:
        while chunk := source.read(CHUNK):
            target.write(chunk)
