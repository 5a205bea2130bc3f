"""Header fields out of HPACK (RFC 7541): the client's part of it, for answers need no table."""

from __future__ import annotations

import collections

from model_server.runtime.http2 import huffman
from model_server.runtime.http2.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, ConnectionFaultError

Field = tuple[bytes, bytes]
# What RFC 7541 counts for a field beside its name and its value.
_OVERHEAD = 32
_TABLE_BYTES = 4096
_LARGEST = 2**31
# Appendix A; fields without a value stand for their names.
_STATIC: tuple[Field, ...] = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    *((b":status", status) for status in (b"200", b"204", b"206", b"304", b"400", b"404", b"500")),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    *(
        (name, b"")
        for name in (
            b"accept-language accept-ranges accept access-control-allow-origin age allow authorization "
            b"cache-control content-disposition content-encoding content-language content-length "
            b"content-location content-range content-type cookie date etag expect expires from host if-match "
            b"if-modified-since if-none-match if-range if-unmodified-since last-modified link location "
            b"max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after server "
            b"set-cookie strict-transport-security transfer-encoding user-agent vary via www-authenticate"
        ).split()
    ),
)


class Decoder:
    """Reads the header blocks of one connection, in order: each may refer to what those before it have said."""

    def __init__(self, most_bytes: int) -> None:
        """`most_bytes` bounds the fields of one block, counted with 32 bytes more than name and value for each."""
        self._most_bytes = most_bytes
        self._table: collections.deque[Field] = collections.deque()
        self._table_bytes = 0
        self._table_limit = _TABLE_BYTES

    def decode(self, block: bytes) -> list[Field]:
        """The fields of a block. Raises ConnectionFaultError: after that no other block can be read."""
        try:
            return self._decode(block)
        except IndexError as error:
            raise _unreadable("they end too early") from error

    def _decode(self, block: bytes) -> list[Field]:
        fields: list[Field] = []
        position, end, listed = 0, len(block), 0
        while position < end:
            byte = block[position]
            if byte & 0x80:
                if byte == 0xFF:
                    index, position = _integer(block, position, 0x7F)
                else:  # as in nearly all fields of nearly all calls
                    index, position = byte & 0x7F, position + 1
                field = self._entry(index)
            elif byte & 0x60 == 0x20:
                if fields:
                    raise _unreadable("a table changes its size amid fields")
                limit, position = _integer(block, position, 0x1F)
                self._resize(limit)
                continue
            else:
                kept = byte & 0x40
                index, position = _integer(block, position, 0x3F if kept else 0x0F)
                if index:
                    name = self._entry(index)[0]
                else:
                    name, position = _string(block, position)
                value, position = _string(block, position)
                field = (name, value)
                if kept:
                    self._keep(field)
            listed += len(field[0]) + len(field[1]) + _OVERHEAD
            if listed > self._most_bytes:
                raise ConnectionFaultError(
                    ENHANCE_YOUR_CALM, f"a request's header fields are larger than {self._most_bytes} bytes"
                )
            fields.append(field)
        return fields

    def _entry(self, index: int) -> Field:
        if 0 < index <= len(_STATIC):
            return _STATIC[index - 1]
        if not 0 < index <= len(_STATIC) + len(self._table):
            raise _unreadable(f"there is no field {index}")
        return self._table[index - len(_STATIC) - 1]

    def _keep(self, field: Field) -> None:
        self._table.appendleft(field)
        self._table_bytes += len(field[0]) + len(field[1]) + _OVERHEAD
        self._evict()

    def _resize(self, limit: int) -> None:
        if limit > _TABLE_BYTES:
            raise _unreadable(f"a table of {limit} bytes")
        self._table_limit = limit
        self._evict()

    def _evict(self) -> None:
        while self._table_bytes > self._table_limit:
            name, value = self._table.pop()
            self._table_bytes -= len(name) + len(value) + _OVERHEAD


def _integer(block: bytes, position: int, mask: int) -> tuple[int, int]:
    """The number in the last bits of a byte and those after it (section 5.1), and where it ends."""
    number = block[position] & mask
    position += 1
    if number < mask:
        return number, position
    shift = 0
    while True:
        byte = block[position]
        position += 1
        number += (byte & 0x7F) << shift
        if number > _LARGEST:
            raise _unreadable("a number that is too large")
        if not byte & 0x80:
            return number, position
        shift += 7


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    """A string (section 5.2), and where it ends."""
    packed = block[position] & 0x80
    length, begin = _integer(block, position, 0x7F)
    end = begin + length
    if end > len(block):
        raise _unreadable("they end too early")
    text = block[begin:end]
    if not packed:
        return text, end
    try:
        return huffman.decode(text), end
    except ValueError as error:
        raise _unreadable(str(error)) from error


def _unreadable(why: str) -> ConnectionFaultError:
    return ConnectionFaultError(COMPRESSION_ERROR, f"header fields cannot be read: {why}")
