"""The records of a TFRecord file that lies on this machine: checked, one after the other.

The format (tensorflow/core/lib/io/record_writer.h): of each record its length in 8 bytes and that length's checksum in
4, little-endian, its bytes, and their checksum. A checksum is a CRC-32C (RFC 3720, B.4), rotated and added to a number.
What a record says of its length is held against its checksum, the file and a limit before anything is allocated; the
checksums of the data are TensorFlow's own reader's business. Files may be packed as a whole by gzip or zlib, which
their first bytes show.
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from model_trainer.data.archive import CHUNK, MOST_RATIO, RATIO_COUNTS_FROM, SPARE_BYTES
from model_trainer.data.formats import MOST_BYTES
from model_trainer.failure import BadData

# The largest image, and what else is known of it.
MOST_RECORD_BYTES = MOST_BYTES + 16 * 1024 * 1024
# Of records that are in memory at a time, and how many at most: TensorFlow takes milliseconds to hand over one of them.
_BATCH_BYTES = 16 * 1024 * 1024
_BATCH = 256
_HEADER = struct.Struct("<QI")
_FOOTER_BYTES = 4
_MASK = 0xA282EAD8
# The first two bytes of gzip (RFC 1952, 2.3.1), and of zlib (RFC 1950, 2.2) by its levels.
_PACKED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
# zlib's own number for "either of both, as the header says".
_EITHER = 47


def _table() -> tuple[int, ...]:
    """CRC-32C of each byte; the polynomial is 0x1EDC6F41, its bits the other way round."""
    entries = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        entries.append(crc)
    return tuple(entries)


_CRC = _table()


def masked_crc(data: bytes) -> int:
    """The checksum of a few bytes, as the format keeps it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


@dataclass(frozen=True)
class Framing:
    """Where the records of the file at `path` are, `offsets` in bytes, and the length of the longest one."""

    path: Path
    address: str
    offsets: array[int]
    longest: int

    def where(self, index: int) -> str:
        """For a sentence: record 3 (at byte 1,204) of s3://….tfrecord."""
        return f"record {index} (at byte {self.offsets[index]:,}) of {self.address}"

    def records(self) -> Iterator[bytes]:
        """Each record's bytes. Raises BadData where they are not those that were written."""
        size = max(1, min(_BATCH, _BATCH_BYTES // max(1, self.longest)))
        done = 0
        try:
            for batch in tf.data.TFRecordDataset(str(self.path)).batch(size).as_numpy_iterator():
                yield from batch
                done += len(batch)
        except tf.errors.DataLossError as error:
            where = self.where(self._first_damaged(done))
            raise BadData(
                f"R{where[1:]} is damaged: its bytes have another checksum. Write the file again, or upload it again."
            ) from error

    def _first_damaged(self, index: int) -> int:
        """The number of the first record, from `index` on, that cannot be read: of a batch nothing can."""
        records = tf.data.TFRecordDataset(str(self.path)).skip(index).as_numpy_iterator()
        try:
            for _ in records:
                index += 1
        except tf.errors.DataLossError:
            return index
        return index - 1


def framing_of(path: Path, address: str) -> Framing:
    """Look at the lengths of all records; a file of none is one of zero bytes.

    Raises:
        BadData: it is cut off, damaged, or no TFRecord file.
    """
    size = path.stat().st_size
    offsets = array("q")
    longest = 0
    at = 0
    with path.open("rb") as file:
        while at < size:
            place = f"record {len(offsets)} (at byte {at:,})"
            file.seek(at)
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                raise BadData(_cut_off(address, place, size) if offsets else _no_records(address, header))
            length, checksum = _HEADER.unpack(header)
            if masked_crc(header[:8]) != checksum:
                if not offsets:
                    raise BadData(_no_records(address, header))
                raise BadData(
                    f"{address} is damaged from {place} on: the record's length has another checksum. Write the file "
                    "again, or upload it again."
                )
            if length > MOST_RECORD_BYTES:
                raise BadData(
                    f"R{place[1:]} of {address} says that it has {length:,} bytes, and {MOST_RECORD_BYTES:,} are the "
                    "most. Write smaller records."
                )
            end = at + _HEADER.size + length + _FOOTER_BYTES
            if end > size:
                raise BadData(_cut_off(address, place, size))
            offsets.append(at)
            longest = max(longest, length)
            at = end
    return Framing(path, address, offsets, longest)


def is_packed(path: Path) -> bool:
    """Whether the file is packed by gzip or zlib. A length may begin as gzip does, but then its checksum is right."""
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
    if len(header) == _HEADER.size and masked_crc(header[:8]) == _HEADER.unpack(header)[1]:
        return False
    return header.startswith(_PACKED)


def unpack(packed: Path, target: Path, address: str) -> None:
    """Write what the file `packed` holds to `target`; what comes out is counted while it is written.

    Raises:
        BadData: it is damaged, or is made to fill disks.
        OSError: ENOSPC, the scratch volume cannot take it.
    """
    size = packed.stat().st_size
    room = shutil.disk_usage(target.parent).free - SPARE_BYTES
    written = 0
    unpacking = zlib.decompressobj(_EITHER)
    try:
        with packed.open("rb") as source, target.open("wb") as file:
            while chunk := source.read(CHUNK):
                # A checksum follows what is packed, and is not taken before all of that has come out.
                while chunk:
                    # Several files after each other, as `cat` makes them, are one.
                    unpacking = zlib.decompressobj(_EITHER) if unpacking.eof else unpacking
                    out = unpacking.decompress(chunk, CHUNK)
                    written += len(out)
                    if written > RATIO_COUNTS_FROM and written > MOST_RATIO * size:
                        raise BadData(
                            f"{address} unpacks to more than {MOST_RATIO} times its size ({size:,} bytes), as only "
                            "files do that are made to fill disks. Write it without compression."
                        )
                    if written > room:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
                    file.write(out)
                    chunk = unpacking.unused_data if unpacking.eof else unpacking.unconsumed_tail
    except zlib.error as error:
        raise BadData(f"{address} is damaged or no packed file ({error}). Upload it again.") from error
    if not unpacking.eof:
        raise BadData(f"{address} ends before what is packed in it does: it is cut off. Upload it again.")


def _cut_off(address: str, place: str, size: int) -> str:
    return f"{address} ends within {place}, after {size:,} bytes: it is cut off. Write it again, or upload it again."


def _no_records(address: str, header: bytes) -> str:
    return (
        f"{address} is no TFRecord file (it begins with {header[:8]!r}). Write it by tf.io.TFRecordWriter, or name "
        "another file."
    )
