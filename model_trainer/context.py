"""What a stage works with besides its spec."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from model_store import Store
from model_trainer.data.cached_reads import DataCache
from model_trainer.data.read_ahead import ReadAhead
from model_trainer.interruption import Interruption
from model_trainer.patience import Patience
from model_trainer.progress import ProgressBoard


@dataclass(frozen=True)
class Context:
    """What a stage works with.

    It tells its progress to `board`, waits for a store as long as `patience` lasts, has the folder `scratch` to itself,
    and hears of SIGTERM by `interruption`. Images of the data may have been read `ahead` into the folder, and a `cache`
    may have what an earlier training read.
    """

    board: ProgressBoard
    patience: Patience
    scratch: Path
    interruption: Interruption = field(default_factory=Interruption)
    ahead: ReadAhead | None = None
    cache: DataCache | None = None

    def cached(self, store: Store, endpoint: str | None) -> Store:
        """A store of the data, which was opened with `endpoint`: behind the cache, where there is one."""
        return store if self.cache is None else self.cache.before(store, endpoint)
