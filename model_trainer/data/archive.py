"""One archive in a store as if it were a folder: fetched, unpacked on the scratch volume, and read from there.

.zip and .tar, the latter with gzip or without; the content decides, not the name. An archive may come from anybody, so
nothing in it is believed: names must stay below the folder, links and devices are refused, and what comes out is
counted while it is written. Memory holds one chunk and, of a zip, its list of files.
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from model_store import NotFound, Store, open_store
from model_store.keys import key_fault
from model_store.local import LocalStore
from model_trainer.context import Context
from model_trainer.failure import BadData

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")

# ImageNet has 1.3 million; of a zip's list of files each takes half a kilobyte of memory.
MOST_FILES = 2_000_000
# Photos do not get smaller in an archive, tables by 5 to 20 times, and zeros by 1,000 times.
MOST_RATIO = 100
# Below this an archive may be as thin as it likes: a folder of drawings in a few colours.
RATIO_COUNTS_FROM = 256 * 1024 * 1024
# Kept free on the scratch volume, for what a run writes besides.
SPARE_BYTES = 256 * 1024 * 1024
CHUNK = 1024 * 1024
# Of a long name or of what tar keeps beside one; the data of files is read in chunks.
_LONGEST_HEADER = 1024 * 1024
_MOST_OF_A_LIST = 512 * 1024 * 1024

_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, struct.error, UnicodeError)


def is_archive(uri: str) -> bool:
    """Whether an address names one archive and not a folder."""
    return uri.endswith(ENDINGS) and "/" in uri.partition("://")[2]


def open_archive(
    uri: str, endpoint: str | None, context: Context, name: str, field: str = "spec.training.data"
) -> Store:
    """The files in the archive at `uri`, as a store that can be listed and read.

    Where they all lie in one folder that holds folders or a table, as `zip -r dogs.zip dogs` makes it, that folder is
    the root. They are kept in the folder `name` of the context's scratch volume. `field` is what names the data.

    Raises:
        BadData: it is not there, is damaged or no archive, or is one that could do harm.
        StoreError: the store failed, or the scratch volume is full.
    """
    folder, _, key = uri.rpartition("/")
    packed = context.scratch / f"{name}.archive"
    context.board.say(f"fetching {uri}")
    try:
        store = context.cached(open_store(folder, endpoint=endpoint), endpoint)
        context.patience(f"downloading {uri}", lambda: store.download(key, packed))
    except NotFound as error:
        raise BadData(f"There is no {uri}. Put the archive there, or correct its address in {field}.") from error
    target = context.scratch / name
    target.mkdir()
    context.board.say(f"unpacking {uri}")
    try:
        _Unpacking(uri, packed, target).run()
    finally:
        packed.unlink()
    return LocalStore(_root(target), uri)


class _Unpacking:
    """The files of one archive on their way to `target`."""

    def __init__(self, uri: str, packed: Path, target: Path) -> None:
        self._uri = uri
        self._packed = packed
        self._target = target
        self._size = packed.stat().st_size
        self._files = 0
        self._bytes = 0
        self._room = shutil.disk_usage(target).free - SPARE_BYTES

    def run(self) -> None:
        with self._packed.open("rb") as file:
            start = file.read(4)
        try:
            if not start:
                raise BadData(f"{self._uri} has zero bytes. Upload the archive again.")
            if start[:2] == b"PK":
                self._unpack_zip()
            else:
                self._unpack_tar(compressed=start[:2] == b"\x1f\x8b")
        except _DAMAGED as error:
            raise BadData(
                f"{self._uri} is damaged, cut off or no .zip or .tar archive ({error}). Make it anew, or upload it "
                "again."
            ) from error
        except OSError as error:
            if error.errno not in {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}:
                raise
            raise BadData(
                f"{self._uri} has names that cannot all be on one disk ({error.strerror}: "
                f"{Path(str(error.filename)).name[:80]!r}). Rename that file and pack again."
            ) from error

    def _unpack_zip(self) -> None:
        with self._packed.open("rb") as file:
            self._check_list(file)
        with zipfile.ZipFile(self._packed) as archive:
            for member in archive.infolist():
                name = member.filename.replace("\\", "/")
                kind = stat.S_IFMT(member.external_attr >> 16)
                if name.endswith("/"):
                    self._check_name(name.rstrip("/"))
                    continue
                if kind not in {0, stat.S_IFREG}:
                    raise BadData(self._refused(name, "is a link or a device"))
                if member.flag_bits & 1:
                    raise BadData(f"{self._uri} is encrypted ({name}). Pack it without a password.")
                try:
                    self._write(name, archive.open(member))
                except NotImplementedError as error:
                    raise BadData(f"{self._uri} is packed in a way that is not read ({error}). Use Deflate.") from error

    def _unpack_tar(self, *, compressed: bool) -> None:
        opened: Callable[[], Any] = partial(gzip.open if compressed else open, self._packed, "rb")
        with opened() as raw, tarfile.open(fileobj=cast("IO[bytes]", careful := _Careful(raw)), mode="r:") as archive:
            while (member := archive.next()) is not None:
                # tarfile keeps every member for random access, which nobody needs here.
                archive.members = []  # type: ignore[attr-defined]
                name = member.name.removeprefix("./")
                if member.isdir():
                    if name not in {"", "."}:
                        self._check_name(name)
                    continue
                if not member.isreg():
                    raise BadData(self._refused(name, "is a link or a device"))
                content = archive.extractfile(member)
                assert content is not None
                self._write(name, content)
            # tarfile takes a file that breaks off between two members for a whole one.
            if careful.last != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("its end is missing")

    def _check_list(self, file: IO[bytes]) -> None:
        """Refuse a zip's list of files before it is read into memory (APPNOTE.TXT 6.3.10, 4.3.14 to 4.3.16)."""
        file.seek(max(0, self._size - 65_557))
        tail = file.read()
        at = tail.rfind(b"PK\5\6")
        if at < 0:
            raise zipfile.BadZipFile("its list of files is missing")
        count, size = struct.unpack_from("<HI", tail, at + 10)
        locator = tail[max(0, at - 20) : at]
        if locator.startswith(b"PK\6\7"):
            file.seek(struct.unpack_from("<Q", locator, 8)[0])
            record = file.read(56)
            count, size = struct.unpack_from("<QQ", record, 32)
        if count > MOST_FILES or size > _MOST_OF_A_LIST:
            raise BadData(self._too_many())

    def _write(self, name: str, content: AbstractContextManager[IO[bytes]]) -> None:
        self._check_name(name)
        self._files += 1
        if self._files > MOST_FILES:
            raise BadData(self._too_many())
        path = self._target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with content as source, path.open("xb") as target:
            while chunk := source.read(CHUNK):
                self._bytes += len(chunk)
                self._check_size()
                target.write(chunk)

    def _check_name(self, name: str) -> None:
        if fault := key_fault(name):
            raise BadData(self._refused(name, fault))

    def _check_size(self) -> None:
        if self._bytes > RATIO_COUNTS_FROM and self._bytes > MOST_RATIO * self._size:
            raise BadData(
                f"{self._uri} unpacks to more than {MOST_RATIO} times its size ({self._size:,} bytes), as only "
                "archives do that are made to fill disks. Put the files into a folder of the store instead."
            )
        if self._bytes > self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._target))

    def _refused(self, name: str, fault: str) -> str:
        return (
            f"{self._uri} has an entry {name[:200]!r} that {fault}, so nothing of it is used. Pack plain files with "
            "paths below one folder."
        )

    def _too_many(self) -> str:
        return (
            f"{self._uri} has more than {MOST_FILES:,} files, or a list of them that does not fit into memory. Put the "
            "files into a folder of the store instead."
        )


class _Careful:
    """A file for tarfile, which reads headers of any size at once. `last` is what was read last."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.last = b""
        self.seek = file.seek
        self.tell = file.tell
        self.close = file.close

    def read(self, size: int) -> bytes:
        if size > max(_LONGEST_HEADER, CHUNK):
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        self.last = self._file.read(size)
        return self.last


def _root(target: Path) -> Path:
    """The only thing in `target` that is not hidden, if it is a folder of folders or of a table."""
    found = _seen(target)
    if len(found) == 1 and any(path.is_dir() or path.suffix == ".csv" for path in _seen(found[0])):
        return found[0]
    return target


def _seen(folder: Path) -> list[Path]:
    """What is in `folder`, nothing for a file, without what is hidden or macOS adds."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
