"""Calls that are refused by their header fields alone."""

from __future__ import annotations

import math
from typing import NamedTuple

from model_server.runtime.errors import Code
from model_server.runtime.http2.answer_head import http_answer, only_trailers
from model_server.runtime.http2.messages import ENCODINGS
from model_server.runtime.http2.request_head import RequestHead

_SHOWN = 200


_NO_CALL = b"this port speaks gRPC: a call is a POST with content-type application/grpc\n"


class Refusal(NamedTuple):
    """The answer to a request that is not taken: a header block, and for what is not gRPC a text."""

    head: bytes
    text: bytes = b""


def refusal(head: RequestHead, *, known: bool) -> Refusal | None:
    """Why a request has to be refused, if so. `known` says whether there is such a method."""
    if head.method != b"POST":
        return Refusal(http_answer(405), _NO_CALL)
    if not head.content_type.startswith(b"application/grpc"):
        return Refusal(http_answer(415), _NO_CALL)
    if not known:
        return Refusal(only_trailers(Code.UNIMPLEMENTED, f"Method not found: {head.path[:_SHOWN]}"))
    if head.encoding not in ENCODINGS:
        shown = head.encoding.decode("latin-1")[:_SHOWN]
        return Refusal(only_trailers(Code.UNIMPLEMENTED, f"grpc-encoding {shown!r} is not known to this server"))
    if head.timeout is not None and math.isnan(head.timeout):
        why = "grpc-timeout has up to eight digits and one of H, M, S, m, u, n"
        return Refusal(only_trailers(Code.INVALID_ARGUMENT, why))
    return None
