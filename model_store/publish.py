"""Publish: upload every file of a servable, then write the manifest that makes it exist.

Between the two it can be looked at as it lies in the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from model_store.disk import sha256_of
from model_store.errors import AlreadyExists, NotFound, StoreError
from model_store.keys import check_key
from model_store.manifest import Manifest, ManifestFile, digest_of, read_manifest, write_manifest
from model_store.side_by_side import each_file
from model_store.store import Store

INFO = {"signatures", "classes", "imageSize", "metrics", "lineage", "tensorflowVersion", "kerasVersion"}


def publish(store: Store, number: int, directory: Path, info: Mapping[str, Any]) -> Manifest:
    """Publish the files of `directory` as version `number`, and return its manifest: `upload`, then `make_visible`."""
    return make_visible(store, upload(store, number, directory, info))


def upload(store: Store, number: int, directory: Path, info: Mapping[str, Any]) -> Manifest:
    """Put the files of `directory` into the store as version `number`, which does not exist before `make_visible`.

    `info` has any of the manifest's signatures, classes, imageSize, metrics, lineage, tensorflowVersion and
    kerasVersion. Call `claim` first: two owners must never publish one number. Safe to call again after any failure:
    files that are already there with the same SHA-256 are not sent again, and what an earlier attempt left beside them
    is removed. Nothing is touched once a manifest is there: with the same content it is returned, else AlreadyExists is
    raised.
    """
    if unknown := set(info) - INFO:
        raise ValueError(f"info has {sorted(unknown)}, and a manifest has only {sorted(INFO)}")
    files = _files(directory, f"{store.uri}/{number}")
    fields = {
        "number": number,
        "digest": digest_of(files),
        "bytes": sum(file.size for file in files),
        "files": files,
        "createdAt": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    manifest = msgspec.convert({**fields, **info}, Manifest)
    if published := _published(store, manifest):
        return published
    each_file(lambda file: _upload(store, number, directory, file), files, name="publish")
    _remove_others(store, number, files)
    return manifest


def make_visible(store: Store, manifest: Manifest) -> Manifest:
    """Write the manifest of an uploaded version, which makes it exist. Raises AlreadyExists where another one is."""
    if published := _published(store, manifest):
        return published
    try:
        write_manifest(store, manifest)
    except AlreadyExists:
        # Either this write arrived although its answer was lost, or another process published in the meantime.
        return _published(store, manifest) or manifest
    return manifest


def withdraw(store: Store, number: int) -> None:
    """Remove the files of an uploaded version that is not to be made visible."""
    _remove_others(store, number, [])


def _published(store: Store, manifest: Manifest) -> Manifest | None:
    """The manifest in the store if it says the same as `manifest`, None if there is none."""
    try:
        found = read_manifest(store, manifest.number)
    except NotFound:
        return None
    if msgspec.structs.replace(found, created_at=manifest.created_at) == manifest:
        return found
    what = "other files" if found.digest != manifest.digest else "the same files with other information"
    raise AlreadyExists(
        f"Version {manifest.number} is already published under {store.uri} with {what} ({found.digest}); "
        f"a published version never changes, so publish under the next number."
    )


def _files(directory: Path, where: str) -> list[ManifestFile]:
    found = []
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise StoreError(
                f"{path} is not a plain file, so it cannot be published; replace it by what it stands for."
            )
        if path.is_file():
            name = path.relative_to(directory).as_posix()
            check_key(name, where)
            found.append(ManifestFile(name, path.stat().st_size, sha256_of(path)))
    if not found:
        raise StoreError(f"There is no file in {directory}, so there is nothing to publish as {where}.")
    return found


def _upload(store: Store, number: int, directory: Path, file: ManifestFile) -> None:
    key = f"{number}/{file.path}"
    if not store.holds(key, size=file.size, sha256=file.sha256):
        store.upload(directory / file.path, key, sha256=file.sha256)


def _remove_others(store: Store, number: int, files: list[ManifestFile]) -> None:
    """A run that was killed may have exported files with other names; TensorFlow Serving would see them."""
    ours = {f"{number}/{file.path}" for file in files}
    for key in [entry.key for entry in store.list(str(number)) if entry.key not in ours]:
        store.delete(key)
