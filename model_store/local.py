"""A folder as a store: what a mounted volume is, and what tests and laptops use."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from model_store.disk import disk_full_as_no_space, sha256_of, sync_folder, write_hashed
from model_store.errors import AccessDenied, AlreadyExists, NotFound, StoreUriError, TooLarge
from model_store.keys import check_key
from model_store.store import Entry

CHUNK = 1024 * 1024

# Objects are written here first: on the same file system, so one rename or link makes them visible, and out of sight
# of a listing. No key may begin with it.
PARTIAL = ".partial"


class LocalStore:
    """Objects as files under `root`. The folder is created by the first write, as a prefix in a bucket is."""

    def __init__(self, root: Path, uri: str | None = None) -> None:
        """`uri` is what the files are called by, where they are a copy of something elsewhere."""
        self.root = root
        self.uri = uri or root.as_uri()

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """See Store.list. Symbolic links and devices are not objects and are left out."""
        folder = self._folder(prefix)
        with self._refusals_as_access_denied(folder):
            yield from self._walk(folder)

    def folders(self, prefix: str = "") -> Iterator[str]:
        """See Store.folders. An empty folder is no folder, because a bucket has none."""
        folder = self._folder(prefix)
        with self._refusals_as_access_denied(folder):
            for name, is_folder in self._names(folder):
                if is_folder and next(self._walk(folder / name.rstrip("/")), None):
                    yield name.rstrip("/")

    def entry(self, key: str) -> Entry:
        """See Store.entry."""
        path = self._path(key)
        with self._refusals_as_access_denied(path):
            if not path.is_file():
                raise NotFound(f"{self.uri}/{key} is not there.")
            return Entry(key, path.stat().st_size)

    def read(self, key: str, *, limit: int, etag: str | None = None) -> bytes:
        """See Store.read. Its listings have no etags."""
        del etag
        path = self._path(key)
        with self._refusals_as_access_denied(path), self._missing_as_not_found(key), path.open("rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise TooLarge(f"{self.uri}/{key} is larger than {limit:,} bytes, more than is read at once.")
        return data

    def write(self, key: str, data: bytes, *, only_if_absent: bool = False) -> None:
        """See Store.write."""
        with self._partial(key, len(data)) as partial:
            partial.write_bytes(data)
            self._place(partial, key, only_if_absent=only_if_absent)

    def download(self, key: str, path: Path, *, limit: int | None = None, etag: str | None = None) -> str:
        """See Store.download. Its listings have no etags."""
        del etag
        source = self._path(key)
        with self._refusals_as_access_denied(source), self._missing_as_not_found(key):
            file = source.open("rb")
        with file:
            size = os.fstat(file.fileno()).st_size
            if limit is not None and size > limit:
                raise TooLarge(f"{self.uri}/{key} is {size:,} bytes, more than the {limit:,} that are fetched.")
            return write_hashed(iter(lambda: file.read(CHUNK), b""), path, size=size)

    def upload(self, path: Path, key: str, *, sha256: str | None = None) -> None:
        """See Store.upload. The hash needs no keeping: `holds` reads the file itself."""
        del sha256
        with self._partial(key, path.stat().st_size) as partial:
            with path.open("rb") as source, partial.open("xb") as target:
                shutil.copyfileobj(source, target, CHUNK)
            self._place(partial, key, only_if_absent=False)

    def holds(self, key: str, *, size: int, sha256: str) -> bool:
        """See Store.holds."""
        path = self._path(key)
        with self._refusals_as_access_denied(path):
            return path.is_file() and path.stat().st_size == size and sha256_of(path) == sha256

    def exists(self, key: str) -> bool:
        """See Store.exists."""
        path = self._path(key)
        with self._refusals_as_access_denied(path):
            return path.is_file()

    def delete(self, key: str) -> None:
        """See Store.delete."""
        path = self._path(key)
        with self._refusals_as_access_denied(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()

    def _path(self, key: str) -> Path:
        check_key(key, self.uri)
        if key.split("/", 1)[0] == PARTIAL:
            raise StoreUriError(f"The name {key!r} is not used in {self.uri}: {PARTIAL}/ is for unfinished writes.")
        path = self.root / key
        # A link that somebody left in the folder must not lead a write or a read out of it.
        with self._refusals_as_access_denied(path):
            inside = path.parent.resolve().is_relative_to(self.root.resolve()) and not path.is_symlink()
        if not inside:
            raise StoreUriError(f"The name {key!r} leads through a symbolic link out of {self.uri}; remove the link.")
        return path

    def _folder(self, prefix: str) -> Path:
        prefix = prefix.rstrip("/")
        return self._path(prefix) if prefix else self.root

    def _names(self, folder: Path) -> Iterator[tuple[str, bool]]:
        """Names in `folder` in the order in which a bucket lists them: a folder sorts as if its name ended in `/`."""
        try:
            with os.scandir(folder) as found:
                names = [
                    (f"{entry.name}/", True) if entry.is_dir(follow_symlinks=False) else (entry.name, False)
                    for entry in found
                    if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
                ]
        except (FileNotFoundError, NotADirectoryError):
            return
        hidden = f"{PARTIAL}/" if folder == self.root else None
        yield from sorted((pair for pair in names if pair[0] != hidden), key=lambda pair: os.fsencode(pair[0]))

    def _walk(self, folder: Path) -> Iterator[Entry]:
        for name, is_folder in self._names(folder):
            path = folder / name
            if is_folder:
                yield from self._walk(path)
            else:
                yield Entry(path.relative_to(self.root).as_posix(), path.stat().st_size)

    @contextlib.contextmanager
    def _partial(self, key: str, size: int) -> Iterator[Path]:
        """A name for bytes on their way to `key`; nothing is left of it afterwards, whatever happens."""
        path = self._path(key)
        partial = self.root / PARTIAL / secrets.token_hex(8)
        try:
            with self._refusals_as_access_denied(path), disk_full_as_no_space(path, size):
                partial.parent.mkdir(parents=True, exist_ok=True)
                path.parent.mkdir(parents=True, exist_ok=True)
                yield partial
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise AlreadyExists(
                f"{self.uri}/{key} cannot be written: a file and a folder would share the name {error.filename!r}."
            ) from error
        finally:
            partial.unlink(missing_ok=True)

    def _place(self, partial: Path, key: str, *, only_if_absent: bool) -> None:
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        path = self._path(key)
        if only_if_absent:
            # link(2) fails if the name is taken, as O_EXCL does, and unlike O_EXCL never shows half an object.
            try:
                path.hardlink_to(partial)
            except FileExistsError as error:
                raise AlreadyExists(f"{self.uri}/{key} is already there and is not overwritten.") from error
        else:
            partial.replace(path)
        sync_folder(path.parent)

    @contextlib.contextmanager
    def _missing_as_not_found(self, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise NotFound(f"{self.uri}/{key} is not there.") from error

    @contextlib.contextmanager
    def _refusals_as_access_denied(self, path: Path) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise AccessDenied(
                f"{path} may not be used by user id {os.geteuid()} ({error.strerror}); "
                f"change the owner or the mode of {self.root} (in a pod: securityContext.fsGroup)."
            ) from error
