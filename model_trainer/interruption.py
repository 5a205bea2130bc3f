"""SIGTERM: the end of a stage at once, or at the next moment at which what was done so far can be kept."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from model_trainer.failure import Interrupted


class Interruption:
    """Whether SIGTERM came. Install its `arrive` as the signal's handler.

    `arrive` raises Interrupted wherever the program is. While somebody holds it back, it only notes that it came, and
    whoever holds it calls `check` where nothing is half done.
    """

    def __init__(self) -> None:
        self.came = False
        self._held = False

    def arrive(self, number: int, frame: Any) -> None:
        """The signal handler. A second SIGTERM must not break off what the first one began."""
        del number, frame
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.came = True
        if not self._held:
            raise Interrupted

    def check(self) -> None:
        """Raise Interrupted if SIGTERM came."""
        if self.came:
            raise Interrupted

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Until the context ends, SIGTERM is only noted; if it came after the last `check`, the end raises."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self.check()
