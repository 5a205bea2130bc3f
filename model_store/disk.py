"""Files on the local disk: written under a partial name, hashed on the way, and seen whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from model_store.errors import NoSpace

# EFBIG is what a file size limit (ulimit -f) answers, EDQUOT a quota: for the person who reads it, the disk is full.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def disk_full_as_no_space(path: Path, needed: int | None) -> Iterator[None]:
    """Turn the operating system's ways to say "full" into NoSpace; `needed` is the whole file's size in bytes."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise no_space(path, needed) from error


def no_space(path: Path, needed: int | None, free: int | None = None) -> NoSpace:
    """The error for a disk that cannot take `needed` bytes at `path`."""
    wanted = "" if needed is None else f" {needed:,} bytes are needed"
    left = "" if free is None else f", {free:,} are free"
    return NoSpace(f"The disk that holds {path} is full:{wanted}{left}. Give the volume more space and try again.")


def write_hashed(chunks: Iterable[bytes], path: Path, *, size: int | None) -> str:
    """Write `chunks` to `path` through a partial file beside it and one rename; returns their SHA-256 in hex.

    There is no fsync: what is downloaded is compared with its manifest again before it is used after a restart.
    """
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    digest = hashlib.sha256()
    try:
        with disk_full_as_no_space(path, size):
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("xb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes in hex, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut, as fsync does for a file's bytes."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
