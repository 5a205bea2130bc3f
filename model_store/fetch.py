"""Fetch: bring a published version to the local disk, compared with its manifest, and visible by one rename."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from model_store.content_cache import ContentCache
from model_store.disk import disk_full_as_no_space, no_space, sha256_of
from model_store.errors import Corrupt, NotFound
from model_store.manifest import Manifest, ManifestFile, read_manifest
from model_store.side_by_side import each_file
from model_store.store import Store


def fetch(store: Store, number: int, into: Path, cache: ContentCache | None = None) -> Manifest:
    """Bring version `number` to the folder `into/<number>` and return its manifest.

    A folder that is there already and valid is left alone and nothing is downloaded; one that is not valid is replaced.
    Files are collected in `into/.fetching-<number>`: another call after a failure goes on with what is in there, so
    there must be one fetch of a number into a folder at a time. What `cache` has is taken from there, and what it lacks
    is put there. Raises NotFound if the version is not published, Corrupt if a file is not what the manifest says,
    NoSpace, and whatever the store raises.
    """
    manifest = read_manifest(store, number)
    fetch_described(store, manifest, into, cache)
    return manifest


def fetch_described(store: Store, manifest: Manifest, into: Path, cache: ContentCache | None = None) -> None:
    """As `fetch`, with a manifest that is not in the store: what it describes may be uploaded and not yet visible."""
    number = manifest.number
    target = into / str(number)
    if target.exists() and _same_files(target, manifest):
        return
    partial = into / f".fetching-{number}"
    with disk_full_as_no_space(into, manifest.bytes):
        partial.mkdir(parents=True, exist_ok=True)
    _remove_others(partial, manifest)
    missing = [file for file in manifest.files if not _holds(partial, file)]
    _check_space(partial, missing)
    each_file(lambda file: _bring(store, number, partial, file, cache), missing, name="fetch")
    if target.exists():
        # A folder cannot be renamed over another one, so the invalid one steps aside first.
        aside = into / f".invalid-{number}-{secrets.token_hex(4)}"
        target.rename(aside)
        partial.rename(target)
        shutil.rmtree(aside)
    else:
        partial.rename(target)


def _bring(store: Store, number: int, partial: Path, file: ManifestFile, cache: ContentCache | None) -> None:
    if cache is not None and cache.take(file.sha256, file.size, partial / file.path):
        return
    _download(store, number, partial, file)
    if cache is not None:
        cache.keep(partial / file.path, file.sha256)


def _download(store: Store, number: int, partial: Path, file: ManifestFile) -> None:
    key, path = f"{number}/{file.path}", partial / file.path
    try:
        sha256 = store.download(key, path)
    except NotFound as error:
        raise Corrupt(f"{store.uri}/{key} is in the manifest and not in the store; publish a new version.") from error
    size = path.stat().st_size
    if (size, sha256) != (file.size, file.sha256):
        path.unlink()
        raise Corrupt(
            f"{store.uri}/{key} is {size:,} bytes with SHA-256 {sha256}, and the manifest says {file.size:,} bytes "
            f"with {file.sha256}: it was damaged or changed after it was published. Publish a new version."
        )


def _holds(folder: Path, file: ManifestFile) -> bool:
    path = folder / file.path
    return path.is_file() and path.stat().st_size == file.size and sha256_of(path) == file.sha256


def _same_files(folder: Path, manifest: Manifest) -> bool:
    """Whether the folder has the manifest's files and no other ones."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return found == {file.path for file in manifest.files} and all(_holds(folder, file) for file in manifest.files)


def _remove_others(folder: Path, manifest: Manifest) -> None:
    """Half-written files that a killed fetch left, and whatever else would come along with the final rename."""
    wanted = {file.path for file in manifest.files}
    for path in folder.rglob("*"):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in wanted:
            path.unlink()


def _check_space(folder: Path, missing: list[ManifestFile]) -> None:
    needed, free = sum(file.size for file in missing), shutil.disk_usage(folder).free
    if needed > free:
        raise no_space(folder, needed, free)
