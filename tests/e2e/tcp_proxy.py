"""A wire to the object store that a test can cut."""

from __future__ import annotations

import contextlib
import ipaddress
import selectors
import socket
import threading
from types import TracebackType
from urllib.parse import urlsplit

_CHUNK = 1 << 16


class TcpProxy:
    """Passes bytes on between clients and one server, until it is cut; `cut_at` cuts it in the middle of a request.

    Args:
        listen: the address to listen on, which the clients reach.
        to: host and port of the server.
    """

    def __init__(self, listen: str, to: tuple[str, int]) -> None:
        self._to = to
        self._lock = threading.Lock()
        self._cut_at: bytes | None = None
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((listen, 0))
        self.host, self.port = listen, int(self._listener.getsockname()[1])
        self.was_cut = threading.Event()
        self._listen()

    @classmethod
    def before(cls, endpoint: str) -> TcpProxy:
        """A way for pods to a server of the node, by its address from this machine, that leads through this process."""
        parts = urlsplit(endpoint)
        node = ipaddress.ip_address(parts.hostname or "")
        # The machine's end of the node's wire: the address before the node's own.
        return cls(str(node - 1), (str(node), parts.port or 80))

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://{self.host}:{self.port}"

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()

    def cut_at(self, words: bytes) -> None:
        """Cut the wire as soon as a client sends these words."""
        self._cut_at = words

    def cut(self) -> None:
        """End every connection, and refuse new ones, as a server does that is gone."""
        with self._lock:
            for end in (self._listener, *self._open):
                with contextlib.suppress(OSError):
                    # Whoever waits at this end wakes up.
                    end.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self.was_cut.set()

    def mend(self) -> None:
        """Let connections through again, at the same address."""
        with self._lock:
            self._cut_at = None
            self._listener = socket.create_server((self.host, self.port))
        self._listen()

    def _listen(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), name="proxy", daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), name="proxied", daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self._to) as server:
            ends = {client, server}
            with self._lock:
                self._open |= ends
            try:
                self._pump(client, server)
            finally:
                with self._lock:
                    self._open -= ends

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        before = b""
        with selectors.DefaultSelector() as waiting:
            waiting.register(client, selectors.EVENT_READ, server)
            waiting.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in waiting.select():
                    source, target = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    data = source.recv(_CHUNK)
                    if not data:
                        return
                    if source is client and self._cut_at is not None:
                        if self._cut_at in before + data:
                            self.cut()
                            return
                        before = data[-len(self._cut_at) :]
                    target.sendall(data)
