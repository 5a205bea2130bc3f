"""The HTTP layer by itself: limits, hostile clients, keep-alive, drain."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gzip
import random
import socket
import zlib
from collections.abc import AsyncIterator

import pytest
import uvloop

from model_server.http_server import HttpServer, Limits, Request, Response
from tests.unit.model_server.counted_threads import CountedThreads

# What is no test of a limit must not meet one, however busy the machine is.
WIDE = Limits(body=1000, stall=600, idle=600, drain_idle=0.2)
STRICT = dataclasses.replace(WIDE, stall=0.6)
IMPATIENT = dataclasses.replace(WIDE, idle=1)
_LONGEST_SECONDS = 60


async def _echo(request: Request, gate: asyncio.Event) -> Response:
    if request.path == "/held":
        await gate.wait()
    if request.path == "/broken":
        raise RuntimeError("boom")
    size = request.headers.get("x-answer-bytes")
    return Response(200, b"z" * int(size) if size else request.body or request.path.encode(), "text/plain")


@contextlib.asynccontextmanager
async def _serving(limits: Limits) -> AsyncIterator[HttpServer]:
    """A server at `bound` that answers `/held` once its `gate` is open."""
    gate = asyncio.Event()
    server = HttpServer(
        lambda request: _echo(request, gate),
        lambda status, message: Response(status, message.encode(), "text/plain"),
        limits,
    )
    server.bound, server.gate = await server.start("127.0.0.1", 0), gate  # type: ignore[attr-defined]
    yield server
    await server.close()


@pytest.fixture
async def server():
    async with _serving(WIDE) as server:
        yield server


@pytest.fixture
async def strict():
    """Cuts off who stalls."""
    async with _serving(STRICT) as server:
        yield server


def _refuse_posts(method: bytes, target: bytes) -> Response | None:
    """The same refusal of all that is posted, with a body as large as the target says in its query."""
    if method != b"POST":
        return None
    return Response(429, b"r" * int(target.partition(b"?")[2] or 7), "text/plain", (("Retry-After", "1"),))


@pytest.fixture
async def impatient():
    """Closes idle connections."""
    async with _serving(IMPATIENT) as server:
        yield server


async def _exchange(server, *parts: bytes, pause: float = 0.0) -> bytes:
    """Sends the parts and reads until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.bound)
    for part in parts:
        writer.write(part)
        await asyncio.sleep(pause)
    received = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(_LONGEST_SECONDS):
            while chunk := await reader.read(65536):
                received += chunk
    writer.close()
    return received


GET = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSE = b"Connection: close\r\n"


async def test_pipelined_requests_are_answered_in_order(server):
    last = b"GET /c HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n"
    exchange = asyncio.create_task(_exchange(server, GET % b"held" + GET % b"b" + last))
    await _until_busy(server, connected=1)
    server.gate.set()
    received = await exchange
    assert received.index(b"/held") < received.index(b"\r\n\r\n/b") < received.index(b"\r\n\r\n/c")


async def test_what_is_refused_is_read_to_its_end_and_the_connection_goes_on(server):
    server.refuse = _refuse_posts
    sized = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
    chunked = b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    last = b"GET /c HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n"
    received = await _exchange(server, sized + b"bo", b"dy" + chunked + b"3\r\nabc\r\n0\r\n\r\n" + last, pause=0.02)
    refused, again, answered, nothing = (*received.split(b"HTTP/1.1 ")[1:], b"")
    for one in (refused, again):
        assert one.startswith(b"429 Too Many Requests\r\n")
        assert b"\r\nRetry-After: 1\r\nConnection: keep-alive\r\nContent-Length: 7\r\n\r\n" in one
        assert one.endswith(b"r" * 7)
    assert answered.startswith(b"200 ")
    assert not nothing


@pytest.mark.parametrize("wish", [CLOSE, b""], ids=["the-clients-wish", "draining"])
async def test_a_refusal_is_the_last_answer_where_the_connection_is_to_close(server, wish):
    server.refuse, server.draining = _refuse_posts, not wish
    received = await _exchange(server, b"POST /a HTTP/1.1\r\nHost: x\r\n" + wish + b"Content-Length: 2\r\n\r\nab")
    assert received.startswith(b"HTTP/1.1 429 ")
    assert received.endswith(b"Connection: close\r\nContent-Length: 7\r\n\r\nrrrrrrr")


async def test_a_client_that_reads_late_has_its_refusals_and_what_it_asked_next(server):
    server.refuse = _refuse_posts
    reader, writer = await asyncio.open_connection("127.0.0.1", server.bound, limit=2**26)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    large = b"POST /a?20000000 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"
    writer.write(large + b"GET /c HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n")
    await _until_busy(server, connected=1)
    reader._transport.resume_reading()  # type: ignore[attr-defined]
    async with asyncio.timeout(_LONGEST_SECONDS):
        received = await reader.read()
    assert received.count(b"r" * 20_000_000 + b"HTTP/1.1 200 ") == 1
    writer.close()


async def test_a_client_that_never_reads_its_refusal_is_cut_off(strict):
    strict.refuse = _refuse_posts
    reader, writer = await asyncio.open_connection("127.0.0.1", strict.bound, limit=1)
    writer.write(b"POST /a?20000000 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
    assert await reader.readexactly(1)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.wait_for(strict._empty.wait(), _LONGEST_SECONDS)
    writer.close()


async def test_chunked_bodies_and_split_packets(server):
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + CLOSE + b"\r\n"
    received = await _exchange(server, head[:20], head[20:], b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n", pause=0.02)
    assert received.endswith(b"\r\n\r\nabcde")


async def test_expect_100_continue_is_answered_before_the_body(server):
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n" + CLOSE + b"\r\n"
    received = await _exchange(server, head, b"ok", pause=0.05)
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001, b"413"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3e9\r\n" + b"x" * 1001, b"413"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 70000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (GET % b"broken" + b"GET /last HTTP/1.0\r\n\r\n", b"500"),
    ],
    ids=["length", "chunked", "header", "target", "nonsense", "smuggling", "exception"],
)
async def test_bad_requests_are_answered_and_the_server_lives_on(server, raw, status):
    assert (await _exchange(server, raw)).split(b" ")[1] == status
    assert b"/alive" in await _exchange(server, b"GET /alive HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize(
    "raw",
    [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf", b"GET / HTTP/1.1\r\nHos"],
    ids=["body", "head"],
)
async def test_a_request_that_stops_is_cut_off(strict, raw):
    assert (await _exchange(strict, raw)).split(b" ")[1] == b"408"


async def test_a_request_that_comes_byte_by_byte_is_cut_off(strict):
    reader, writer = await asyncio.open_connection("127.0.0.1", strict.bound)
    writer.write(b"GET / HTTP/1.1\r\nX: ")
    answer = asyncio.create_task(reader.read())
    async with asyncio.timeout(_LONGEST_SECONDS):
        while not answer.done():
            writer.write(b"x")
            await asyncio.wait([answer], timeout=0.05)
    assert answer.result().startswith(b"HTTP/1.1 408")
    assert b"less than 1024 bytes a second" in answer.result()
    writer.close()


_HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 0\r\nContent-Length: %d\r\n",
        b"Content-Length: %d\r\nContent-Length: 0\r\n",
        b"Content-Length: 0, %d\r\n",
        b"Content-Length: +%d\r\n",
        b"Content-Length: -%d\r\n",
        b"Content-Length: 0x%d\r\n",
        b"Content-Length: 99999999999999999999%d\r\n",
        b"Content-Length : %d\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n",
        b"Transfer-Encoding: xchunked\r\nContent-Length: %d\r\n",
        b"Transfer-Encoding: chunked, identity\r\nX: %d\r\n",
        b"Transfer-Encoding : chunked\r\nContent-Length: %d\r\n",
        b"X: \x00\r\nContent-Length: %d\r\n",
    ],
)
async def test_a_body_whose_length_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_runs(server, head):
    raw = b"POST /outer HTTP/1.1\r\nHost: x\r\n" + head % len(_HIDDEN) + b"\r\n" + _HIDDEN
    received = await _exchange(server, raw)
    assert received.count(b"HTTP/1.1 ") == 1
    assert received.split(b" ")[1] in {b"400", b"413"}
    assert b"Connection: close" in received


def _gzipped(body: bytes) -> bytes:
    length = str(len(body)).encode()
    return (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
        + CLOSE
        + b"Content-Length: "
        + length
        + b"\r\n\r\n"
        + body
    )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (gzip.compress(b"fine"), b"200"),
        (gzip.compress(b"0" * 100_000), b"413"),
        (b"not gzip", b"400"),
        (gzip.compress(b"cut short")[:-9], b"400"),
        (zlib.compress(b"zlib"), b"400"),
    ],
    ids=["gzip", "bomb", "text", "short", "zlib"],
)
async def test_gzip_bodies_are_unpacked_within_the_limit(server, body, status):
    assert (await _exchange(server, _gzipped(body))).split(b" ")[1] == status


@pytest.mark.parametrize(
    ("body", "status", "given"),
    [
        (gzip.compress(b"0" * 200_000), b"200", 0),
        (gzip.compress(b"0" * 20_000_000), b"200", 1),
        (gzip.compress(b"0" * 40_000_000), b"413", 1),
        (gzip.compress(random.Random(1).randbytes(100_000)), b"200", 1),
    ],
    ids=["little", "much of little", "too much of little", "much"],
)
async def test_the_event_loop_unpacks_only_what_takes_no_time(body, status, given):
    with CountedThreads() as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        async with _serving(dataclasses.replace(WIDE, body=30_000_000)) as server:
            assert (await _exchange(server, _gzipped(body))).split(b" ")[1] == status
        assert threads.given == given


async def test_large_answers_are_packed_for_those_who_ask(server):
    ask = b"GET / HTTP/1.1\r\nHost: x\r\nX-Answer-Bytes: 200000\r\nAccept-Encoding: br, gzip\r\n" + CLOSE + b"\r\n"
    head, _, body = (await _exchange(server, ask)).partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip" in head
    assert gzip.decompress(body) == b"z" * 200_000


async def test_a_client_that_never_reads_is_cut_off(strict):
    reader, writer = await asyncio.open_connection("127.0.0.1", strict.bound, limit=1)
    ask = b"GET / HTTP/1.1\r\nHost: x\r\nX-Answer-Bytes: 20000000\r\n\r\n"
    writer.write(ask)
    # Only the first bytes are asked for: the rest does not fit the kernel's buffers, and the server must give up on it.
    assert await reader.readexactly(1)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.wait_for(strict._empty.wait(), _LONGEST_SECONDS)
    writer.close()


async def test_idle_connections_are_closed(impatient):
    assert (await _exchange(impatient, GET % b"once")).count(b"HTTP/1.1 200") == 1
    await asyncio.wait_for(impatient._empty.wait(), _LONGEST_SECONDS)


async def _until_busy(server, connected: int) -> None:
    """Return when the server has that many clients and reads or answers a request of one of them."""
    while len(server.connections) < connected or not any(client.busy for client in server.connections):  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_drain_answers_with_close_and_ends_when_nobody_is_left(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.bound)
    writer.write(GET % b"held")
    await _until_busy(server, connected=1)
    drained = asyncio.create_task(server.drain(grace=600, quiet=0.1))
    await asyncio.sleep(0)
    assert server.draining
    late = await _exchange(server, GET % b"late")
    server.gate.set()
    held = await reader.read()  # until the server closes
    for path, answer in ((b"/late", late), (b"/held", held)):
        assert path in answer
        assert b"Connection: close" in answer
    await asyncio.wait_for(drained, _LONGEST_SECONDS)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.bound)


async def test_requests_in_flight_are_finished_when_no_more_connections_are_taken(server):
    stay = [await asyncio.open_connection("127.0.0.1", server.bound) for _ in range(2)]
    stay[0][1].write(GET % b"held")
    await _until_busy(server, connected=2)
    drained = asyncio.create_task(server.drain(grace=600, quiet=600, longest=0.05))
    while len(server.connections) > 1:  # noqa: ASYNC110 - who is idle is sent away
        await asyncio.sleep(0)
    server.gate.set()
    await asyncio.wait_for(drained, _LONGEST_SECONDS)
    assert b"/held" in await stay[0][0].read()
    for _, writer in stay:
        writer.close()


async def test_what_is_in_flight_when_the_grace_is_over_is_given_up(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.bound)
    writer.write(GET % b"held")
    await _until_busy(server, connected=1)
    await asyncio.wait_for(server.drain(grace=0.05), _LONGEST_SECONDS)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()


def test_who_comes_new_does_not_wait_for_a_round_of_the_event_loop_for_each_who_came_before():
    async def count() -> int:
        server = HttpServer(lambda _: Response(200, b""), lambda status, _: Response(status, b""), WIDE)
        port = await server.start("127.0.0.1", 0)
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        rounds = 0
        while len(server.connections) < len(clients):
            await asyncio.sleep(0)
            rounds += 1
        await server.close()
        for client in clients:
            client.close()
        return rounds

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(asyncio.wait_for(count(), _LONGEST_SECONDS)) < 40
