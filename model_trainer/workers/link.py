"""One connection between the first worker and another one: frames of a kind, a length and so many bytes.

A process that ends closes its connections, whatever ended it, and the other end sees that at once. Of a machine that is
gone nobody tells: then the kernel's own probes are not answered. A worker that only computes for long answers them.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

from model_trainer.failure import WorkerLost, WorkerUnreachable

# Seconds until a machine that answers nothing counts as gone: the first probe, the pause between two, how many.
PROBE_AFTER, PROBE_EVERY, PROBES = 5, 5, 3
_HEADER = struct.Struct(">BQ")
_CHUNK = 1 << 20
# Seconds between two looks at whether the wait is still wanted.
_LOOK_EVERY = 0.5


class Kind(IntEnum):
    """What a frame holds."""

    HELLO = 1
    START = 2
    FILE = 3
    VALUES = 4
    EPOCH = 5
    END = 6


class Link:
    """A connection to `peer`, which is how the other worker is called in a sentence.

    Every method raises WorkerLost where the other end has ended, and WorkerUnreachable where its machine is silent.
    """

    def __init__(self, connection: socket.socket, peer: str) -> None:
        self._socket = connection
        self.peer = peer
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
        # The same for what was sent and is not acknowledged, in milliseconds.
        silent = 1000 * (PROBE_AFTER + PROBE_EVERY * PROBES)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silent)

    def close(self) -> None:
        """Close it; the other end sees that."""
        self._socket.close()

    def send(self, kind: Kind, data: bytes | memoryview) -> None:
        """Send a frame."""
        try:
            self._socket.sendall(_HEADER.pack(kind, len(data)))
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(error) from error

    def receive(self, kind: Kind, wanted: Callable[[], None] = lambda: None) -> bytearray:
        """The next frame, which is of this kind. `wanted` may end the wait for its beginning by raising."""
        data = bytearray(self._begin(kind, wanted))
        self._fill(memoryview(data))
        return data

    def send_file(self, path: Path) -> None:
        """Send a file as a frame."""
        try:
            self._socket.sendall(_HEADER.pack(Kind.FILE, path.stat().st_size))
            with path.open("rb") as file:
                self._socket.sendfile(file)
        except OSError as error:
            raise self._lost(error) from error

    def receive_file(self, path: Path) -> None:
        """Write the next frame, which is a file, to `path`."""
        left = self._begin(Kind.FILE, lambda: None)
        buffer = memoryview(bytearray(min(left, _CHUNK)))
        with path.open("wb") as file:
            while left:
                part = buffer[: min(left, _CHUNK)]
                self._fill(part)
                file.write(part)
                left -= len(part)

    def check(self) -> None:
        """Raise if the other end has ended; nothing is read."""
        try:
            if select.select([self._socket], [], [], 0)[0] and not self._socket.recv(1, socket.MSG_PEEK):
                raise self._lost(None)
        except OSError as error:
            raise self._lost(error) from error

    def _begin(self, kind: Kind, wanted: Callable[[], None]) -> int:
        """How many bytes the next frame has."""
        try:
            while not select.select([self._socket], [], [], _LOOK_EVERY)[0]:
                wanted()
        except OSError as error:
            raise self._lost(error) from error
        header = bytearray(_HEADER.size)
        self._fill(memoryview(header))
        found, size = _HEADER.unpack(header)
        if found != kind:
            raise WorkerUnreachable(f"{self.peer} sent something else than was its turn; all of them start again.")
        return int(size)

    def _fill(self, buffer: memoryview) -> None:
        try:
            while buffer:
                count = self._socket.recv_into(buffer)
                if not count:
                    raise self._lost(None)
                buffer = buffer[count:]
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError | None) -> WorkerLost | WorkerUnreachable:
        if error is None or isinstance(error, ConnectionError):
            return WorkerLost(f"{self.peer} has ended, so all of them go on together from the last checkpoint.")
        return WorkerUnreachable(
            f"{self.peer} cannot be reached any more ({error.strerror or error}); all of them start again from the "
            "last checkpoint."
        )
