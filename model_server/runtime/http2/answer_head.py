"""What a server of gRPC says beside its messages, as header blocks that need no state (RFC 7541, section 6.2.2).

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md says which fields an answer has.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from model_server.runtime.errors import Code

_MESSAGE_BYTES = 1024
# Printable characters of ASCII but for the percent sign.
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def _integer(number: int, prefix_bits: int) -> bytes:
    """An integer (RFC 7541, section 5.1) whose first byte's other bits are 0."""
    largest = (1 << prefix_bits) - 1
    if number < largest:
        return bytes([number])
    written, number = bytearray([largest]), number - largest
    while number >= 128:
        written.append(number % 128 + 128)
        number //= 128
    written.append(number)
    return bytes(written)


def _field(name: str, value: str) -> bytes:
    """A literal that is put into no table, without Huffman's code."""
    key, text = name.encode("ascii"), value.encode("latin-1")
    return b"\x00" + _integer(len(key), 7) + key + _integer(len(text), 7) + text


_STATUS_200 = b"\x88"  # the static table has it
_BEGIN = _STATUS_200 + _field("content-type", "application/grpc")
ANSWER_HEAD = _BEGIN + _field("grpc-accept-encoding", "identity,deflate,gzip")
ANSWERED = _field("grpc-status", "0")


def trailers(code: Code, message: str, others: Sequence[tuple[str, str]] = ()) -> bytes:
    """The fields after an answer's messages. A message longer than 1 KiB is cut, and says so."""
    if len(message) > _MESSAGE_BYTES:
        message = message[:_MESSAGE_BYTES] + "...TRUNCATED"
    block = _field("grpc-status", str(int(code)))
    if message:
        block += _field("grpc-message", quote(message, safe=_PLAIN))
    return block + b"".join(_field(name, value) for name, value in others)


def only_trailers(code: Code, message: str, others: Sequence[tuple[str, str]] = ()) -> bytes:
    """The fields of an answer without a message."""
    return ANSWER_HEAD + trailers(code, message, others)


def http_answer(status: int) -> bytes:
    """The fields of an answer to what is no call of gRPC: a text follows."""
    return _field(":status", str(status)) + _field("content-type", "text/plain")
