"""A model that somebody else made: fetched from `source.uri`, and checked before it may be published."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow as tf

from model_store import Entry, NotFound, Store, TooLarge, open_store
from model_trainer import warmup
from model_trainer.failure import BadModelFile, BadSavedModel
from model_trainer.keras_files import is_model_file
from model_trainer.patience import Patience
from model_trainer.signatures import SAVED_MODEL, SERVE, Signature, read_signatures

log = logging.getLogger(__name__)

# A SavedModel has about ten files and what assets it brings; more is another folder than was meant.
MOST_FILES = 10_000
# The largest network of keras.applications takes 1.4 GB: a limit for mistakes, not for models.
MOST_BYTES = 20 * 1024**3

PARALLEL_DOWNLOADS = 8


def fetch_saved_model(
    store: Store, directory: Path, patience: Patience, say: Callable[[str], None], *, field: str = "spec.source.uri"
) -> None:
    """Download the SavedModel at the root of `store`, named by the field `field`, into `directory`.

    Raises:
        BadSavedModel: there is none, or it has too many files or bytes.
    """
    entries = patience(f"listing {store.uri}", lambda: _listing(store, field))
    if not any(entry.key == SAVED_MODEL for entry in entries):
        raise BadSavedModel(_no_saved_model(store.uri, entries, field))
    size = sum(entry.size for entry in entries)
    if size > MOST_BYTES:
        raise BadSavedModel(
            f"The files under {store.uri} have {size:,} bytes, more than the {MOST_BYTES:,} that are read; "
            f"{field} must name the folder of one SavedModel."
        )
    say(f"fetching {len(entries)} files, {size:,} bytes")

    def download(entry: Entry) -> None:
        patience(f"downloading {entry.key}", lambda: store.download(entry.key, directory / entry.key))

    with ThreadPoolExecutor(PARALLEL_DOWNLOADS, thread_name_prefix="source") as pool:
        for done in [pool.submit(download, entry) for entry in entries]:
            done.result()


def fetch_model_file(
    uri: str, endpoint: str | None, folder: Path, patience: Patience, say: Callable[[str], None], *, field: str
) -> Path:
    """Download the one file at `uri`, named by the field `field`, into `folder`; returns its path.

    Raises:
        BadModelFile: it is not there, or has more than 20 GiB.
    """
    parent, _, name = uri.rpartition("/")
    store = open_store(parent, endpoint=endpoint)
    say(f"fetching {uri}")
    path = folder / name
    try:
        patience(f"downloading {uri}", lambda: store.download(name, path, limit=MOST_BYTES))
    except NotFound as error:
        raise BadModelFile(f"There is no file {uri}. Correct {field}, or upload the file.") from error
    except TooLarge as error:
        raise BadModelFile(f"{str(error).rstrip('.')}; {field} must name the file of one model.") from error
    return path


def check_saved_model(uri: str, directory: Path, model_name: str) -> dict[str, Signature]:
    """Load what was fetched from `uri` as a server would, replay its warm-up records, and describe it.

    Without records of its own it gets zeros for every signature that takes them.

    Raises:
        BadSavedModel: it cannot be served, with the reason.
    """
    try:
        signatures = read_signatures(directory)
        loaded = _load(directory)
        if warmup.warmup_path(directory).is_file():
            warmup.replay(directory, loaded)
        else:
            _write_zeros(directory, model_name, signatures, loaded)
    except BadSavedModel as error:
        raise BadSavedModel(f"The SavedModel under {uri} cannot be served: {error}") from error
    return signatures


def _listing(store: Store, field: str) -> list[Entry]:
    entries: list[Entry] = []
    for entry in store.list():
        # Object stores show folders that were made by hand as empty objects whose names end in a slash.
        if not entry.key.endswith("/"):
            entries.append(entry)
        if len(entries) > MOST_FILES:
            raise BadSavedModel(
                f"There are more than {MOST_FILES:,} files under {store.uri}; {field} must name the folder of one "
                "SavedModel."
            )
    return entries


def _load(directory: Path) -> Any:
    try:
        return tf.saved_model.load(str(directory), tags=[SERVE])
    except Exception as error:  # whatever a graph of somebody else's raises
        cause = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
        raise BadSavedModel(
            f"TensorFlow {tf.__version__} cannot load it ({type(error).__name__}: {cause}). "
            "Export it again, with all its files and without custom operations."
        ) from error


def _write_zeros(directory: Path, model_name: str, signatures: dict[str, Signature], loaded: Any) -> None:
    requests = []
    for name, inputs in warmup.of_zeros(signatures):
        try:
            loaded.signatures[name](**{key: tf.constant(values) for key, values in inputs.items()})
        except Exception as error:  # noqa: BLE001 - zeros may mean nothing to this signature; that is no fault of the model
            log.info("%s gets no warm-up record: it does not answer zeros", name, extra={"cause": str(error)})
        else:
            requests.append((name, inputs))
    if requests:
        warmup.write_warmup(directory, model_name, requests)


def _no_saved_model(uri: str, entries: list[Entry], field: str) -> str:
    if not entries:
        return f"Nothing was found under {uri}. Correct {field}, or put a SavedModel there."
    below = [entry.key for entry in entries if entry.key.endswith(f"/{SAVED_MODEL}")]
    if below:
        folder = below[0].removesuffix(f"/{SAVED_MODEL}")
        return f"There is no {SAVED_MODEL} under {uri}, but one in {folder}/: write {field}: {uri}/{folder}"
    if files := [entry.key for entry in entries if is_model_file(entry.key)]:
        return f"There is no {SAVED_MODEL} under {uri}, but {files[0]}: write {field}: {uri}/{files[0]}"
    some = ", ".join(entry.key for entry in entries[:3])
    return (
        f"There is no {SAVED_MODEL} under {uri}, but {len(entries)} other files such as {some}. {field} must name "
        "the folder of a TensorFlow SavedModel."
    )
