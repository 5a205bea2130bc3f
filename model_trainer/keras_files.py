"""What a .h5 or .keras file holds, found out before Keras loads it: no code that it brings is run for that.

The first bytes decide what a file is, not its extension.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

import h5py

from model_trainer.failure import BadModelFile

# The largest network of keras.applications takes 1.4 GB: a limit for mistakes and bombs, not for models.
MOST_BYTES = 20 * 1024**3
# config.json and metadata.json are text; the largest network's has 0.6 MB.
MOST_TEXT = 64 * 1024 * 1024

EXTENSIONS = (".h5", ".hdf5", ".keras")

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\3\4"
_OTHERS = {
    b"version https://git-lfs": "a Git LFS pointer: upload the file that it stands for",
    b"<": "HTML or XML, such as the page of a failed download",
    b"{": "JSON, which has no weights",
    b"\x80": "a Python pickle, which is never read because reading it runs code: save with model.save(file)",
    b"\x08": "an ONNX file or a single saved_model.pb",
}
_LFS = 24


class Kind(StrEnum):
    """The two formats that Keras has for one file."""

    HDF5 = "HDF5"
    ARCHIVE = "Keras archive"


@dataclass(frozen=True)
class KerasFile:
    """A file that looks whole.

    Attributes:
        path: where it lies on this machine.
        uri: where it came from, for messages.
        kind: its format.
        keras_version: the Keras that wrote it, such as "2.15.0"; empty where it does not say.
        config: how the model is built, as Keras wrote it; None where the file has weights alone.
    """

    path: Path
    uri: str
    kind: Kind
    keras_version: str
    config: dict[str, Any] | None

    @property
    def by_keras_2(self) -> bool:
        """Whether it was written by Keras 1 or 2, which tf-keras reads and Keras 3 often does not."""
        return self.keras_version.startswith(("1.", "2.")) or (self.kind is Kind.HDF5 and not self.keras_version)


def is_model_file(uri: str) -> bool:
    """Whether an address is that of one file, and not of a folder."""
    return uri.endswith(EXTENSIONS)


def read_keras_file(path: Path, uri: str, *, again: str = "Upload it again") -> KerasFile:
    """Look into a file without loading the model. `again` is what to do about a damaged one.

    Raises:
        BadModelFile: it is something else, is damaged, refers to other files, or unpacks to more than 20 GiB.
    """
    with path.open("rb") as file:
        start = file.read(_LFS)
    if start.startswith(_HDF5):
        return _hdf5(path, uri, again)
    if start.startswith(_ZIP):
        return _archive(path, uri, again)
    if not start:
        raise BadModelFile(f"{uri} is empty. {again}.")
    found = next((what for begin, what in _OTHERS.items() if start.startswith(begin)), f"it begins with {start[:8]!r}")
    raise BadModelFile(
        f"{uri} is neither an HDF5 file (.h5) nor a Keras archive (.keras), but {found}. Save the whole model with "
        "model.save('model.keras') and upload that file."
    )


def _hdf5(path: Path, uri: str, again: str) -> KerasFile:
    try:
        with h5py.File(path, "r") as file:
            _check_hdf5(file, uri)
            config = file.attrs.get("model_config")
            root = file.get("model_weights", file)
            version = file.attrs.get("keras_version", root.attrs.get("keras_version", ""))
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise BadModelFile(f"{uri} is a damaged HDF5 file ({_first_line(error)}). {again}.") from error
    return KerasFile(path, uri, Kind.HDF5, _text(version), None if config is None else _json(_text(config), uri))


def _check_hdf5(file: Any, uri: str) -> None:
    """HDF5 can take data from other files of this machine, and declare arrays that no memory holds."""
    size = 0

    def look(group: Any, where: str) -> None:
        nonlocal size
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
                raise BadModelFile(f"{uri} has a link at {where}{name}, and Keras writes none. Save the model again.")
            item = group[name]
            if isinstance(item, h5py.Group):
                look(item, f"{where}{name}/")
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise BadModelFile(
                        f"{uri} takes {where}{name} from another file, and Keras writes no such thing. Save the model "
                        "again."
                    )
                size += item.nbytes

    look(file, "/")
    if size > MOST_BYTES:
        raise BadModelFile(f"The weights in {uri} have {size:,} bytes, more than the {MOST_BYTES:,} that are read.")


def _archive(path: Path, uri: str, again: str) -> KerasFile:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_archive(archive, uri)
            config, metadata = (_json(_member(archive, name), uri) for name in ("config.json", "metadata.json"))
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise BadModelFile(f"{uri} is a damaged Keras archive ({_first_line(error)}). {again}.") from error
    except KeyError as error:
        raise BadModelFile(
            f"{uri} is a ZIP archive and no Keras archive (it has no config.json and metadata.json). Save the whole "
            "model with model.save('model.keras') and upload that file."
        ) from error
    return KerasFile(path, uri, Kind.ARCHIVE, str(metadata.get("keras_version", "")), config)


def _check_archive(archive: zipfile.ZipFile, uri: str) -> None:
    for member in archive.infolist():
        name = PurePosixPath(member.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in member.filename:
            raise BadModelFile(f"{uri} has a member {member.filename!r} that leads out of it. Save the model again.")
        if name.suffix in {".npz", ".npy", ".pkl", ".pickle"}:
            raise BadModelFile(f"{uri} has a member {member.filename!r}, which may hold code. Save the model again.")
    size = sum(member.file_size for member in archive.infolist())
    if size > MOST_BYTES:
        raise BadModelFile(f"{uri} unpacks to {size:,} bytes, more than the {MOST_BYTES:,} that are read.")


def _member(archive: zipfile.ZipFile, name: str) -> str:
    with archive.open(name) as member:
        data = member.read(MOST_TEXT + 1)
    if len(data) > MOST_TEXT:
        raise zipfile.BadZipFile(f"{name} has more than {MOST_TEXT:,} bytes")
    return data.decode()


def _json(text: str, uri: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise BadModelFile(f"How the model in {uri} is built cannot be read ({error}). Save it again.") from error
    if not isinstance(value, dict):
        raise BadModelFile(f"How the model in {uri} is built cannot be read (no JSON object). Save it again.")
    return value


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
