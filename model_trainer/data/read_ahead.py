"""Images fetched while TensorFlow is imported: a process of its own reads them into the scratch folder.

The import takes 8 to 11 seconds of one processor, in which a run would otherwise do nothing. A thread would fight it
for the interpreter; a process has the next processor to itself. It reads the first images in the order of the listing,
up to some bytes, and has no say in anything: what it did not read, or could not, is read when it is asked for.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from model_store import Entry, Store, TooLarge, open_store
from model_trainer.data.cached_reads import cache_of
from model_trainer.data.listing import is_image
from model_trainer.data.quick_reads import quick_reads
from model_trainer.data.stand_in import StandIn

# The scratch volume holds as much at least; 2,000 photos of 100 kB. More cannot be read while TensorFlow is imported.
MOST_BYTES = 256 * 1024 * 1024
PARALLEL_READS = 8


class ReadAhead:
    """The process that reads `uri` ahead into `folder`, which is created. Ends with `stop`, or by itself."""

    def __init__(self, uri: str, endpoint: str | None, folder: Path) -> None:
        # As the store spells it; opening one here would import boto3 before TensorFlow.
        self.uri = uri.rstrip("/")
        self._folder = folder
        folder.mkdir()
        words = [sys.executable, "-m", "model_trainer.data.read_ahead", uri, endpoint or "", str(folder)]
        # What goes wrong there goes wrong again where somebody waits for it and says so.
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        """Read no more; what was read stays."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """Remove what was read: every image is decoded."""
        self.stop()
        shutil.rmtree(self._folder)

    @property
    def ended(self) -> bool:
        """Whether nothing is read any more."""
        return self._process.poll() is not None

    def before(self, store: Store) -> Store:
        """A store that takes what was read ahead from the scratch folder, and everything else from `store`."""
        return _Ahead(store, self._folder, self) if store.uri == self.uri else store


@contextmanager
def reading_ahead(uri: str | None, endpoint: str | None, folder: Path) -> Iterator[ReadAhead | None]:
    """Read the images under `uri` ahead while the context lasts; nothing where it is None."""
    if uri is None:
        yield None
        return
    ahead = ReadAhead(uri, endpoint, folder)
    try:
        yield ahead
    finally:
        ahead.stop()


class _Ahead(StandIn):
    """A store in whose place some objects lie on the scratch volume. The first reader ends the process."""

    def __init__(self, store: Store, folder: Path, ahead: ReadAhead) -> None:
        super().__init__(store)
        self._folder = folder
        self._ahead = ahead

    def read(self, key: str, *, limit: int, etag: str | None = None) -> bytes:
        self._ahead.stop()
        try:
            its_etag, _, data = _place(self._folder, key).read_bytes().partition(b"\n")
        except FileNotFoundError:
            return self._store.read(key, limit=limit, etag=etag)
        if etag is not None and its_etag != etag.encode():
            return self._store.read(key, limit=limit, etag=etag)
        if len(data) > limit:
            raise TooLarge(f"{self.uri}/{key} has {len(data):,} bytes, more than {limit:,}.")
        return data


def _place(folder: Path, key: str) -> Path:
    return folder / hashlib.sha256(key.encode()).hexdigest()


def _first(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The first images, as many as may lie on the scratch volume."""
    total = 0
    for entry in entries:
        if is_image(entry.key):
            total += entry.size
            if total > MOST_BYTES:
                return
            yield entry


def read_ahead(uri: str, endpoint: str | None, folder: Path) -> None:
    """Read the first images under `uri` that no cache has into `folder`: what the process does."""
    store = quick_reads(open_store(uri, endpoint=endpoint), endpoint)
    cache = cache_of()
    kept = cache and cache.objects(store.uri, endpoint)

    def read(entry: Entry) -> None:
        # What goes into a cache has to be what was listed.
        etag = entry.etag if kept else None
        data = store.read(entry.key, limit=entry.size, etag=etag)
        place = _place(folder, entry.key)
        part = place.with_suffix(".part")
        part.write_bytes((etag or "").encode() + b"\n" + data)
        # A file is there as a whole or not at all, whenever this process is ended.
        part.rename(place)

    with ThreadPoolExecutor(PARALLEL_READS) as pool:
        for _ in pool.map(read, _first(entry for entry in store.list() if not (kept and kept.holds(entry)))):
            pass


if __name__ == "__main__":
    read_ahead(sys.argv[1], sys.argv[2] or None, Path(sys.argv[3]))
