"""A closed loop of clients: each sends its next request when the last one is answered. A program of its own."""

from __future__ import annotations

import asyncio
import sys
import time

import httptools
import msgspec
import uvloop

PATH = "/v1/models/default:predict"


class Outcome(msgspec.Struct, frozen=True):
    """What was seen in `seconds`: answers of status 200, others, and the 99th percentile of their times."""

    answered: int
    failed: int
    seconds: float
    p99_ms: float


class Client(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, request: bytes, end: float) -> None:
        """Send `request` again and again until `end`, by `time.perf_counter`."""
        self.times: list[float] = []
        self.failed = 0
        self.done = asyncio.get_running_loop().create_future()
        self._request, self._end = request, end
        self._parser = httptools.HttpResponseParser(self)
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # connections are full-duplex
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """A part of an answer."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """A whole answer."""
        now = time.perf_counter()
        if self._parser.get_status_code() == 200:
            self.times.append(now - self._sent)
        else:
            self.failed += 1
        if now < self._end:
            self._parser = httptools.HttpResponseParser(self)
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, asked for or not."""
        self.failed += exc is not None
        self.done.set_result(None)


def request_of(body: bytes) -> bytes:
    """The bytes of a predict request."""
    return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (PATH.encode(), len(body), body)


async def drive(port: int, body: bytes, clients: int, seconds: float) -> Outcome:
    """Let `clients` ask for so many seconds."""
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    made = [Client(request_of(body), start + seconds) for _ in range(clients)]
    for client in made:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*(client.done for client in made))
    took = time.perf_counter() - start
    times = sorted(one for client in made for one in client.times)
    p99 = times[int(0.99 * len(times))] * 1e3 if times else 0.0
    return Outcome(len(times), sum(client.failed for client in made), took, p99)


def main() -> None:
    """`python -m benchmarks.serving.load PORT CLIENTS SECONDS < BODY`: prints the Outcome as JSON."""
    port, clients, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(drive(port, sys.stdin.buffer.read(), clients, seconds))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
