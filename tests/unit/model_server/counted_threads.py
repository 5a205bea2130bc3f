"""What an event loop gives to other threads."""

from __future__ import annotations

import concurrent.futures
from typing import Any


class CountedThreads(concurrent.futures.ThreadPoolExecutor):
    """Knows how much an event loop has given away."""

    given = 0

    def submit(self, *arguments: Any, **words: Any) -> Any:
        """Count one more."""
        self.given += 1
        return super().submit(*arguments, **words)
