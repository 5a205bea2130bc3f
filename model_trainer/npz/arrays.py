"""The arrays of an .npz file, a block of rows at a time: plain numbers alone, and none larger than it says.

A .npz is a zip archive of .npy files (numpy.lib.format). Each begins with what it holds, so what an array would take is
known before anything is allocated; what a zip says of a file's size is not believed either, but what comes out is
counted. Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from model_trainer.failure import BadData

_MAGIC = b"\x93NUMPY"
# numpy's own bound for a header that is not trusted (numpy.lib.format); ours have some 120 bytes.
_LONGEST_HEADER = 10_000
# Of rows that are in memory at a time.
_BLOCK_BYTES = 16 * 1024 * 1024
# Of one image or row: 4096 by 4096 pixels in three channels are 48 MiB.
_LARGEST_ROW = 64 * 1024 * 1024
_READ_AT_A_TIME = 1024 * 1024
_KINDS = "uif"


@dataclass(frozen=True)
class Header:
    """What an array holds: `name` in the file, `shape`, and the type of its numbers; `start` is where they begin."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int

    @property
    def bytes(self) -> int:
        """Of all its numbers."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def said(self) -> str:
        """For a sentence: `x_train (uint8 [60000, 28, 28])`."""
        return f"{self.name} ({self.dtype} [{', '.join(map(str, self.shape))}])"


class NpzFile:
    """An .npz file that lies on this machine; `address` is where people know it."""

    def __init__(self, archive: zipfile.ZipFile, address: str) -> None:
        self._archive = archive
        self.address = address
        self._members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}

    @property
    def names(self) -> tuple[str, ...]:
        """Of its arrays."""
        return tuple(self._members)

    def header(self, name: str) -> Header:
        """What the array `name`, which is there, holds.

        Raises:
            BadData: it is none of plain numbers, or holds less or more than it says.
        """
        with self._opened(name) as file:
            header = _read_header(file, name, self.address)
        there = self._members[name].file_size
        if there != header.start + header.bytes:
            raise BadData(
                f"{header.said} in {self.address} should have {header.start + header.bytes:,} bytes, and has "
                f"{there:,}: it is damaged. Save it again by numpy.savez."
            )
        return header

    def blocks(self, header: Header) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """(Number of its first row, rows) of each block, in the machine's own byte order.

        Raises:
            BadData: it is damaged.
        """
        rows, inner = header.shape[0], header.shape[1:]
        row_bytes = header.bytes // rows
        if row_bytes > _LARGEST_ROW:
            raise BadData(
                f"{header.said} in {self.address} has {row_bytes:,} bytes a row, and {_LARGEST_ROW:,} are the most. "
                "Make its images smaller."
            )
        step = rows if header.fortran else max(1, _BLOCK_BYTES // max(1, row_bytes))
        with self._opened(header.name) as file:
            file.read(header.start)
            for first in range(0, rows, step):
                count = min(step, rows - first)
                data = self._exactly(file, count * row_bytes, header)
                block = np.frombuffer(data, header.dtype)
                shaped = block.reshape(header.shape[::-1]).T if header.fortran else block.reshape((count, *inner))
                yield first, shaped.astype(header.dtype.newbyteorder("="), copy=False)

    def _exactly(self, file: IO[bytes], size: int, header: Header) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = file.read(min(_READ_AT_A_TIME, size - len(data)))
            if not part:
                raise BadData(f"{header.said} in {self.address} ends early: it is damaged. Save it again.")
            data += part
        return bytes(data)

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self._archive.open(self._members[name]) as file:
                yield file
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise BadData(
                f"{name} in {self.address} cannot be read ({error}). Save it again by numpy.savez or savez_compressed."
            ) from error


@contextmanager
def opened(path: Path, address: str) -> Iterator[NpzFile]:
    """Open the .npz file at `path`. Raises BadData: it is none."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError) as error:
        raise BadData(
            f"{address} is damaged or no .npz file ({error}). Save it again by numpy.savez(x_train=…, y_train=…)."
        ) from error
    with archive:
        yield NpzFile(archive, address)


def _read_header(file: IO[bytes], name: str, address: str) -> Header:
    where = f"{name} in {address}"
    begin = file.read(8)
    if begin[:6] != _MAGIC or len(begin) != 8:
        raise BadData(f"{where} is no array of NumPy. Save it again by numpy.savez.")
    form = {1: "<H", 2: "<I"}.get(begin[6])
    if form is None:
        raise BadData(f"{where} has fields with names (version {begin[6]} of the format). Save plain numbers.")
    length_bytes = file.read(struct.calcsize(form))
    length = struct.unpack(form, length_bytes)[0] if len(length_bytes) == struct.calcsize(form) else 0
    if not 0 < length <= _LONGEST_HEADER:
        raise BadData(f"{where} has a header of {length:,} bytes, so it is no array. Save it again by numpy.savez.")
    text = file.read(length)
    read = np.lib.format.read_array_header_1_0 if form == "<H" else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = read(io.BytesIO(length_bytes + text))
    except ValueError as error:
        raise BadData(f"{where} has a header that cannot be read ({error}). Save it again by numpy.savez.") from error
    if dtype.hasobject:
        raise BadData(
            f"{where} holds Python objects (dtype object), which only pickle could read, and a pickle can run any "
            f"program. Save plain numbers: rows of one shape, as by numpy.stack, and astype('uint8') or 'float32'."
        )
    if dtype.kind not in _KINDS:
        raise BadData(f"{where} holds {dtype}, and numbers are learned: uint8, another integer, or float32.")
    if any(size < 0 for size in shape):
        raise BadData(f"{where} has the shape {list(shape)}. Save it again by numpy.savez.")
    return Header(name, tuple(shape), dtype, bool(fortran), len(begin) + len(length_bytes) + length)
