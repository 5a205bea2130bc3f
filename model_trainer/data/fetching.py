"""Read every image from the store, in parallel and with bounded memory, and keep it decoded."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from model_store import NotFound, TooLarge
from model_trainer.data.cache import allocate
from model_trainer.data.dataset import Dataset, Example, ImageFiles
from model_trainer.data.decoding import Decoder, Pixels
from model_trainer.data.formats import MOST_BYTES, BadImage
from model_trainer.data.listing import TRAINING_DATA, BadFile, ImageFile, Listing
from model_trainer.data.split import Part
from model_trainer.failure import TooManyBadFiles
from model_trainer.patience import Patience

# An object store answers in 5 to 50 ms; sixteen requests at a time keep two to eight processors busy decoding.
PARALLEL_READS = 16

# Undecoded bytes in memory at a time: sixteen photos of 4 MB. One larger file alone may exceed it.
BYTES_IN_FLIGHT = 64 * 1024 * 1024

# Names of bad files in a message: enough to see a pattern, few enough for a line.
NAMED = 5


@dataclass(frozen=True, slots=True)
class Resources:
    """What reading may use: bytes of `memory` of this container, and the folder `scratch` for what does not fit."""

    memory: int
    scratch: Path


@dataclass(frozen=True, slots=True)
class _Loaded:
    sha256: str
    pixels: Pixels


class _ByteBudget:
    """Lets so many bytes be in memory at a time; a larger request than the whole budget waits until it is alone."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def of(self, size: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + size <= self._total)
            self._used += size
        try:
            yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()


def fetch_images(
    store: ImageFiles,
    listing: Listing,
    decoder: Decoder,
    *,
    max_bad_files: int,
    patience: Patience,
    resources: Resources,
    own: Mapping[Part, ImageFiles] = MappingProxyType({}),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    field: str = TRAINING_DATA,
) -> Dataset:
    """Read, check and decode every image of `listing` once.

    Results are taken in the order of the listing, so which files an error names does not depend on the network.

    Args:
        store: rooted at the data uri.
        listing: what lies there.
        decoder: gives the pixels, or says what is wrong with a file.
        max_bad_files: how many files may be unusable.
        patience: how long to wait for a store that is away.
        resources: memory and scratch volume.
        own: stores rooted at the uris of parts that have their own.
        on_progress: called with (files done, files in all).
        field: what describes the data, for messages.

    Raises:
        TooManyBadFiles: more than `max_bad_files` cannot be used, or none of a class can.
        StoreError: the store failed for longer than `patience`, or for good.
    """
    budget = _ByteBudget(BYTES_IN_FLIGHT)

    def load(file: ImageFile) -> _Loaded | BadFile:
        if file.size > MOST_BYTES:
            return BadFile(file.key, f"{file.size:,} bytes, more than the {MOST_BYTES:,} that an image may have")
        try:
            with budget.of(file.size):
                place = store if file.part is None else own[file.part]
                data = patience(f"reading {file.key}", lambda: place.read(file.key, limit=MOST_BYTES))
                return _Loaded(hashlib.sha256(data).hexdigest(), decoder(data))
        except (NotFound, TooLarge):
            return BadFile(file.key, "changed or removed while the data was read")
        except BadImage as error:
            return BadFile(file.key, str(error))

    images = allocate(len(listing.files), decoder.shape, memory=resources.memory, scratch=resources.scratch)
    examples: list[Example] = []
    bad = list(listing.bad)
    if len(bad) > max_bad_files:
        raise TooManyBadFiles(_too_many(store.uri, bad, max_bad_files, len(listing.files), listing, field))
    bad_of_class: dict[int, list[BadFile]] = {}
    pool = ThreadPoolExecutor(PARALLEL_READS, thread_name_prefix="fetch")
    try:
        for row, (file, loaded) in enumerate(_in_order(pool, load, listing.files)):
            if isinstance(loaded, BadFile):
                bad.append(loaded)
                bad_of_class.setdefault(file.label, []).append(loaded)
                if len(bad) > max_bad_files:
                    raise TooManyBadFiles(_too_many(store.uri, bad, max_bad_files, row + 1, listing, field))
            else:
                images[row] = loaded.pixels
                examples.append(Example(row, file.key, file.label, loaded.sha256, file.size, file.part))
            on_progress(row + 1, len(listing.files))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    _check_every_class(store.uri, listing, examples, bad_of_class)
    return Dataset(listing.classes, images, tuple(examples), tuple(bad), listing.ignored)


def _in_order(
    pool: ThreadPoolExecutor, load: Callable[[ImageFile], _Loaded | BadFile], files: tuple[ImageFile, ...]
) -> Iterator[tuple[ImageFile, _Loaded | BadFile]]:
    """Each file with its result, in order; never more than a window of them decoded and not yet taken."""
    waiting: deque[tuple[ImageFile, Future[_Loaded | BadFile]]] = deque()
    for file in files:
        waiting.append((file, pool.submit(load, file)))
        if len(waiting) >= 2 * PARALLEL_READS:
            first, future = waiting.popleft()
            yield first, future.result()
    while waiting:
        first, future = waiting.popleft()
        yield first, future.result()


def named(bad: list[BadFile]) -> str:
    """The first few bad files with what is wrong with each, for a sentence."""
    more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    return ", ".join(f"{file.key} ({file.fault})" for file in bad[:NAMED]) + more


def _too_many(uri: str, bad: list[BadFile], limit: int, seen: int, listing: Listing, field: str) -> str:
    return (
        f"{len(bad)} of the first {seen} of {len(listing.files)} images under {uri} cannot be used, and "
        f"{field}.maxBadFiles allows {limit}: {named(bad)}. Repair or remove them, or raise maxBadFiles."
    )


def _check_every_class(
    uri: str, listing: Listing, examples: list[Example], bad_of_class: dict[int, list[BadFile]]
) -> None:
    usable = {example.label for example in examples if example.part is None}
    for label in sorted({file.label for file in listing.files if file.part is None} - usable):
        raise TooManyBadFiles(
            f"No image of the class {listing.classes[label]!r} under {uri} can be used: "
            f"{named(bad_of_class.get(label, []))}. Repair them, or remove that class."
        )
