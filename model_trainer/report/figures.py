"""The numbers at the head of a report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A headline number: its name, its value in words, and what it means."""

    name: str
    value: str
    meaning: str
