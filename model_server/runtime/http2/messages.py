"""gRPC's length-prefixed messages, plain or packed.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md and compression.md beside it.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

from model_server.runtime.errors import Code, ServingError

# Whether the message is packed, and its length.
PREFIX: Final = struct.Struct(">BI")
ENCODINGS: Final = (b"identity", b"gzip", b"deflate")
# A message that is packed says nothing about its size: without another bound, so much may come out of it.
_LARGEST_UNPACKED = 1024 * 1024 * 1024
# Unpacking takes less than 1 ms while no more than this goes in, and no more than that comes out.
_FEW_PACKED_BYTES = 64 * 1024
_FEW_BYTES = 256 * 1024
_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}


class Message(NamedTuple):
    """One message as it came."""

    packed: bool
    content: bytes


def message_length(begin: bytes, max_bytes: int) -> int:
    """How long a message is, by its first five bytes. `max_bytes` -1 is no bound. Raises ServingError."""
    length: int = PREFIX.unpack_from(begin)[1]
    if 0 <= max_bytes < length:
        raise ServingError(Code.RESOURCE_EXHAUSTED, f"Received message larger than max ({length} vs. {max_bytes})")
    return length


def only_message(body: bytes) -> Message:
    """The message of a unary call's body. Raises ServingError."""
    if len(body) >= PREFIX.size:
        packed, length = PREFIX.unpack_from(body)
        if len(body) == PREFIX.size + length and packed <= 1:
            return Message(bool(packed), body[PREFIX.size :])
    raise not_one_message()


def not_one_message() -> ServingError:
    """What is said where a call brings less or more than one message."""
    return ServingError(
        Code.UNIMPLEMENTED, "a call of this method brings exactly one message, with its length before it"
    )


def unpack(message: Message, encoding: bytes, max_bytes: int) -> bytes:
    """The content of a message. Raises ServingError."""
    limit = _limit(max_bytes)
    content = _unpacked(message, encoding, limit)
    if content is None:
        raise ServingError(Code.RESOURCE_EXHAUSTED, f"Received message larger than max ({limit}) when decompressed")
    return content


def unpack_few(message: Message, encoding: bytes, max_bytes: int) -> bytes | None:
    """The same where it takes so little time that an event loop may wait for it, else None. Raises ServingError."""
    if message.packed and len(message.content) > _FEW_PACKED_BYTES:
        return None
    return _unpacked(message, encoding, min(_limit(max_bytes), _FEW_BYTES))


def _limit(max_bytes: int) -> int:
    return max_bytes if max_bytes >= 0 else _LARGEST_UNPACKED


def _unpacked(message: Message, encoding: bytes, limit: int) -> bytes | None:
    """The content, or None where more than `limit` bytes were packed."""
    if not message.packed:
        return message.content
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise ServingError(Code.INTERNAL, "a message is compressed, but grpc-encoding does not say how")
    unpacker = zlib.decompressobj(wbits=bits)
    try:
        content = unpacker.decompress(message.content, limit + 1)
    except zlib.error as error:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"the message is not {encoding.decode()}, as grpc-encoding says: {error}"
        ) from error
    if len(content) > limit:
        return None
    if not unpacker.eof:
        raise ServingError(Code.INVALID_ARGUMENT, f"the {encoding.decode()} message ends too early")
    return content
