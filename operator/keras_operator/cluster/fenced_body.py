"""The body of a write, which is not sent by a replica that does not lead any more."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import BytesPayload

from keras_operator.cluster.failure import NotLeading


class FencedBody(BytesPayload):
    """Asks once more whether this replica leads, in the very step of the event loop that gives the bytes to the kernel.

    Between the decision to send a request and its bytes lie several steps: one for a connection, one for the task that
    writes. A process that is frozen there, by a signal or with its whole machine, would go on with them after another
    replica has taken over, before any of its timers is looked at. The headers wait for the body, so what is refused
    here has not sent a byte. What is left is a freeze between this question and the system call after it; nothing but
    the API server could refuse that, and it knows no fences.

    Args:
        value: the bytes.
        may_write: seconds for which this replica surely still leads.
        request: what is said of a refusal: method and path.

    Attributes:
        refused: set once it was not sent.
    """

    def __init__(self, value: bytes, may_write: Callable[[], float], request: str) -> None:
        super().__init__(value)
        self._may_write = may_write
        self._request = request
        self.refused: NotLeading | None = None

    def time_left(self) -> float:
        """Seconds in which it has to be written and answered; raises NotLeading where there are none."""
        seconds = self._may_write()
        if seconds <= 0:
            self.refused = NotLeading(0, "NotLeading", f"{self._request} was not sent: this replica does not lead")
            raise self.refused
        return seconds

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write it, or raise NotLeading, of which aiohttp makes a ClientError of the request."""
        self.time_left()
        await super().write_with_length(writer, content_length)
