"""What a stage works with besides its spec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_trainer.patience import Patience
from model_trainer.progress import ProgressBoard


@dataclass(frozen=True)
class Context:
    """Where a stage tells its progress, how long it waits for a store, and its own folder on the scratch volume."""

    board: ProgressBoard
    patience: Patience
    scratch: Path
