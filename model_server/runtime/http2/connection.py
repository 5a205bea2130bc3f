"""One client's connection: its bytes, and when it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol, cast

from model_server.runtime.errors import Code, ServingError
from model_server.runtime.http2 import streams
from model_server.runtime.http2.departure import Departure
from model_server.runtime.http2.frame_reader import FrameReader
from model_server.runtime.http2.frames import ConnectionFaultError
from model_server.runtime.http2.sending import Sender

_LOG = logging.getLogger(__name__)


class Host(streams.Host, Protocol):
    """What a connection needs of its server."""

    def opened(self, connection: Connection) -> None:
        """A client has connected."""

    def closed(self, connection: Connection) -> None:
        """A client has gone."""


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop, age: float) -> None:
        """After `age` seconds the client is asked to connect anew."""
        self._host = host
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._sender = Sender(loop)
        self._streams = streams.Streams(host, self._sender, self._rested, self._answered)
        self._departure = Departure(self._sender)
        self._reader = FrameReader(self._streams.take)
        self._writable = True
        self._leaves_at = loop.time() + age
        self._resting_since = self._progress = loop.time()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast("asyncio.Transport", transport)  # create_server gives full-duplex ones
        self._sender.connect(self._transport)
        self._streams.greet()
        self._host.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: what was being answered is of no use to anybody."""
        self._host.closed(self)
        self._streams.cancel()

    def eof_received(self) -> bool:
        """The client sends no more: calls that have come are answered all the same."""
        if not self._streams.calls:
            return False
        self.tell()
        return self._transport is not None and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        """The client reads too slowly: it is not to ask for more."""
        self._writable = False
        self._progress = self._loop.time()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client has read."""
        self._writable = True
        self._progress = self._loop.time()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Bytes of frames."""
        if self._transport is None or self._transport.is_closing():
            return
        try:
            self._reader.read(data)
        except ConnectionFaultError as error:
            _LOG.debug("a gRPC connection ends: %s", error)
            self._departure.give_up(self._streams.last, error.code, str(error))
            self._sender.flush()
            self._transport.close()

    def _rested(self) -> None:
        """The last call is over."""
        self._resting_since = self._loop.time()
        if self._departure.told is not None:
            self._finish()

    def _answered(self, ping: bytes) -> None:
        if self._departure.has_read(ping):
            self.tell()

    # How it ends

    def ask(self) -> None:
        """Ask the client to connect anew; what it sends until it has read that is answered as ever."""
        self._departure.ask(self._loop.time())

    def tell(self) -> None:
        """Take no further call, and tell the client which ones were taken."""
        if self._departure.told is None:
            self._streams.taking = False
            self._departure.tell(self._loop.time(), self._streams.last)
            if not self._streams.calls:
                self._finish()

    def _finish(self) -> None:
        """The last call is over: the client closes, or is closed after a while."""
        self._departure.done = self._loop.time()
        self._sender.flush()
        # Closing while the client still sends would reset the connection before it has read its answers.
        if self._transport is not None and not self._transport.is_closing() and self._transport.can_write_eof():
            self._transport.write_eof()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    def end_streams(self, error: ServingError) -> None:
        """End calls that give several messages."""
        self._streams.fail(error, streams=True)

    def check_times(self, now: float) -> None:
        """Send the client away when its time has come, and close when it has been silent for too long."""
        limits, departure = self._host.limits, self._departure
        stuck = not self._writable or bool(self._sender.waiting)
        if stuck and now - max(self._progress, self._sender.progress) > limits.stall:
            self.abort()
        elif departure.done is not None:
            if now - departure.done > limits.goodbye and self._transport is not None:
                self._transport.close()
        elif departure.told is not None:
            if now - departure.told > limits.age_grace:
                self._streams.fail(ServingError(Code.UNAVAILABLE, "the connection's time is over: call again"))
        elif departure.asked is not None:
            if now - departure.asked > limits.goodbye:
                self.tell()
        elif now > self._leaves_at or (not self._streams.calls and now - self._resting_since > limits.idle):
            self.ask()
        self._streams.check_times(time.monotonic())
