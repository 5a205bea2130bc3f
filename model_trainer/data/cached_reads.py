"""Data that an earlier training has fetched, taken from a shared volume: what `spec.training.data.cache` names.

Where it is, the Job says by KERAS_CACHE, a folder, and KERAS_CACHE_GIGABYTES. What lies in the store, a listing says
each time; what it lists with the same etag and size as before is taken from the volume, and everything else from the
store, under the condition that it still is what was listed.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from model_store import AccessDenied, CacheFolder, Changed, Entry, NotFound, ObjectCache, Store
from model_trainer.data.stand_in import StandIn

log = logging.getLogger(__name__)


class DataCache:
    """The volume at `folder`, of so many gigabytes at most; None: of nearly the whole volume.

    Args:
        folder: where it is mounted.
        gigabytes: what it may keep.
        writes: whether it is given what it lacks; of several workers, which read the same, one is enough.
    """

    def __init__(self, folder: Path, gigabytes: int | None = None, *, writes: bool = True) -> None:
        self._folder = CacheFolder.of(folder, gigabytes)
        self._writes = writes
        self._stores: list[_Cached] = []

    def objects(self, uri: str, endpoint: str | None) -> ObjectCache:
        """What there is of the store at `uri`."""
        return ObjectCache(self._folder, f"{endpoint or ''}\n{uri}", writes=self._writes)

    def before(self, store: Store, endpoint: str | None) -> Store:
        """A store that takes what the volume has from there, and leaves there what it has to ask `store` for."""
        cached = _Cached(store, self.objects(store.uri, endpoint))
        self._stores.append(cached)
        return cached

    def settle(self) -> None:
        """All data is read: what waits to be written is, and the log says how much came from where."""
        for store in self._stores:
            store.settle()
        taken, fetched = (sum(getattr(store, name) for store in self._stores) for name in ("taken", "fetched"))
        log.info("%d bytes of the data came from the cache, %d from the store", taken, fetched)


def cache_of(environment: Mapping[str, str] = os.environ) -> DataCache | None:
    """The volume that the Job has for the data; None where it has none. Of several workers the first one writes."""
    folder = environment.get("KERAS_CACHE")
    if folder is None:
        return None
    gigabytes = environment.get("KERAS_CACHE_GIGABYTES")
    writes = environment.get("JOB_COMPLETION_INDEX", "0") == "0"
    return DataCache(Path(folder), None if gigabytes is None else int(gigabytes), writes=writes)


class _Cached(StandIn):
    """A store of which objects lie on a volume. `taken` and `fetched` count bytes from there and from the store."""

    def __init__(self, store: Store, cache: ObjectCache) -> None:
        super().__init__(store)
        self._cache = cache
        self._listed: dict[str, Entry] = {}
        self._lock = threading.Lock()
        self.taken = self.fetched = 0

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for entry in self._store.list(prefix):
            self._listed[entry.key] = entry
            yield entry

    def read(self, key: str, *, limit: int, etag: str | None = None) -> bytes:
        entry = self._listed_or_asked(key)
        if etag is not None or entry is None or entry.size > limit:
            return self._store.read(key, limit=limit, etag=etag)
        found = self._cache.take(entry)
        if found is not None:
            self._count(taken=entry.size)
            return found
        try:
            data = self._store.read(key, limit=limit, etag=entry.etag)
        except Changed as change:
            log.info("%s It is not kept in the cache.", change)
            return self._store.read(key, limit=limit)
        self._count(fetched=entry.size)
        self._cache.keep(entry, data)
        return data

    def download(self, key: str, path: Path, *, limit: int | None = None, etag: str | None = None) -> str:
        entry = self._listed_or_asked(key)
        if etag is not None or entry is None or (limit is not None and entry.size > limit):
            return self._store.download(key, path, limit=limit, etag=etag)
        sha256 = self._cache.take_file(entry, path)
        if sha256 is not None:
            self._count(taken=entry.size)
            return sha256
        try:
            sha256 = self._store.download(key, path, limit=limit, etag=entry.etag)
        except Changed as change:
            log.info("%s It is not kept in the cache.", change)
            return self._store.download(key, path, limit=limit)
        self._count(fetched=entry.size)
        self._cache.keep_file(entry, path, sha256)
        return sha256

    def settle(self) -> None:
        """Write what the volume lacks and waits to be written."""
        self._cache.flush()

    def _listed_or_asked(self, key: str) -> Entry | None:
        """The object as it was listed, or as it is; None where it has no etag to know it by."""
        found = self._listed.get(key)
        if found is None:
            try:
                found = self._listed[key] = self._store.entry(key)
            except (NotFound, AccessDenied):
                # Reading it says what is wrong, if anything is.
                return None
        return found if found.etag else None

    def _count(self, taken: int = 0, fetched: int = 0) -> None:
        with self._lock:
            self.taken += taken
            self.fetched += fetched
