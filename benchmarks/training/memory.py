"""The most memory of its own that a process has had: what no file is behind, so that nobody can take it back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_EVERY_SECONDS = 0.05
MIB = 1 << 20


class Watch:
    """Looks at a process and its children 20 times a second; `peak` is in MiB."""

    def __init__(self, pid: int) -> None:
        self.peak = 0.0
        self._pid = pid
        self._stop = threading.Event()

    def run(self) -> None:
        """Look until stopped."""
        while not self._stop.wait(_EVERY_SECONDS):
            self.peak = max(self.peak, sum(map(_anonymous, _tree(self._pid))) / 1024)

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()


@contextmanager
def watched(pid: int) -> Iterator[Watch]:
    """Watch process `pid` while the context lasts."""
    watch = Watch(pid)
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:
            continue
        for child in found:
            yield from _tree(int(child))


def _anonymous(pid: int) -> int:
    """KiB of anonymous memory; 0 of a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
