"""A store in the place of another one, which does whatever it does not do itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from model_store import Entry, Store


class StandIn:
    """The whole of `store`; subclasses read their own way."""

    def __init__(self, store: Store) -> None:
        self.uri = store.uri
        self._store = store

    def entry(self, key: str) -> Entry:
        """See Store.entry."""
        return self._store.entry(key)

    def read(self, key: str, *, limit: int, etag: str | None = None) -> bytes:
        """See Store.read."""
        return self._store.read(key, limit=limit, etag=etag)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """See Store.list."""
        return self._store.list(prefix)

    def folders(self, prefix: str = "") -> Iterator[str]:
        """See Store.folders."""
        return self._store.folders(prefix)

    def write(self, key: str, data: bytes, *, only_if_absent: bool = False) -> None:
        """See Store.write."""
        self._store.write(key, data, only_if_absent=only_if_absent)

    def download(self, key: str, path: Path, *, limit: int | None = None, etag: str | None = None) -> str:
        """See Store.download."""
        return self._store.download(key, path, limit=limit, etag=etag)

    def upload(self, path: Path, key: str, *, sha256: str | None = None) -> None:
        """See Store.upload."""
        self._store.upload(path, key, sha256=sha256)

    def holds(self, key: str, *, size: int, sha256: str) -> bool:
        """See Store.holds."""
        return self._store.holds(key, size=size, sha256=sha256)

    def exists(self, key: str) -> bool:
        """See Store.exists."""
        return self._store.exists(key)

    def delete(self, key: str) -> None:
        """See Store.delete."""
        self._store.delete(key)
