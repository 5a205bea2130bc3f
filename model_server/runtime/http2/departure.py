"""How a client is sent away without losing a call (RFC 9113, section 6.8): asked, then told, then waited for.

It is asked with a GOAWAY that still takes every stream, and a PING. Its answer to that says that it has read both, so
all calls that it began before have arrived: a second GOAWAY tells which is the last. When those are over it closes.
"""

from __future__ import annotations

from model_server.runtime.http2 import frames
from model_server.runtime.http2.frames import frame
from model_server.runtime.http2.sending import Sender

_GOODBYE = b"goodbye!"


class Departure:
    """How far one client has come. Times are on the event loop's clock; each is None before it has come."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self.asked: float | None = None
        self.told: float | None = None
        # When the last of its calls was over.
        self.done: float | None = None

    def ask(self, now: float) -> None:
        """Ask the client to connect anew; what it sends until it has read that is answered as ever."""
        if self.asked is None:
            self.asked = now
            self._sender.control(_goaway(frames.LAST_STREAM) + frame(frames.PING, 0, 0, _GOODBYE))

    def has_read(self, ping: bytes) -> bool:
        """Whether the answer to this PING says that the client knows."""
        return ping == _GOODBYE and self.asked is not None and self.told is None

    def tell(self, now: float, last: int) -> None:
        """Tell the client that `last` is its last stream."""
        self.asked, self.told = self.asked or now, now
        self._sender.control(_goaway(last))

    def give_up(self, last: int, code: int, why: str) -> None:
        """Tell a client that broke the protocol."""
        self._sender.control(_goaway(last, code, why.encode()))


def _goaway(last: int, code: int = frames.NO_ERROR, debug: bytes = b"") -> bytes:
    return frame(frames.GOAWAY, 0, 0, frames.UINT32.pack(last) + frames.UINT32.pack(code) + debug)
