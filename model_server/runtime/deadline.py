"""How long a request may take, and what is said when that is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from types import TracebackType

from model_server.runtime.errors import Code, ServingError


class Deadline:
    """The moment at which an answer is of no use any more.

    `async with deadline:` ends what is in it at that moment, in DEADLINE_EXCEEDED; but not threads that it waits for.
    """

    def __init__(self, timeout_ms: int, longest_ms: int = 0) -> None:
        """`timeout_ms` from now, and at most `longest_ms`; 0 is never, of either."""
        capped = longest_ms > 0 and not 0 < timeout_ms <= longest_ms
        milliseconds = longest_ms if capped else timeout_ms
        self._end = time.monotonic() + milliseconds / 1000 if milliseconds else None
        self._why = f": no request may take longer than --max_timeout_in_ms={longest_ms}" if capped else ""

    def left_ms(self) -> int:
        """What is left, at least 1; 0 when there is no end."""
        return 0 if self._end is None else max(1, int((self._end - time.monotonic()) * 1000))

    def remaining_ms(self) -> int:
        """What is left, as `left_ms`. Raises ServingError when nothing is."""
        if self._end is None:
            return 0
        if time.monotonic() >= self._end:
            raise self._over()
        return self.left_ms()

    def _over(self) -> ServingError:
        return ServingError(Code.DEADLINE_EXCEEDED, f"Timed out waiting for the prediction{self._why}")

    async def __aenter__(self) -> None:
        self._timeout = asyncio.timeout(None if self._end is None else self._end - time.monotonic())
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as timeout:
            raise self._over() from timeout
        # TensorFlow, which ends the run at the same moment, may be the first to say so.
        if isinstance(error, ServingError) and error.code is Code.DEADLINE_EXCEEDED and self.left_ms() == 1:
            raise self._over() from error


def latest_ms(deadlines: Iterable[Deadline]) -> int:
    """What the last of these leaves, at least 1; 0 when one has no end."""
    left = [deadline.left_ms() for deadline in deadlines]
    return 0 if 0 in left else max(left)
