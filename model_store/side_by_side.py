"""Several files at once, a bounded number of them, ending at the first failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")

# Enough to hide the round trips of many small files; a few large ones already fill the line.
FILES_AT_ONCE = 4


def each_file(work: Callable[[Item], None], items: Iterable[Item], *, name: str) -> None:
    """Call `work` on every item, FILES_AT_ONCE at a time. On a failure starts no more, waits, and raises it."""
    with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix=name) as pool:
        calls = [pool.submit(work, item) for item in items]
        for call in wait(calls, return_when=FIRST_EXCEPTION).not_done:
            call.cancel()
    for call in calls:
        if not call.cancelled():
            call.result()
