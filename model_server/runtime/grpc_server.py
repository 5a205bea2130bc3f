"""The gRPC port: which services, and how it ends without losing a call that has reached this process.

Clients are sent away while calls are taken as ever: each is asked by a GOAWAY to go, and what it sent before it had
read that is answered; then it connects anew, to a pod that stays. The same happens to every connection after some
seconds, so that clients that stay connected find pods that are new.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import Iterable
from typing import Any

from model_server.runtime.errors import Code, ServingError, invalid
from model_server.runtime.grpc_health import HealthService
from model_server.runtime.http2.call import Method
from model_server.runtime.http2.connection import Connection
from model_server.runtime.http2.limits import Limits
from model_server.turns import Turns

# Whoever connects to this very process again and goes on calling never leaves a quiet moment.
_LONGEST_WAIT_SECONDS = 18.0
# How long a client that comes while the server ends may stay.
_LAST_AGE_SECONDS = 1.0
_LOOK_SECONDS = 0.5


# Of https://github.com/grpc/grpc/blob/master/include/grpc/impl/channel_arg_names.h, what has a meaning here: the field
# of Limits, and how many of the argument's unit are one of the field's.
_ARGUMENTS = {
    "grpc.max_connection_age_ms": ("age", 1000),
    "grpc.max_connection_age_grace_ms": ("age_grace", 1000),
    "grpc.max_connection_idle_ms": ("idle", 1000),
    "grpc.max_concurrent_streams": ("calls", 1),
    "grpc.max_receive_message_length": ("message", 1),
}


def connection_limits(arguments: Iterable[tuple[str, int | str]], max_bytes: int) -> Limits:
    """The limits of `--grpc_channel_arguments` and `--max_request_bytes` (-1 is no bound). Raises ServingError."""
    limits: dict[str, Any] = {"message": max_bytes}
    for name, value in arguments:
        if name not in _ARGUMENTS:
            known = ", ".join(_ARGUMENTS)
            raise invalid(f"--grpc_channel_arguments: {name} has no meaning for this server, which takes {known}")
        if not isinstance(value, int) or value < 1:
            raise invalid(f"--grpc_channel_arguments: {name} takes an integer of at least 1, found {value!r}")
        field, unit = _ARGUMENTS[name]
        limits[field] = value if unit == 1 else value / unit
    return Limits(**limits)


class GrpcServer:
    """The methods behind one or more ports. It implements `http2.connection.Host`."""

    def __init__(
        self,
        methods: Iterable[Method],
        turns: Turns,
        limits: Limits,
        *,
        max_calls: int | None,
        health: HealthService | None,
    ) -> None:
        """`max_calls` bounds the calls that are answered at the same time."""
        self.turns = turns
        self.limits = limits
        self._methods = {method.path: method for method in (*methods, *(health.methods() if health else ()))}
        self._health = health
        self._max_calls = max_calls
        self._admitted = 0
        self._last_arrival = 0.0
        self._draining = False
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Listen at a port. Raises OSError when it is taken."""
        loop = asyncio.get_running_loop()
        # Linux bounds it by net.core.somaxconn, 4096 by default. Whom it has no room for tries again after seconds.
        self._started(await loop.create_server(self._connection, host, port, backlog=4096, ssl=tls))

    async def listen_at(self, path: str) -> None:
        """Listen at a socket in the file system. Raises OSError when that cannot be."""
        loop = asyncio.get_running_loop()
        self._started(await loop.create_unix_server(self._connection, path, backlog=4096))

    def _started(self, server: asyncio.Server) -> None:
        self._servers.append(server)
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep())

    def _connection(self) -> Connection:
        # Not all at once: clients that came together are not to go together.
        age = _LAST_AGE_SECONDS if self._draining else self.limits.age * random.uniform(0.9, 1.1)  # noqa: S311 - no secret
        return Connection(self, asyncio.get_running_loop(), age)

    async def _sweep(self) -> None:
        # One task for all connections, instead of a timer for each call.
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = loop.time()
            for connection in list(self._connections):
                connection.check_times(now)

    async def drain(self, grace: float, quiet: float = 1.0) -> None:
        """Take what arrives until clients are gone, finish what was taken, and end; within `grace` seconds."""
        end = time.monotonic() + grace
        if self._health is not None:
            # Clients that watch the health go elsewhere by themselves before they are sent away.
            self._health.end()
        self._draining = True
        for connection in list(self._connections):
            connection.ask()
        await self._until_quiet(quiet, 0.75 * grace)
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.tell()
            connection.end_streams(ServingError(Code.UNAVAILABLE, "the server ends: connect anew"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, end - time.monotonic())):
                await self._empty.wait()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._connections):
            connection.abort()

    async def _until_quiet(self, quiet: float, longest: float) -> None:
        """Return when no call has come for `quiet` seconds, or at last after `longest` seconds.

        On a machine that is too busy to let this process run, time says nothing about what has arrived: a sleep that
        ends late does not count.
        """
        step, counted, punctual, begin = quiet / 20, 0.0, 0.0, time.monotonic()
        while counted < quiet and punctual < _LONGEST_WAIT_SECONDS and time.monotonic() < begin + longest:
            before, started = self._last_arrival, time.monotonic()
            await asyncio.sleep(step)
            if time.monotonic() - started < 2 * step:
                punctual += step
                counted += step
            if self._last_arrival != before:
                counted = 0.0

    # http2.connection.Host

    def method(self, path: str) -> Method | None:
        """The method of this path."""
        return self._methods.get(path)

    def opened(self, connection: Connection) -> None:
        """A client has connected."""
        self._connections.add(connection)
        self._empty.clear()

    def closed(self, connection: Connection) -> None:
        """A client has gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def arrived(self) -> None:
        """A call has come."""
        self._last_arrival = time.monotonic()

    def admit(self) -> bool:
        """Whether one more call may be answered at the same time; if so, it counts until `release`."""
        if self._max_calls is not None and self._admitted >= self._max_calls:
            return False
        self._admitted += 1
        return True

    def release(self) -> None:
        """A call that was admitted is over."""
        self._admitted -= 1
