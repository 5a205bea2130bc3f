"""What a stage works with besides its spec."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from model_trainer.interruption import Interruption
from model_trainer.patience import Patience
from model_trainer.progress import ProgressBoard


@dataclass(frozen=True)
class Context:
    """Where a stage tells its progress, how long it waits for a store, its folder on the scratch disk, and SIGTERM."""

    board: ProgressBoard
    patience: Patience
    scratch: Path
    interruption: Interruption = field(default_factory=Interruption)
