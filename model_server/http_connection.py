"""One client's connection: reading requests, answering them in order, and cutting off who is too slow."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import http
import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import httptools

from model_server.http_messages import (
    GZIP_FROM_BYTES,
    ErrorBody,
    Handler,
    Limits,
    RejectedError,
    Request,
    Response,
    pack,
    too_large,
    unpack,
)

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
_MAX_HEADER_BYTES = 64 * 1024
# Packing or unpacking more than this (about 1 ms) is done outside the event loop's thread.
_INLINE_BYTES = 64 * 1024
_REASONS = {status.value: status.phrase for status in http.HTTPStatus} | {499: "Client Closed Request"}


class Host(Protocol):
    """What a connection needs of its server."""

    handler: Handler
    error_body: ErrorBody
    limits: Limits
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
        self._task: asyncio.Task[None] | None = None
        self._progress = self._begun = loop.time()
        self._writable = asyncio.Event()
        self._writable.set()
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
        return self._task is not None or bool(self._queue) or self._reading

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    def check_times(self, now: float) -> None:
        """Close when the client has been silent for too long."""
        limits, waited = self._server.limits, now - self._progress
        if self._task is not None:
            if not self._writable.is_set() and waited > limits.stall:
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
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The client has read."""
        self._progress = self._loop.time()
        self._writable.set()

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
        self._begun = self._loop.time()
        self._reading = True

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        self._url += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._count_header(len(name) + len(value))
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > _MAX_HEADER_BYTES:
            raise RejectedError(431, f"the request's headers are larger than {_MAX_HEADER_BYTES} bytes")

    def on_headers_complete(self) -> None:
        """The body may follow."""
        announced = self._headers.get("content-length", "0")
        if announced.isdigit() and int(announced) > self._server.limits.body:
            raise too_large(self._server.limits.body)
        asked = self._headers.get("expect", "").lower() == "100-continue"
        if asked and self._task is None and self._transport is not None:
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
        request = Request(
            self._parser.get_method().decode("ascii"),
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
        self._queue.append(item)
        if self._task is None:
            self._task = self._loop.create_task(self._answer_all())
        elif self._transport is not None:
            self._transport.pause_reading()  # a client may not queue more than it has sent already

    # Answering

    async def _answer_all(self) -> None:
        try:
            while self._queue and self._transport is not None and not self._transport.is_closing():
                item = self._queue.popleft()
                if isinstance(item, RejectedError):
                    self._write(self._server.error_body(item.status, str(item)), keep_alive=False, head=False)
                    return
                request, keep_alive = item
                response = await self._answer(request)
                keep_alive = keep_alive and not self._server.draining
                self._write(response, keep_alive=keep_alive, head=request.method == "HEAD")
                if not keep_alive:
                    self._closing = True
                    return
                await self._writable.wait()
        finally:
            self._task = None
            self._progress = self._loop.time()
            if self._transport is not None and not self._transport.is_closing():
                if self._rejected:
                    # Closing while the client still sends would reset the connection before it has read the answer.
                    # The sweeper closes when the client has not done so itself.
                    self._transport.write_eof()
                elif self._closing:
                    self._transport.close()
                else:
                    self._transport.resume_reading()

    async def _answer(self, request: Request) -> Response:
        try:
            if request.headers.get("content-encoding", "").lower() == "gzip":
                packed, limit = request.body, self._server.limits.body
                body = await self._off_loop(len(packed), lambda: unpack(packed, limit))
                request = dataclasses.replace(request, body=body)
            response = await self._server.handler(request)
        except RejectedError as error:
            return self._server.error_body(error.status, str(error))
        except Exception:  # noqa: BLE001 - a mistake in one answer must not end the server
            _LOG.exception("%s %s failed", request.method, request.path)
            return self._server.error_body(500, f"{request.method} {request.path} failed in this server, see its log")
        if len(response.body) >= GZIP_FROM_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
            return await self._off_loop(len(response.body), lambda: pack(response))
        return response

    async def _off_loop(self, size: int, work: Callable[[], _T]) -> _T:
        return await self._loop.run_in_executor(None, work) if size > _INLINE_BYTES else work()

    def _write(self, response: Response, *, keep_alive: bool, head: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        lines = [
            f"HTTP/1.1 {response.status} {_REASONS.get(response.status, '')}",
            f"Content-Type: {response.content_type}",
            f"Content-Length: {len(response.body)}",
            *(f"{name}: {value}" for name, value in response.headers),
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
            "\r\n",
        ]
        self._transport.write("\r\n".join(lines).encode("latin-1") + (b"" if head else response.body))
