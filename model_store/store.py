"""The one small interface that the rest of the project sees of a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing: `key` relative to the store's root, `size` in bytes, `etag` where the store has one."""

    key: str
    size: int
    etag: str | None = None


class Store(Protocol):
    """Objects under one root uri. Every method may raise AccessDenied, BucketNotFound, Unreachable or StoreUriError.

    Implementations are safe to use from several threads. An object appears whole or not at all.
    """

    uri: str

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every object in the folder `prefix` and below, in the order of the keys' UTF-8 bytes."""
        ...

    def folders(self, prefix: str = "") -> Iterator[str]:
        """Names of the folders directly in the folder `prefix`, without reading what is below them."""
        ...

    def entry(self, key: str) -> Entry:
        """The object as a listing has it. Raises NotFound."""
        ...

    def read(self, key: str, *, limit: int, etag: str | None = None) -> bytes:
        """The object's bytes. Raises NotFound, and TooLarge above `limit` bytes.

        With the `etag` of a listing it is that very object; raises Changed where there is another one by now.
        """
        ...

    def write(self, key: str, data: bytes, *, only_if_absent: bool = False) -> None:
        """Store `data`. With `only_if_absent` one of many writers wins, and the others see AlreadyExists."""
        ...

    def download(self, key: str, path: Path, *, limit: int | None = None, etag: str | None = None) -> str:
        """Stream the object into the file `path` (replaced at the end by one rename); returns its SHA-256 in hex.

        Holds one chunk in memory. Raises NotFound, NoSpace, and TooLarge above `limit` bytes, before any is read; a
        failure leaves nothing under `path`'s name. `etag` is as in `read`.
        """
        ...

    def upload(self, path: Path, key: str, *, sha256: str | None = None) -> None:
        """Stream the file `path` into the store. `sha256` (hex), where known, is kept for `holds` to compare."""
        ...

    def holds(self, key: str, *, size: int, sha256: str) -> bool:
        """Whether the object is there with these bytes, so that an upload of them can be skipped."""
        ...

    def exists(self, key: str) -> bool:
        """Whether there is an object with this key."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens if it is not there."""
        ...
