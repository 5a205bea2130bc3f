"""A bounded folder on a volume that many pods write at once, on this node or on others: what a cache lies in.

A file is written under a name of its own and renamed once, so it is there as a whole or not at all. Nothing is synced:
whoever reads a file compares its hash, so what a power cut has damaged is found. What was used last stays; two that
make room at once remove the same files. A volume that is full, read-only or broken costs the cache and nothing else.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shutil
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from model_store.disk import FULL

log = logging.getLogger(__name__)

# Without a declared size so much of the volume stays free, for whoever else writes there.
KEPT_FREE = 1 / 20
# With a declared size the folder is looked through again after so much of it was written: a pod knows only then what
# others wrote. So n pods that write at once exceed it by n hundredths at most.
LOOKS_AFTER = 1 / 100
# Room is made for so much at a time, since a look at 100,000 files takes half a second.
ROOM_AT_ONCE = 1 / 10
# A file of which nothing was written for so long belongs to a process that is gone.
ABANDONED_SECONDS = 3600.0
BLOCK = 4096
GIGABYTE = 10**9
PARTIAL = ".partial"


@dataclass(frozen=True, slots=True, order=True)
class _Found:
    """One file: when it was used last (seconds since 1970), the bytes that it takes of the volume, and where it is."""

    used: float
    size: int
    path: Path


class CacheFolder:
    """Files named `<kind>/<folder>/<name>` below `root`, which is the volume.

    Args:
        root: where the volume is mounted.
        most_bytes: what all files together may take. None: all but a twentieth of the volume.
    """

    def __init__(self, root: Path, most_bytes: int | None = None) -> None:
        self.root = root
        self._most_bytes = most_bytes
        self._until_look = 0.0
        self._lock = threading.Lock()
        self._writes = True
        self._spared: set[Path] = set()

    @classmethod
    def of(cls, root: Path, gigabytes: int | None) -> CacheFolder:
        """The folder on the volume at `root`, of so many gigabytes at most; None: of nearly the whole volume."""
        return cls(root, None if gigabytes is None else gigabytes * GIGABYTE)

    def open(self, name: str) -> IO[bytes] | None:
        """The file, if it is there and is one: not a link, a device or a pipe, which nobody puts there but by hand."""
        path = self.root / name
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
                log.warning("%s in the cache is not used: %s", path, error.strerror)
            return None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            log.warning("%s in the cache is not used: it is no file", path)
            return None
        return os.fdopen(handle, "rb")

    def used(self, file: IO[bytes]) -> None:
        """This file stays longer than others that were used before."""
        try:
            os.utime(file.fileno())
        except OSError as error:
            # Of a volume that is mounted for reading: somebody else keeps it in order.
            log.debug("cannot touch a file of the cache: %s", error.strerror)

    def spare(self, name: str) -> None:
        """This process makes no room by removing this file: data larger than the cache would push itself out."""
        self._spared.add(self.root / name)

    def names(self, folder: str) -> list[str]:
        """The files in `folder`, which is a `<kind>/<folder>`; none where that cannot be read."""
        try:
            return [f"{folder}/{path.name}" for path in _entries(self.root / folder, folders=False)]
        except OSError as error:
            log.warning("%s in the cache is not used: %s", self.root / folder, error.strerror)
            return []

    def remove(self, name: str, why: str) -> None:
        """Take a file away that cannot be used, and say so."""
        log.warning("%s in the cache is removed: %s", self.root / name, why)
        try:
            (self.root / name).unlink(missing_ok=True)
        except OSError as error:
            self._give_up(error)

    def holds(self, name: str) -> bool:
        """Whether something is there under this name."""
        try:
            return (self.root / name).is_file()
        except OSError:
            return False

    def add(self, name: str, size: int, write: Callable[[IO[bytes]], None]) -> bool:
        """Put a file there, of `size` bytes that `write` writes; False where the volume does not take it."""
        if not self._writes:
            return False
        try:
            if not self._has_room(size):
                return False
            try:
                self._place(name, write)
            except OSError as error:
                if error.errno not in FULL or not self._make_room(size):
                    raise
                self._place(name, write)
        except OSError as error:
            self._give_up(error)
            return False
        return True

    def _place(self, name: str, write: Callable[[IO[bytes]], None]) -> None:
        path, partial = self.root / name, self.root / PARTIAL / secrets.token_hex(8)
        for folder in (path.parent, partial.parent):
            folder.mkdir(parents=True, exist_ok=True)
            if folder.resolve() != self.root.resolve() / folder.relative_to(self.root):
                raise OSError(errno.ELOOP, "it has a folder that is a link", str(folder))
        try:
            with partial.open("xb") as file:
                write(file)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _give_up(self, error: OSError) -> None:
        """Write no more. What is there is still read."""
        with self._lock:
            said, self._writes = not self._writes, False
        if not said:
            log.warning("the cache at %s takes nothing more, and all goes on without: %s", self.root, error)

    def _has_room(self, size: int) -> bool:
        """Whether a file of `size` bytes may be added, after others were removed for it."""
        most = self._most_bytes
        if most is None:
            volume = shutil.disk_usage(self.root)
            short = int(volume.total * KEPT_FREE) + size - volume.free
            if short <= 0 or self._make_room(short):
                return True
            raise OSError(errno.ENOSPC, "less than a twentieth of the volume is free")
        if size > most:
            log.info("a file of %d bytes is not kept in the cache, which may have %d", size, most)
            return False
        with self._lock:
            self._until_look -= _taken(size)
            if self._until_look >= 0:
                return True
            self._until_look = most * LOOKS_AFTER
        found = self._look()
        short = sum(file.size for file in found) + _taken(size) - most
        if short > 0 and self._remove_oldest(found, short + int(most * ROOM_AT_ONCE)) < short:
            raise OSError(errno.ENOSPC, f"all of its {most:,} bytes are in use")
        return True

    def _make_room(self, size: int) -> bool:
        """Remove what was used longest ago, of `size` bytes at least where there is as much."""
        found = self._look()
        removed = self._remove_oldest(found, size + int(sum(file.size for file in found) * ROOM_AT_ONCE))
        return removed >= size

    def _look(self) -> list[_Found]:
        """Every file, that used longest ago first. Half-written ones that nobody goes on with are removed."""
        found = []
        for kind in _entries(self.root, folders=True):
            if kind.name == PARTIAL:
                for entry in _entries(kind, folders=False):
                    file = _found(entry)
                    if file is not None and time.time() - file.used > ABANDONED_SECONDS:
                        _unlink(file.path)
                continue
            for folder in _entries(kind, folders=True):
                found += [file for entry in _entries(folder, folders=False) if (file := _found(entry))]
        return sorted(found)

    def _remove_oldest(self, found: list[_Found], size: int) -> int:
        """Remove files in this order until `size` bytes are; returns how many were, by this process or another one."""
        removed = files = 0
        for file in found:
            if removed >= size:
                break
            if file.path in self._spared:
                continue
            _unlink(file.path)
            removed, files = removed + file.size, files + 1
        if files:
            log.info("removed %d files with %d bytes from the cache, which were not used for longest", files, removed)
        return removed


def _taken(size: int) -> int:
    """Bytes that a file takes of a volume."""
    return -(-size // BLOCK) * BLOCK


def _entries(folder: Path, *, folders: bool) -> list[Path]:
    """What is in a folder, its folders or its files; no links, which could lead out of the volume."""
    try:
        with os.scandir(folder) as found:
            return [
                Path(entry.path)
                for entry in found
                if (entry.is_dir(follow_symlinks=False) if folders else entry.is_file(follow_symlinks=False))
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _found(path: Path) -> _Found | None:
    try:
        about = path.lstat()
    except FileNotFoundError:
        return None
    return _Found(about.st_mtime, _taken(about.st_size), path)


def _unlink(path: Path) -> None:
    """Remove a file that another pod may remove at the same moment."""
    path.unlink(missing_ok=True)
