"""A way to a real object storage that counts which objects are read."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

# Of a bucket in path style: GET /bucket/key, and no listing, which is GET /bucket?….
_READ = re.compile(rb"(?:^|\r\n)GET /[^/ ?]+/([^ ?]+) HTTP/1\.1\r\n")


class CountedGets:
    """Passes bytes to and fro, and remembers the keys of objects that were asked for, in `keys`."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        assert parts.hostname is not None
        assert parts.port is not None
        self._to = (parts.hostname, parts.port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.keys: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def taken(self) -> list[str]:
        """The keys since the last call."""
        keys, self.keys = self.keys, []
        return sorted(keys)

    def close(self) -> None:
        """Take no more connections."""
        # A thread that waits in accept is only woken so.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(self._to)
            for one, other, counts in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=(one, other, counts), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, counts: bool) -> None:
        try:
            while data := one.recv(65536):
                if counts:
                    self.keys += [key.decode() for key in _READ.findall(data)]
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            one.close()
            other.close()


@contextmanager
def counted_gets(endpoint: str) -> Iterator[CountedGets]:
    """Such a way to `endpoint`, while the context lasts."""
    way = CountedGets(endpoint)
    try:
        yield way
    finally:
        way.close()
