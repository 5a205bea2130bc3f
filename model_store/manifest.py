"""The manifest: what a published version consists of. It is written last, and without it a version does not exist.

It lives at `.runs/<number>/manifest.json` beside the servable `<number>/…` that it describes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from model_store.errors import Corrupt, NotFound
from model_store.keys import key_fault
from model_store.store import Store

FORMAT = 1
# A file's entry takes about 150 bytes, so this is for some 100,000 files; a servable has about ten.
LARGEST_MANIFEST = 16 * 1024 * 1024
SHA256_HEX = 64


class ManifestFile(msgspec.Struct, frozen=True):
    """One file of the servable: `path` relative to `<number>/`, `size` in bytes, `sha256` in hex."""

    path: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What was published as version `number`. `digest` covers the files' paths, sizes and hashes, nothing else."""

    format: int = FORMAT
    number: int
    digest: str
    bytes: int
    files: list[ManifestFile]
    signatures: dict[str, Any] = {}
    classes: list[str] = []
    image_size: list[int] | None = None
    metrics: dict[str, float] = {}
    lineage: dict[str, Any] = {}
    created_at: str
    tensorflow_version: str | None = None
    keras_version: str | None = None


def run_key(number: int, name: str) -> str:
    """The key of a file of the run that produces version `number`."""
    return f".runs/{number}/{name}"


def digest_of(files: Iterable[ManifestFile]) -> str:
    """`sha256:` and the SHA-256 of the sorted lines `<sha256> <size> <path>`, each ended by a line feed."""
    lines = sorted(f"{file.sha256} {file.size} {file.path}\n" for file in files)
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def read_manifest(store: Store, number: int) -> Manifest:
    """The manifest of version `number`. Raises NotFound if it is not published and Corrupt if it makes no sense."""
    key = run_key(number, "manifest.json")
    try:
        data = store.read(key, limit=LARGEST_MANIFEST)
    except NotFound as error:
        raise NotFound(f"Version {number} is not published under {store.uri}: there is no {key}.") from error
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise Corrupt(f"{store.uri}/{key} is no manifest that can be read ({error}); publish a new version.") from error
    if fault := _fault(manifest, number):
        raise Corrupt(f"{store.uri}/{key} {fault}; it is not used. Publish a new version.")
    return manifest


def write_manifest(store: Store, manifest: Manifest) -> None:
    """Make the version visible. Raises AlreadyExists if another manifest is there."""
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    store.write(run_key(manifest.number, "manifest.json"), data, only_if_absent=True)


def _fault(manifest: Manifest, number: int) -> str | None:
    paths = [file.path for file in manifest.files]
    if manifest.format != FORMAT:
        return f"has format {manifest.format}, and this program reads format {FORMAT}"
    if manifest.number != number:
        return f"describes version {manifest.number}"
    if bad := next((path for path in paths if key_fault(path)), None):
        return f"names a file {bad!r}, which {key_fault(bad)}"
    if len(set(paths)) != len(paths):
        return "names a file twice"
    if not all(file.size >= 0 and len(file.sha256) == SHA256_HEX for file in manifest.files):
        return "has a file with an impossible size or hash"
    if manifest.bytes != sum(file.size for file in manifest.files):
        return "has a sum of bytes that is not that of its files"
    if manifest.digest != digest_of(manifest.files):
        return "has a digest that is not that of its files"
    return None
