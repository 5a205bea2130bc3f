"""The verified servables on this pod's volume: which are there, and which make room for others."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

_LOG = logging.getLogger(__name__)


class LocalCopies:
    """Servables that this agent has verified; they are not fetched again while their folder is there.

    Args:
        base_path: the folder whose children are versions.
    """

    def __init__(self, base_path: Path) -> None:
        self._base_path = base_path
        self._sizes: dict[int, int] = {}

    def size(self, number: int) -> int | None:
        """Bytes of a version that is here and verified, or None."""
        return self._sizes.get(number) if (self._base_path / str(number)).is_dir() else None

    def verified(self, number: int, size: int) -> None:
        """A fetch has brought this version."""
        self._sizes[number] = size

    def keep_only(self, numbers: Iterable[int]) -> bool:
        """Remove the folders of all other versions, half-fetched ones too; returns whether there were any."""
        kept = {str(number) for number in numbers}
        found = [path for path in self._base_path.glob("*") if path.is_dir() and _version_of(path) not in kept]
        for path in found:
            # Out of the runtime's sight first: it must not meet half a version.
            aside = path if path.name.startswith(".") else path.rename(path.with_name(f".removed-{path.name}"))
            shutil.rmtree(aside, ignore_errors=True)
            _LOG.info("removed %s to make room", path)
        return bool(found)


def _version_of(path: Path) -> str:
    """The number in the name of a version's folder, also of one that is still being fetched."""
    return path.name.removeprefix(".fetching-")
