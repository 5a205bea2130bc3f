"""A pack: many objects in one file, with an index at its end.

    the objects' bytes | RECORD for each of them | FOOTER

The footer has the SHA-256 of the records, and each record that of its object: whatever a disk or somebody else has done
to a pack is found before an object of it is used. Numbers are big-endian.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, NamedTuple

# The object's identity (32 bytes), where its bytes begin and how many they are, and their SHA-256.
RECORD = struct.Struct(">32sQQ32s")
# What it is, how many records it has, and their SHA-256.
FOOTER = struct.Struct(">8sQ32s")
MAGIC = b"KERASPK1"


class Damaged(Exception):  # noqa: N818 - what became of a file, not a mistake of the program
    """A pack is not as it was written; the message goes on from "it is removed: "."""


class Record(NamedTuple):
    """Where an object lies in its pack."""

    identity: bytes
    offset: int
    length: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Object:
    """An object on its way into a pack: `length` bytes in all that `chunks` give each time they are gone through."""

    identity: bytes
    length: int
    sha256: bytes
    chunks: Iterable[bytes]


def pack_size(lengths: Iterable[int]) -> int:
    """Bytes that a pack of objects of these lengths has."""
    return sum(length + RECORD.size for length in lengths) + FOOTER.size


def write_pack(file: IO[bytes], objects: Sequence[Object]) -> None:
    """Write `objects` and their index."""
    records, offset = bytearray(), 0
    for one in objects:
        for chunk in one.chunks:
            file.write(chunk)
        records += RECORD.pack(one.identity, offset, one.length, one.sha256)
        offset += one.length
    file.write(records)
    file.write(FOOTER.pack(MAGIC, len(objects), hashlib.sha256(records).digest()))


def read_index(file: IO[bytes]) -> list[Record]:
    """The records of a pack. Raises Damaged where it is none, or not a whole one, or cannot be read."""
    size = os.fstat(file.fileno()).st_size
    if size < FOOTER.size:
        raise Damaged("it is cut off")
    magic, count, sha256 = FOOTER.unpack(_exactly(file, size - FOOTER.size, FOOTER.size))
    end = size - FOOTER.size - count * RECORD.size
    if magic != MAGIC or end < 0:
        raise Damaged("it is cut off, or no pack")
    records = _exactly(file, end, count * RECORD.size)
    if hashlib.sha256(records).digest() != sha256:
        raise Damaged("its index was damaged or changed")
    found = [Record._make(fields) for fields in RECORD.iter_unpack(records)]
    if any(record.offset + record.length > end for record in found):
        raise Damaged("its index was damaged or changed")
    return found


def chunks_of(file: IO[bytes], record: Record, chunk_bytes: int) -> Iterator[bytes]:
    """An object's bytes as they are in its pack. Raises Damaged where they end too soon, or cannot be read."""
    for start in range(0, record.length, chunk_bytes):
        yield _exactly(file, record.offset + start, min(chunk_bytes, record.length - start))


def _exactly(file: IO[bytes], offset: int, size: int) -> bytes:
    try:
        file.seek(offset)
        data = file.read(size)
    except OSError as error:
        raise Damaged(f"it cannot be read ({error})") from error
    if len(data) != size:
        raise Damaged("it is cut off")
    return data
