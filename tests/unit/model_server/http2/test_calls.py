"""Calls as gRPC puts them into HTTP/2: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md."""

from __future__ import annotations

import gzip
import struct
import zlib

import pytest
from grpc import StatusCode

from tests.unit.model_server.http2.conftest import MAX_REQUEST_BYTES, resident
from tests.unit.model_server.http2.predictions import PREDICT, sums
from tests.unit.model_server.http2.raw_client import (
    CHECK,
    END_STREAM,
    FRAME_BYTES,
    Answer,
    Error,
    Kind,
    Setting,
    message,
    request,
)

OK, INVALID, EXPIRED, EXHAUSTED, UNIMPLEMENTED, INTERNAL = (
    code.value[0]
    for code in (
        *(StatusCode.OK, StatusCode.INVALID_ARGUMENT, StatusCode.DEADLINE_EXCEEDED, StatusCode.RESOURCE_EXHAUSTED),
        *(StatusCode.UNIMPLEMENTED, StatusCode.INTERNAL),
    )
)
SERVING = message(b"\x08\x01")
_GROWTH_BYTES = 64 * 1024 * 1024
# A field that no message knows, so that a check of the whole server may be of any size.
_FILLING = b"\x92\x01"


def _filled(size: int) -> bytes:
    """A HealthCheckRequest of more than `size` bytes, most of them in a field of its own."""
    digits = [size >> shift & 0x7F for shift in (0, 7, 14, 21, 28)]
    return _FILLING + bytes([*(digit | 0x80 for digit in digits[:-1]), digits[-1]]) + b"x" * size


def test_a_call_is_answered_with_headers_a_message_and_trailers(connection):
    answer = connection.call()
    assert answer.head[":status"] == "200"
    assert answer.head["content-type"].startswith("application/grpc")
    assert "grpc-status" not in answer.head
    assert answer.body == SERVING
    assert answer.trailers["grpc-status"] == "0"


def test_a_connection_answers_call_after_call(connection):
    answers = [connection.call(request(others=[("x-number", str(number))])) for number in range(300)]
    assert {(answer.status, answer.body) for answer in answers} == {(OK, SERVING)}


@pytest.mark.parametrize(
    "path",
    ["/grpc.health.v1.Health/Nothing", "/no.such.Service/Check", "/", "/Check", f"{CHECK}/", f"{CHECK}?a=b"],
)
def test_a_method_that_does_not_exist_is_unimplemented(connection, path):
    answer = connection.call(request(path))
    assert (answer.http, answer.status, answer.body) == (200, UNIMPLEMENTED, b"")
    assert answer.blocks == 1, "trailers only"


@pytest.mark.parametrize(
    ("others", "http"),
    [
        pytest.param([("content-type", "application/json")], 415, id="JSON"),
        pytest.param([("content-type", "text/plain"), ("te", "trailers")], 415, id="text"),
        pytest.param([(":method", "GET")], 405, id="GET"),
        pytest.param([(":method", "PUT")], 405, id="PUT"),
    ],
)
def test_what_is_no_call_is_answered_as_http(connection, others, http):
    answer = connection.call(request(others=others))
    assert answer.http == http
    assert connection.call().status == OK


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([("content-type", "application/grpc+proto")], id="content type with its format"),
        pytest.param([("content-type", "application/grpc;charset=utf-8")], id="content type with a parameter"),
        pytest.param([("user-agent", "grpc-somebody/1.0"), ("user-agent", "again")], id="user agent"),
        pytest.param([("x-trace-bin", "AAEC/w"), ("x-trace-bin", "AA==")], id="binary metadata"),
        pytest.param([("grpc-tags-bin", "AAEC"), ("grpc-anything", "1")], id="reserved names"),
        pytest.param([("x-text", "a" * 4000)], id="a long value"),
        pytest.param([("x-empty", "")], id="an empty value"),
        pytest.param([("grpc-accept-encoding", "snappy,gzip"), ("accept-encoding", "zstd")], id="accepted encodings"),
        pytest.param([("grpc-encoding", "identity")], id="identity"),
        pytest.param([("grpc-encoding", "gzip")], id="an encoding that the message does not use"),
        pytest.param([(":scheme", "https")], id="https"),
        pytest.param([("host", "localhost"), ("content-length", "5")], id="what proxies add"),
        pytest.param([("cookie", "a=1"), ("cookie", "b=2")], id="cookies in crumbs"),
    ],
)
def test_fields_that_mean_nothing_to_the_server_change_nothing(connection, others):
    answer = connection.call(request(others=others))
    assert (answer.status, answer.body) == (OK, SERVING)


@pytest.mark.parametrize("name", ["te", ":authority"])
def test_fields_that_proxies_take_off_are_not_needed(connection, name):
    assert connection.call(request(without=name)).status == OK


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress)],
)
def test_compressed_messages_are_read(connection, encoding, pack):
    fields = request(others=[("grpc-encoding", encoding)])
    assert connection.call(fields, message(pack(_filled(200_000)), packed=1)).body == SERVING
    assert connection.call(fields, message(pack(b""), packed=1)).status == OK


def test_an_encoding_that_the_server_does_not_know_is_unimplemented(connection):
    answer = connection.call(request(others=[("grpc-encoding", "snappy")]), message(b"anything", packed=1))
    assert answer.status == UNIMPLEMENTED
    accepted = {**answer.head, **answer.trailers}["grpc-accept-encoding"].replace(" ", "").split(",")
    assert {"gzip", "identity"} <= set(accepted)


@pytest.mark.parametrize(
    ("others", "body", "statuses"),
    [
        pytest.param([], message(b"", packed=1), {INTERNAL}, id="compressed without an encoding"),
        pytest.param(
            [("grpc-encoding", "identity")], message(b"", packed=1), {INTERNAL}, id="compressed with identity"
        ),
        pytest.param(
            [("grpc-encoding", "gzip")], message(b"no gzip", packed=1), {INTERNAL, INVALID}, id="not compressed at all"
        ),
        pytest.param(
            [("grpc-encoding", "gzip")],
            message(gzip.compress(b"\x0a\x00")[:-9], packed=1),
            {INTERNAL, INVALID},
            id="compressed and cut off",
        ),
        pytest.param([], message(b"", packed=2), {INTERNAL, INVALID, UNIMPLEMENTED}, id="a flag that does not exist"),
        pytest.param([], b"", {INTERNAL, INVALID, UNIMPLEMENTED}, id="no message"),
        pytest.param([], b"\0\0\0", {INTERNAL, INVALID, UNIMPLEMENTED}, id="a prefix that is cut off"),
        pytest.param([], message(b"12")[:-1], {INTERNAL, INVALID, UNIMPLEMENTED}, id="a message that is cut off"),
        pytest.param([], message() + message(), {INTERNAL, INVALID, UNIMPLEMENTED}, id="two messages"),
        pytest.param([], message() + b"\0", {INTERNAL, INVALID, UNIMPLEMENTED}, id="a message and a byte"),
        pytest.param([], message(b"\xff\xff"), {INVALID, INTERNAL}, id="no protobuf"),
    ],
)
def test_a_wrong_body_is_an_error(connection, others, body, statuses):
    stream = connection.open(request(others=others), end=not body)
    if body:
        connection.data(stream, body)
    answer = connection.answer(stream)
    assert answer.status in statuses, answer
    assert connection.call().status == OK


def _exhausted(answer: Answer) -> None:
    assert answer.status == EXHAUSTED, answer


def test_a_message_that_is_too_large_is_refused(connection):
    _exhausted(connection.call(body=message(_filled(MAX_REQUEST_BYTES))))
    assert connection.call(body=message(_filled(MAX_REQUEST_BYTES - 100))).status == OK


def test_a_message_that_says_that_it_will_be_too_large_is_refused_at_once(connection):
    stream = connection.open()
    connection.data(stream, struct.pack(">BI", 0, 2**32 - 1), end=False)
    answer = connection.answer(stream)
    assert answer.reset is not None or answer.status == EXHAUSTED, answer
    assert connection.call().status == OK


@pytest.mark.parametrize(
    ("encoding", "bits"), [("gzip", zlib.MAX_WBITS | 16), ("deflate", zlib.MAX_WBITS)], ids=["gzip", "deflate"]
)
def test_a_message_that_unpacks_to_too_much_is_refused_before_it_is(grpc_server, connection, encoding, bits):
    packer = zlib.compressobj(9, zlib.DEFLATED, bits)
    begin = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush nothing refers to what was before: the same bytes give the same zeros again.
    again = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb = begin + again * 600
    assert len(bomb) < MAX_REQUEST_BYTES
    before = resident(grpc_server)
    for _ in range(3):
        _exhausted(connection.call(request(others=[("grpc-encoding", encoding)]), message(bomb, packed=1)))
    assert resident(grpc_server) - before < _GROWTH_BYTES


@pytest.mark.parametrize("timeout", ["1H", "99999999H", "2M", "100S", "00000100S", "99999m", "99999999u"])
def test_a_deadline_may_come_in_every_unit(connection, timeout):
    answer = connection.call(request(others=[("grpc-timeout", timeout)]))
    assert (answer.status, answer.body) == (OK, SERVING)


def test_a_deadline_ends_a_call_of_which_nothing_more_comes(connection):
    stream = connection.open(request(others=[("grpc-timeout", "100m")]))
    connection.data(stream, message()[:3], end=False)
    assert connection.answer(stream).status == EXPIRED


@pytest.mark.parametrize("timeout", ["1n", "1u"])
def test_a_call_whose_deadline_is_over_is_not_answered(connection, timeout):
    answer = connection.call(request(PREDICT, others=[("grpc-timeout", timeout)]), sums(1))
    assert answer.status == EXPIRED or answer.reset == Error.CANCEL, answer
    assert connection.call(request(PREDICT), sums(1)).status == OK


@pytest.mark.parametrize("timeout", ["", "S", "1", "abc", "-1S", "+1S", "1.5S", "123456789S", "1x", "1 S", "١S"])
def test_a_deadline_that_is_none_is_an_error(connection, timeout):
    answer = connection.call(request(others=[("grpc-timeout", timeout.encode().decode("latin-1"))]))
    refused = answer.reset == Error.PROTOCOL_ERROR or answer.http == 400
    assert refused or answer.status in {INTERNAL, INVALID}, answer
    assert connection.call().status == OK


def test_frames_of_an_answer_keep_to_the_clients_size(connect):
    def largest(client) -> int:
        fields = request("/grpc.health.v1.Health/Check")
        assert client.call(fields).status == OK
        return max(len(frame.payload) for frame in client.frames)

    assert largest(connect()) <= FRAME_BYTES
    assert largest(connect({Setting.MAX_FRAME_SIZE: 2**24 - 1})) < 2**24


@pytest.mark.parametrize("size", [0, 1, 100, 4096, 2**32 - 1])
def test_the_clients_table_of_header_fields_may_have_any_size(connect, size):
    client = connect({Setting.HEADER_TABLE_SIZE: size})
    client.read_until(lambda: client.settled > 0)
    for _ in range(20):
        assert client.call().status == OK
        assert client.call(request("/no.such.Service/Method")).status == UNIMPLEMENTED


def test_a_client_that_gives_up_is_not_answered_any_more(connection):
    for _ in range(200):
        stream = connection.open()
        connection.data(stream, message()[:3], end=False)
        connection.send(Kind.RST_STREAM, 0, stream, struct.pack(">I", Error.CANCEL))
    assert connection.call().status == OK
    assert not any(answer.ended for stream, answer in connection.answers.items() if stream < 401)


def test_a_stream_that_has_ended_keeps_nothing_of_the_connections_window(connection):
    connection.ping()
    for _ in range(40):
        stream = connection.open(request("/no.such.Service/Method"))
        connection.data(stream, bytes(FRAME_BYTES), end=False)
        connection.send(Kind.RST_STREAM, 0, stream, struct.pack(">I", Error.CANCEL))
        connection.ping()
    assert connection.call(body=message(_filled(200_000))).status == OK


def test_an_answer_that_comes_before_the_message_does_not_stop_the_client(connection):
    """A server may answer before it has read all; what is then still sent must not break the connection."""
    for _ in range(20):
        stream = connection.open(request("/no.such.Service/Method"))
        connection.spend(stream, 3)
        connection.send(Kind.DATA, 0, stream, b"\0\0\0")
        connection.spend(stream, 2)
        connection.send(Kind.DATA, END_STREAM, stream, b"\0\0")
        assert connection.answer(stream).status == UNIMPLEMENTED
    assert connection.call().status == OK
