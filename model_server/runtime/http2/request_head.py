"""A request's header fields, and whether they are a request's (RFC 9113, section 8)."""

from __future__ import annotations

import re
from typing import NamedTuple

from model_server.runtime.http2.frames import PROTOCOL_ERROR, StreamFaultError
from model_server.runtime.http2.hpack import Decoder, Field

# Of all fields of a request, as RFC 9113 counts them: 32 bytes more than its name and its value for each.
MAX_LIST_BYTES = 16 * 1024
_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})
_OF_HTTP_1 = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
_UPPER = re.compile(rb"[A-Z\x00-\x20\x7f-\xff]")
# As many heads of a connection are kept, of so many bytes each: clients know few methods.
_KEPT = 8
_KEPT_BYTES = 1024
# From https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md: at most eight digits and a unit.
_TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


class RequestHead(NamedTuple):
    """What a server of gRPC reads of a request's fields.

    `timeout` is in seconds, None without one, NaN where it cannot be read. `length` is -1 without a content-length.
    """

    method: bytes
    path: str
    content_type: bytes
    timeout: float | None
    encoding: bytes
    length: int


class HeadReader:
    """Reads header blocks of one connection, in order. Each has to be read: the next ones refer to it."""

    def __init__(self) -> None:
        self._decoder = Decoder(MAX_LIST_BYTES)
        # Most clients send the same fields for every call, but for how long it may take.
        self._known: dict[tuple[Field, ...], RequestHead] = {}

    def request(self, block: bytes) -> RequestHead:
        """The head of a request. Raises StreamFaultError where it is none, and ConnectionFaultError."""
        fields = self._decoder.decode(block)
        if fields and fields[-1][0] == b"grpc-timeout":
            timeout = _timeout(fields.pop()[1])
            method, path, content_type, _, encoding, length = self._head(tuple(fields))
            return RequestHead(method, path, content_type, timeout, encoding, length)
        return self._head(tuple(fields))

    def _head(self, fields: tuple[Field, ...]) -> RequestHead:
        known = self._known.get(fields)
        if known is None:
            known = _request_head(fields)
            if len(self._known) < _KEPT and sum(len(name) + len(value) for name, value in fields) <= _KEPT_BYTES:
                self._known[fields] = known
        return known

    def trailers(self, block: bytes) -> None:
        """Fields after a request's body: nothing in them matters. Raises StreamFaultError and ConnectionFaultError."""
        for name, _ in self._decoder.decode(block):
            if name.startswith(b":"):
                raise _malformed("a pseudo-header field after the body")
            _check_name(name)

    def skip(self, block: bytes) -> None:
        """Read fields that nobody asks for any more. Raises ConnectionFaultError."""
        self._decoder.decode(block)


def _malformed(what: str) -> StreamFaultError:
    return StreamFaultError(PROTOCOL_ERROR, f"the request is malformed: {what}")


def _check_name(name: bytes) -> None:
    if not name or _UPPER.search(name):
        raise _malformed("a field's name is empty, or has letters that are not lower case")
    if name in _OF_HTTP_1:
        raise _malformed(f"{name.decode()} is a field of HTTP/1.1")


def _request_head(fields: tuple[Field, ...]) -> RequestHead:
    pseudo: dict[bytes, bytes] = {}
    others: dict[bytes, bytes] = {}
    for name, value in fields:
        if name in _PSEUDO:
            if others or name in pseudo:
                raise _malformed("a pseudo-header field comes twice, or after others")
            pseudo[name] = value
        elif name.startswith(b":"):
            raise _malformed("a pseudo-header field that no request has")
        else:
            _check_name(name)
            others[name] = value
    if not (pseudo.get(b":method") and pseudo.get(b":scheme") and pseudo.get(b":path")):
        raise _malformed(":method, :scheme or :path is missing")
    if others.get(b"te", b"trailers") != b"trailers":
        raise _malformed("te may say trailers only")
    length = others.get(b"content-length", b"-1")
    if b"content-length" in others and not length.isdigit():
        raise _malformed("content-length is no number")
    return RequestHead(
        pseudo[b":method"],
        pseudo[b":path"].decode("latin-1"),
        others.get(b"content-type", b""),
        _timeout(others[b"grpc-timeout"]) if b"grpc-timeout" in others else None,
        others.get(b"grpc-encoding", b"identity"),
        int(length),
    )


def _timeout(text: bytes) -> float:
    found = _TIMEOUT.fullmatch(text)
    return int(found[1]) * _SECONDS[found[2]] if found else float("nan")
