"""Which version this pod is to serve, and when that changes.

A pod of a Deployment that rolls is told once, by its template. A pod whose versions are swapped in place reads it from
a folder that the kubelet keeps: `start` is what new pods start with (a ConfigMap), `wish` is for this pod alone (its
own annotation `keras-operator.dev/version`, empty until somebody writes it).
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Wishes(Protocol):
    """Somebody who says which version is wanted here."""

    def wanted(self) -> int | None:
        """The number of the version that is to be served now; None while nobody has said so."""


class OneVersion:
    """One version for the life of the pod."""

    def __init__(self, number: int) -> None:
        self._number = number

    def wanted(self) -> int | None:
        """That version."""
        return self._number


class RolloutFolder:
    """The folder with `start` and `wish`.

    `start` counts until something was wanted for the first time: it changes under running pods when a rollout is over,
    and none of them may swap by that, all at the same moment and with nobody looking.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: int | None = None

    def wanted(self) -> int | None:
        """The wish, or what was wanted last, or the start."""
        number = self._number("wish") or self._last or self._number("start")
        self._last = number
        return number

    def _number(self, name: str) -> int | None:
        """A file's number; None where it is missing, empty or no number, as while the kubelet puts a new one there."""
        try:
            text = (self._folder / name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return int(text) if text.isascii() and text.isdecimal() and int(text) > 0 else None
