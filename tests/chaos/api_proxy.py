"""A proxy between one operator and the real API server: plain HTTP in, TLS out, and every fault on the way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType

import aiohttp
from aiohttp import web

from tests.chaos.background import Background
from tests.chaos.call import Call, decoded
from tests.chaos.faults import Faults, Moment
from tests.chaos.upstream import Upstream

_HOP_BY_HOP = frozenset({"connection", "content-length", "host", "transfer-encoding", "user-agent", "accept-encoding"})
# Closing a socket with this sends a reset instead of an end.
_LINGER_NOT = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Answered:
    """A call that the API server answered, and when (`time.monotonic`)."""

    call: Call
    status: int
    at: float


class ApiProxy:
    """One way to the API server, for one operator.

    Args:
        background: the loop in which it runs.
        upstream: the API server.
        name: of the operator behind it, which the audit log shows as its user agent.
    """

    def __init__(self, background: Background, upstream: Upstream, name: str) -> None:
        self.name = name
        self.faults = Faults()
        self.most_at_once = 0
        """The most requests, watches left out, that were under way at the same time."""
        self._background = background
        self._upstream = upstream
        self._answered: list[Answered] = []
        self._changed = threading.Condition()
        self._under_way = 0
        self._connections: set[asyncio.Transport] = set()
        self._streams: dict[web.StreamResponse, Call] = {}
        self._mute: set[web.StreamResponse] = set()
        self._cut_after: dict[str, int] = {}
        self._exits = AsyncExitStack()
        self._port = 0

    def __enter__(self) -> ApiProxy:
        self._background.run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._background.run(self._stop())

    @property
    def url(self) -> str:
        """Where the operator finds it."""
        return f"http://127.0.0.1:{self._port}"

    # ---- what came through

    @property
    def answered(self) -> list[Answered]:
        """The calls that the API server answered, oldest first."""
        with self._changed:
            return list(self._answered)

    def wait_for_call(self, wanted: Callable[[Answered], bool], seconds: float, since: int = 0) -> Answered:
        """The first call, from number `since` on, of which `wanted` holds. Raises AssertionError."""
        deadline = time.monotonic() + seconds
        with self._changed:
            at = since
            while True:
                for one in self._answered[at:]:
                    if wanted(one):
                        return one
                at = len(self._answered)
                left = deadline - time.monotonic()
                assert left > 0, f"{self.name} did not make the call that was waited for within {seconds:.0f} s"
                self._changed.wait(left)

    # ---- what a test does to it

    def cut(self) -> None:
        """Reset every connection that is open now."""
        self._background.run(self._cut())

    def expire_watches(self) -> None:
        """Tell every open watch that what it goes on from is forgotten (410), which makes it list anew."""
        gone = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}
        self.send_to_watches({"type": "ERROR", "object": {**gone, "message": "too old resource version"}})

    def send_to_watches(self, event: object, which: Callable[[Call], bool] = lambda _call: True) -> None:
        """Write one line into the open watches of which `which` holds, and end them."""
        self._background.run(self._end_watches(json.dumps(event).encode() + b"\n", which))

    def cut_stream_after(self, plural: str, events: int) -> None:
        """Reset the next watch of a resource once so many events of it have come through."""
        self._cut_after[plural] = events

    def mute_watches(self) -> None:
        """Let no byte more through the watches that are open now, and keep them open: half of them is gone."""
        self._background.run(self._mute_streams())

    def part(self) -> None:
        """Cut the network: nothing comes through, neither way, and nobody is told."""
        self.faults.silent = True
        self.mute_watches()

    def heal(self) -> None:
        """Let new requests through again; those that were asked meanwhile, and the watches, stay dead."""
        self.faults.silent = False

    def close(self) -> None:
        """Refuse connections, as a server does that is not running."""
        self._background.run(self._stop_listening())

    def open(self) -> None:
        """Take connections again, at the same address."""
        self._background.run(self._listen())

    # ---- how it works

    async def _start(self) -> None:
        self._session = await self._exits.enter_async_context(self._upstream.session())
        self._runner = web.ServerRunner(
            web.Server(self._handle, handler_cancellation=True, access_log=None), shutdown_timeout=0.1
        )
        await self._runner.setup()
        await self._listen()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()
        assert self._site._server is not None
        self._port = self._site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    async def _stop_listening(self) -> None:
        await self._site.stop()
        await self._cut()

    async def _stop(self) -> None:
        await self._cut()
        await self._runner.cleanup()
        await self._exits.aclose()

    async def _cut(self) -> None:
        for transport in list(self._connections):
            _reset(transport)
        self._connections.clear()

    async def _mute_streams(self) -> None:
        self._mute |= self._streams.keys()

    async def _end_watches(self, line: bytes, which: Callable[[Call], bool]) -> None:
        for stream, call in list(self._streams.items()):
            if which(call) and stream.prepared:
                # The line may meet one that was on its way; whichever comes second finds the stream ended.
                with contextlib.suppress(RuntimeError, ConnectionError):
                    await stream.write(line)
                    await stream.write_eof()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request.transport, asyncio.Transport)
        self._connections.add(request.transport)
        data = await request.read()
        call = Call(request.method, request.path, dict(request.query), decoded(data))
        async with self._counted(call):
            return await self._answer(request, call, data)

    @asynccontextmanager
    async def _counted(self, call: Call) -> AsyncIterator[None]:
        count = 0 if call.watches else 1
        self._under_way += count
        self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            yield
        finally:
            self._under_way -= count

    async def _answer(self, request: web.BaseRequest, call: Call, data: bytes) -> web.StreamResponse:
        await self._nothing_while_silent()
        await asyncio.sleep(self.faults.latency)
        if refusal := self.faults.answer(call):
            headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after is not None else {}
            status = {"kind": "Status", "status": "Failure", "reason": refusal.reason, "code": refusal.status}
            body = {**status, "message": f"the proxy of {self.name} was told to say so"}
            return web.json_response(body, status=refusal.status, headers=headers)
        reset = self.faults.reset()
        if reset is Moment.BEFORE or self.faults.hook(call, Moment.BEFORE):
            return self._give_up(request)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        headers["User-Agent"] = self.name
        async with self._session.request(
            call.method,
            request.rel_url,
            data=data or None,
            headers=headers,
            skip_auto_headers=("Accept-Encoding",),
            allow_redirects=False,
        ) as answer:
            if call.watches:
                return await self._stream(request, call, answer)
            content = await answer.read()
            self._record(call, answer.status)
            if reset is Moment.AFTER or self.faults.hook(call, Moment.AFTER):
                return self._give_up(request)
            await self._nothing_while_silent()
            return web.Response(body=content, status=answer.status, headers=_kept(answer))

    async def _stream(self, request: web.BaseRequest, call: Call, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        self._record(call, answer.status)
        if self.faults.hook(call, Moment.AFTER):
            return self._give_up(request)
        response = web.StreamResponse(status=answer.status, headers=_kept(answer))
        await self._nothing_while_silent()
        self._streams[response] = call
        left = self._cut_after.pop(call.plural, None)
        try:
            await response.prepare(request)
            async for line in _lines(answer.content):
                if left == 0:
                    self._give_up(request)
                    return response
                left = None if left is None else left - 1
                if response in self._mute:
                    await asyncio.Event().wait()
                if self.faults.swallows(call) and not line.startswith(b'{"type":"BOOKMARK"'):
                    continue
                await response.write(line)
            await response.write_eof()
        except (ConnectionError, RuntimeError, aiohttp.ClientError):
            # The operator's end is gone, or was ended by a test.
            return response
        finally:
            del self._streams[response]
            self._mute.discard(response)
        return response

    async def _nothing_while_silent(self) -> None:
        """Whoever asks while nothing comes through hears nothing ever: such a connection is dead, and not told so."""
        if self.faults.silent:
            await asyncio.Event().wait()

    def _give_up(self, request: web.BaseRequest) -> web.Response:
        if isinstance(request.transport, asyncio.Transport):
            _reset(request.transport)
        return web.Response(status=500)

    def _record(self, call: Call, status: int) -> None:
        with self._changed:
            self._answered.append(Answered(call, status, time.monotonic()))
            self._changed.notify_all()


def _reset(transport: asyncio.Transport) -> None:
    end = transport.get_extra_info("socket")
    if end is not None and not transport.is_closing():
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        transport.abort()


def _kept(answer: aiohttp.ClientResponse) -> list[tuple[str, str]]:
    return [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP]


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
