"""Which worker this is, and what it has to do of each batch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from keras_operator.api import Training

from model_trainer.failure import BadRun


@dataclass(frozen=True, slots=True)
class Shard:
    """The part of each batch that is worker `index`'s, of so many workers."""

    index: int
    workers: int

    def of(self, batch: int) -> tuple[int, int]:
        """The first example of a batch of this size that is this worker's, and the one after its last."""
        return batch * self.index // self.workers, batch * (self.index + 1) // self.workers

    def computed(self, batch: int) -> slice:
        """What it computes with: its part, or one example that counts for nothing where it has no part.

        The last batch of an epoch may be smaller than there are workers, and no network takes nothing.
        """
        first, end = self.of(batch)
        return slice(first, end) if end > first else slice(0, 1)


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place in its world: the first worker, 0, listens at `host`:`port`."""

    shard: Shard
    host: str
    port: int

    @property
    def is_chief(self) -> bool:
        """Whether this is the worker that evaluates, keeps, reports and writes the results."""
        return self.shard.index == 0


def place_of(training: Training, environment: Mapping[str, str] = os.environ) -> Place | None:
    """This worker's place as its Job says; None where one worker trains alone.

    Raises:
        BadRun: the environment does not say it.
    """
    if training.workers == 1:
        return None
    index, chief = environment.get("JOB_COMPLETION_INDEX", ""), environment.get("KERAS_CHIEF", "")
    host, _, port = chief.rpartition(":")
    if not (index.isdecimal() and int(index) < training.workers and host and port.isdecimal()):
        raise BadRun(
            f"spec.training.workers is {training.workers}, and JOB_COMPLETION_INDEX ({index!r}) and KERAS_CHIEF "
            f"({chief!r}) do not say which worker this is and where the first one listens, as its Job does: run it in "
            "a cluster, or with workers: 1."
        )
    return Place(Shard(int(index), training.workers), host, int(port))
