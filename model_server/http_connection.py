"""One client's connection: reading requests, answering them in order, and cutting off who is too slow."""

from __future__ import annotations

import asyncio
import collections
import functools
import http
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import httptools
import msgspec

from model_server.http_messages import (
    CONTENT_ENCODING,
    GZIP_FROM_BYTES,
    Answer,
    ErrorBody,
    Handler,
    Limits,
    Refuse,
    RejectedError,
    Request,
    Response,
    pack,
    too_large,
    unpack,
    unpack_few,
)
from model_server.turns import Together, Turns

_LOG = logging.getLogger(__name__)
_MAX_HEADER_BYTES = 64 * 1024
# Packing more than this (about 1 ms) is done outside the event loop's thread.
_INLINE_BYTES = 64 * 1024
_REASONS = {status.value: status.phrase for status in http.HTTPStatus} | {499: "Client Closed Request"}


class Host(Protocol):
    """What a connection needs of its server."""

    handler: Handler
    refuse: Refuse
    error_body: ErrorBody
    limits: Limits
    turns: Turns
    draining: bool

    def opened(self, connection: Connection) -> None:
        """A client has connected."""

    def closed(self, connection: Connection) -> None:
        """A client has gone."""


class Connection(asyncio.Protocol):
    """One client. Requests of a connection are answered one after another, in order."""

    def __init__(self, server: Host, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._queue: collections.deque[tuple[Request, bool] | RejectedError] = collections.deque()
        # From the moment at which a request waits for its turn until nothing of this client is left to be done.
        self._answering = False
        self._task: asyncio.Task[Response] | None = None
        self._progress = self._begun = loop.time()
        # The client does not read its answer, or has sent more requests before it had one.
        self._blocked = self._paused = False
        self._writable = True
        self._reading = False
        self._closing = False
        self._rejected = False
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0

    @property
    def busy(self) -> bool:
        """Whether a request is being read or answered."""
        return self._answering or self._reading

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    def check_times(self, now: float) -> None:
        """Close when the client has been silent for too long."""
        limits, waited = self._server.limits, now - self._progress
        if self._answering:
            if not self._writable and waited > limits.stall:
                self.abort()
        elif self._reading:
            took = now - self._begun
            if took > limits.stall and self._header_bytes + self._body_bytes < took * limits.slowest:
                self._reject(RejectedError(408, f"the request came at less than {limits.slowest:g} bytes a second"))
            elif waited > limits.stall:
                self._reject(RejectedError(408, f"the request was not complete {limits.stall:g} s after its last byte"))
        elif (
            waited > (limits.drain_idle if self._server.draining or self._rejected else limits.idle)
            and self._transport is not None
        ):
            self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = transport  # type: ignore[assignment]  # create_server gives full-duplex transports
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: what was being answered is of no use to anybody."""
        self._server.closed(self)
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._writable = False

    def resume_writing(self) -> None:
        """The client has read."""
        self._progress = self._loop.time()
        self._writable = True
        if self._blocked:
            self._go_on()

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self._closing:
            return
        self._progress = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._reject(RejectedError(400, "this server speaks HTTP/1.1 only, without upgrades"))
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._reject(
                cause if isinstance(cause, RejectedError) else RejectedError(400, "the request cannot be read")
            )
        except httptools.HttpParserError as error:
            self._reject(RejectedError(400, f"the request is not HTTP/1.1: {error}"))

    # httptools callbacks

    def on_message_begin(self) -> None:
        """A request starts."""
        self._reset()
        self._begun = self._progress
        self._reading = True

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        self._url += url
        self._header_bytes += len(url)
        if self._header_bytes > _MAX_HEADER_BYTES:
            raise _headers_too_large()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > _MAX_HEADER_BYTES:
            raise _headers_too_large()
        self._headers[_lower(name)] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The body may follow."""
        headers = self._headers
        announced = headers.get("content-length", "0")
        if announced.isdigit() and int(announced) > self._server.limits.body:
            raise too_large(self._server.limits.body)
        asked = "expect" in headers and headers["expect"].lower() == "100-continue"
        if asked and not self._answering and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._server.limits.body:
            raise too_large(self._server.limits.body)
        self._body.append(body)

    def on_message_complete(self) -> None:
        """A whole request has arrived."""
        self._reading = False
        method = self._parser.get_method()
        if not self._answering:
            refused = self._server.refuse(method, self._url)
            if refused is not None:
                self._answer_refused(refused, head=method == b"HEAD")
                return
        request = Request(
            method.decode("ascii"),
            self._url.partition(b"?")[0].decode("latin-1"),
            self._headers,
            self._body[0] if len(self._body) == 1 else b"".join(self._body),
        )
        self._put((request, self._parser.should_keep_alive()))

    def _reject(self, rejected: RejectedError) -> None:
        self._reading = False
        self._closing = self._rejected = True
        self._put(rejected)

    def _put(self, item: tuple[Request, bool] | RejectedError) -> None:
        if self._answering:
            self._queue.append(item)
            if self._transport is not None and not self._paused:
                self._paused = True
                self._transport.pause_reading()  # a client may not queue more than it has sent already
            return
        self._answering = True
        self._queue.append(item)
        self._server.turns.add(self._take_turn)

    # Answering

    def _answer_refused(self, refused: Response, *, head: bool) -> None:
        """With nothing else to answer, and by as few steps as may be: what a refusal costs, an answer lacks."""
        keep_alive = self._parser.should_keep_alive()
        if head or self._server.draining or not keep_alive:
            self._answering = True
            self._answer_with(refused, head=head, keep_alive=keep_alive)
            return
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_kept(refused))
            # What the client has yet to read holds up its next requests, as after any answer.
            self._answering = self._blocked = not self._writable

    def _take_turn(self) -> None:
        """Answer the next request, at once or by a task."""
        if self._transport is None or self._transport.is_closing():
            self._answering = False
            return
        item = self._queue.popleft()
        if isinstance(item, RejectedError):
            self._write(self._server.error_body(item.status, str(item)), keep_alive=False, head=False)
            self._rest()
            return
        request, keep_alive = item
        if request.headers.get("content-encoding", "").lower() == "gzip":
            self._answer_later(self._unpacked(request), request, keep_alive)
        else:
            self._answer(functools.partial(self._server.handler, request), request, keep_alive)

    def _answer(self, begin: Callable[[], Answer], request: Request, keep_alive: bool) -> None:
        try:
            answer = begin()
        except Exception as error:  # noqa: BLE001 - a mistake in one answer must not end the server
            answer = self._failed(request, error)
        if isinstance(answer, Together):
            self._server.turns.gather(answer, functools.partial(self._answer, answer.go_on, request, keep_alive))
        elif not isinstance(answer, Response):
            self._answer_later(answer, request, keep_alive)
        elif _has_to_be_packed(answer, request):
            self._answer_later(self._off_loop_packed(answer), request, keep_alive)
        else:
            self._answer_with(answer, head=request.method == "HEAD", keep_alive=keep_alive)

    async def _unpacked(self, request: Request) -> Response:
        packed, limit = request.body, self._server.limits.body
        body = unpack_few(packed, limit)
        if body is None:
            body = await self._loop.run_in_executor(None, unpack, packed, limit)
        answer = self._server.handler(msgspec.structs.replace(request, body=body))
        if isinstance(answer, Response):
            return answer
        assert not isinstance(answer, Together)  # those are for who has been called in its turn
        return await self._loop.create_task(answer)

    async def _off_loop_packed(self, response: Response) -> Response:
        if len(response.body) <= _INLINE_BYTES:
            return pack(response)
        return await self._loop.run_in_executor(None, pack, response)

    def _failed(self, request: Request, error: BaseException) -> Response:
        if isinstance(error, RejectedError):
            return self._server.error_body(error.status, str(error))
        _LOG.error("%s %s failed", request.method, request.path, exc_info=error)
        return self._server.error_body(500, f"{request.method} {request.path} failed in this server, see its log")

    def _answer_later(self, answer: Coroutine[Any, Any, Response], request: Request, keep_alive: bool) -> None:
        self._task = self._loop.create_task(answer)
        self._task.add_done_callback(lambda task: self._answered(task, request, keep_alive))

    def _answered(self, task: asyncio.Task[Response], request: Request, keep_alive: bool) -> None:
        self._task = None
        if task.cancelled():
            self._answering = False
            return
        error = task.exception()
        response = task.result() if error is None else self._failed(request, error)
        if _has_to_be_packed(response, request):
            self._answer_later(self._off_loop_packed(response), request, keep_alive)
        else:
            self._answer_with(response, head=request.method == "HEAD", keep_alive=keep_alive)

    def _answer_with(self, response: Response, *, head: bool, keep_alive: bool) -> None:
        keep_alive = keep_alive and not self._server.draining
        self._write(response, keep_alive=keep_alive, head=head)
        if keep_alive:
            self._go_on()
        else:
            self._closing = True
            self._rest()

    def _go_on(self) -> None:
        """With the next request, once the client has read its answers."""
        self._blocked = not self._writable
        if self._blocked:
            return
        if self._queue:
            self._server.turns.add(self._take_turn)
        else:
            self._rest()

    def _rest(self) -> None:
        """There is nothing to answer."""
        self._answering = False
        self._progress = self._loop.time()
        if self._transport is None or self._transport.is_closing():
            return
        if self._rejected:
            # Closing while the client still sends would reset the connection before it has read the answer.
            # The sweeper closes when the client has not done so itself.
            self._transport.write_eof()
        elif self._closing:
            self._transport.close()
        elif self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _write(self, response: Response, *, keep_alive: bool, head: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(_whole(response, keep_alive=keep_alive, head=head))


def _headers_too_large() -> RejectedError:
    return RejectedError(431, f"the request's headers are larger than {_MAX_HEADER_BYTES} bytes")


def _has_to_be_packed(answer: Response, request: Request) -> bool:
    return (
        len(answer.body) >= GZIP_FROM_BYTES
        and "gzip" in request.headers.get("accept-encoding", "")
        and CONTENT_ENCODING not in (name for name, _ in answer.headers)
    )


@functools.lru_cache(256)
def _lower(name: bytes) -> str:
    """A header's name; clients know few."""
    return name.decode("latin-1").lower()


def _whole(response: Response, *, keep_alive: bool, head: bool = False) -> bytes:
    """An answer's bytes; to HEAD without its body."""
    begin = _head(response.status, response.content_type, response.headers, keep_alive)
    return b"%b%d\r\n\r\n%b" % (begin, len(response.body), b"" if head else response.body)


@functools.lru_cache(16)
def _kept(refused: Response) -> bytes:
    """A refusal's bytes on a connection that goes on; many requests are refused alike."""
    return _whole(refused, keep_alive=True)


@functools.lru_cache(256)
def _head(status: int, content_type: str, headers: tuple[tuple[str, str], ...], keep_alive: bool) -> bytes:
    """An answer's head but for the number of bytes, which comes last."""
    lines = [
        f"HTTP/1.1 {status} {_REASONS.get(status, '')}",
        f"Content-Type: {content_type}",
        *(f"{name}: {value}" for name, value in headers),
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        "Content-Length: ",
    ]
    return "\r\n".join(lines).encode("latin-1")
