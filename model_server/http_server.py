"""A small HTTP/1.1 server on asyncio and httptools: what the runtime's REST port and the agent's port share.

Keep-alive, pipelining, chunked and gzip bodies, `Expect: 100-continue`; bounded headers and bodies; slow or silent
clients are cut off; and a drain that loses no request: while draining every answer carries `Connection: close`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from model_server.http_connection import Connection
from model_server.http_messages import ErrorBody, Handler, Limits, Refuse, Request, Response
from model_server.turns import Turns

# Whoever connects to this very process again and again never leaves a quiet moment.
_LONGEST_WAIT_SECONDS = 18.0
_AT_ONCE = 64


class HttpServer:
    """Serves one handler on one port."""

    def __init__(
        self,
        handler: Handler,
        error_body: ErrorBody,
        limits: Limits | None = None,
        turns: Turns | None = None,
        refuse: Refuse = lambda _method, _target: None,
    ) -> None:
        self.handler = handler
        self.turns = Turns() if turns is None else turns
        self.refuse = refuse
        self.error_body = error_body
        self.limits = limits or Limits()
        self.draining = False
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._listener: socket.socket
        self._connecting: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self._arrival = asyncio.Event()

    async def start(self, host: str, port: int) -> int:
        """Listen; port 0 picks a free one. Returns the port. Raises OSError when it is taken."""
        # Linux bounds it by net.core.somaxconn, 4096 by default. Whom it has no room for tries again after seconds.
        backlog = 4096
        self._listener = socket.create_server((host, port), backlog=backlog)
        self._listener.setblocking(False)
        self._server = await asyncio.get_running_loop().create_server(
            self._connection, sock=self._listener.dup(), backlog=backlog
        )
        self._sweeper = asyncio.create_task(self._sweep())
        bound: int = self._listener.getsockname()[1]
        return bound

    def _connection(self) -> Connection:
        return Connection(self, asyncio.get_running_loop())

    def _take_more(self) -> None:
        """Take others that wait to be connected, when one has been.

        uvloop takes one in each round of the event loop. With thousands of clients at work a round takes a part of a
        second, and who comes new, such as a health probe, would wait for as many rounds as others came before.
        """
        loop = asyncio.get_running_loop()
        for _ in range(_AT_ONCE):
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # nobody waits, or nobody is listened to any more
            task = loop.create_task(self._connect(client))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it has gone already
            await asyncio.get_running_loop().connect_accepted_socket(self._connection, client)

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._listener.close()

    async def drain(self, grace: float, quiet: float = 1.0, longest: float = _LONGEST_WAIT_SECONDS) -> None:
        """Keep answering, with `Connection: close`, until nobody has been connected for `quiet` seconds, then stop.

        After `longest` seconds, or three quarters of `grace`, new connections are refused. Requests in flight have
        until `grace` seconds are over; then the rest is closed.
        """
        end = asyncio.get_running_loop().time() + grace
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(longest, 0.75 * grace)):
                await self._until_quiet(quiet)
        self._stop_listening()
        for connection in list(self.connections):
            if not connection.busy:
                connection.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                await self._empty.wait()
        await self.close()

    async def _until_quiet(self, quiet: float) -> None:
        while True:
            await self._empty.wait()
            self._arrival.clear()
            try:
                async with asyncio.timeout(quiet):
                    await self._arrival.wait()
            except TimeoutError:
                return

    async def close(self) -> None:
        """Stop at once."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._stop_listening()
        for connection in list(self.connections):
            connection.abort()

    def opened(self, connection: Connection) -> None:
        """A client has connected."""
        self.connections.add(connection)
        self._empty.clear()
        self._arrival.set()
        self._take_more()

    def closed(self, connection: Connection) -> None:
        """A client has gone."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    async def _sweep(self) -> None:
        # One task for all connections, instead of a timer for each request.
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(0.5)
            now = loop.time()
            for connection in list(self.connections):
                connection.check_times(now)


__all__ = ["HttpServer", "Limits", "Request", "Response"]
