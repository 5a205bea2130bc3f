"""Requests, answers, limits, and gzip: what HTTP connections pass around."""

from __future__ import annotations

import dataclasses
import gzip
import zlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec

from model_server.turns import Together

# Answers below one network packet or two do not get smaller on the wire.
GZIP_FROM_BYTES = 4096
CONTENT_ENCODING = "Content-Encoding"
# Unpacking takes less than 1 ms while no more than this goes in, and no more than that comes out.
_FEW_PACKED_BYTES = 64 * 1024
_FEW_BYTES = 256 * 1024


class Request(msgspec.Struct, frozen=True):
    """One request. `path` has no query and is still percent-encoded; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Response(msgspec.Struct, frozen=True):
    """One answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


# Answers at once, after work that is done in a row with others', or by a coroutine that becomes a task (see `turns`).
Answer = Response | Together | Coroutine[Any, Any, Response]
Handler = Callable[[Request], Answer]
# The answer to a request that is not even to wait for its turn, by its method and target; None for all others.
# Where many are refused, they are refused alike: what it gives is better one object than equal ones.
Refuse = Callable[[bytes, bytes], Response | None]
# Makes the answer to a request that never reaches the handler: status and sentence.
ErrorBody = Callable[[int, str], Response]


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What one client may cost. Sizes in bytes, times in seconds."""

    body: int = 64 * 1024 * 1024
    # A request must make some progress within this time, and so must a client that reads its answer.
    stall: float = 30.0
    # Past that time a request that is still coming in must have come, on average, at this many bytes a second.
    slowest: float = 1024.0
    # An idle keep-alive connection is closed after this time; while draining, after `drain_idle`.
    idle: float = 300.0
    drain_idle: float = 5.0


class RejectedError(Exception):
    """A request that breaks a limit or the protocol: it is answered and the connection closed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def unpack(body: bytes, limit: int) -> bytes:
    """The content of a gzip `body`, at most `limit` bytes. Raises RejectedError."""
    unpacked = _unpacked(body, limit)
    if unpacked is None:
        raise too_large(limit)
    return unpacked


def unpack_few(body: bytes, limit: int) -> bytes | None:
    """The same where it takes so little time that an event loop may wait for it, else None. Raises RejectedError."""
    return _unpacked(body, min(limit, _FEW_BYTES)) if len(body) <= _FEW_PACKED_BYTES else None


def _unpacked(body: bytes, limit: int) -> bytes | None:
    """The content, or None where it is more than `limit` bytes."""
    # A few kilobytes of gzip can stand for gigabytes: the limit holds for what comes out.
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise RejectedError(400, f"the request's body is not gzip, as its Content-Encoding says: {error}") from error
    if len(content) > limit:
        return None
    if not unpacker.eof:
        raise RejectedError(400, "the request's gzip body ends too early")
    return content


def pack(response: Response) -> Response:
    """The same answer with a gzip body."""
    headers = (*response.headers, (CONTENT_ENCODING, "gzip"), ("Vary", "Accept-Encoding"))
    return msgspec.structs.replace(
        response, body=gzip.compress(response.body, compresslevel=1, mtime=0), headers=headers
    )


def too_large(limit: int) -> RejectedError:
    """A body over the limit."""
    return RejectedError(413, f"the request's body is larger than this server's limit of {limit} bytes")
