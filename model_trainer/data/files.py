"""The files that hold many rows each: found under an address, and fetched one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from model_store import NotFound, Store, open_store
from model_trainer.context import Context
from model_trainer.data.archive import is_archive, open_archive
from model_trainer.data.listing import TRAINING_DATA
from model_trainer.failure import BadData


@dataclass(frozen=True)
class DataFile:
    """One file: its `key` in `store`, and its whole `address` and the `field` that named it, for whoever repairs it."""

    store: Store
    key: str
    address: str
    field: str = TRAINING_DATA


@dataclass(frozen=True)
class FileKind:
    """Which files are meant: `is_one` by its name, what `one` is called, and which `endings` to put there instead."""

    is_one: Callable[[str], bool]
    one: str
    endings: str


def files_at(
    uri: str, kind: FileKind, endpoint: str | None, context: Context, name: str, field: str = TRAINING_DATA
) -> tuple[DataFile, ...]:
    """The files of a kind at `uri`: one file, a folder, or an archive that is unpacked as `name`.

    `field` is what has the uri.

    Raises:
        BadData: there is none.
        StoreError: the store failed.
    """
    if kind.is_one(uri):
        folder, _, key = uri.rpartition("/")
        return (DataFile(context.cached(open_store(folder, endpoint=endpoint), endpoint), key, uri, field),)
    if is_archive(uri):
        store = open_archive(uri, endpoint, context, name, field)
    else:
        store = context.cached(open_store(uri, endpoint=endpoint), endpoint)
    keys = context.patience(f"listing {uri}", lambda: [entry.key for entry in store.list()])
    root = uri.rstrip("/")
    found = tuple(
        DataFile(store, key, f"{root}/{key}", field)
        for key in keys
        if kind.is_one(key) and not any(part.startswith(".") for part in PurePosixPath(key).parts)
    )
    if not found:
        there = f"{len(keys)} other files, such as {keys[0]!r}" if keys else "nothing at all"
        raise BadData(
            f"There is no {kind.one} under {uri}: {there}. Put {kind.endings} files there, or correct {field}.uri."
        )
    return found


@contextmanager
def fetched(file: DataFile, kind: FileKind, path: Path, context: Context) -> Iterator[Path]:
    """The file at `path` of this machine, while the context lasts. Raises BadData where it is gone, and StoreError."""
    try:
        context.patience(f"downloading {file.address}", lambda: file.store.download(file.key, path))
    except NotFound as error:
        raise BadData(f"There is no {file.address}. Put the {kind.one} there, or correct {file.field}.") from error
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
