"""A servable on this machine that is still to be published, with what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_trainer.evaluation.source_record import SourceRecord
from model_trainer.export_gates import Measured


@dataclass(frozen=True)
class Exported:
    """A servable on this machine, which loads and answers its warm-up records.

    `info` is what the manifest says of it, `measured` what its gates are judged by, and `parity` compares one that was
    fetched from the store again, in a folder, with the model that it was made from; None where that was done already or
    cannot be done. `source` is what was measured of a source on test images; None without any.
    """

    info: dict[str, Any]
    measured: Measured
    parity: Callable[[Path], float] | float | None
    source: SourceRecord | None = None


def megabytes(directory: Path) -> float:
    """Of all files in it."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 1e6
