"""When a training is kept, and what is kept of it: so often that little is repeated, so seldom that it costs little."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import keras
import msgspec
import numpy as np
import tensorflow as tf
from keras_operator.api import Training

from model_trainer import variables
from model_trainer.background import CheckpointWriter
from model_trainer.batching import AnyDataset
from model_trainer.checkpoints import Checkpoints, Restored, State
from model_trainer.data.split import Split
from model_trainer.network import Network
from model_trainer.patience import Patience

log = logging.getLogger(__name__)

# Of the time of training. An epoch that is shorter than 33 checkpoints take has to wait for one.
LARGEST_SHARE = 0.03
# The kubelet gives a run 60 s to end; some are needed for saying so.
SECONDS_TO_END = 45.0
_OF_ITS_PODS = (
    "resources",
    "node_selector",
    "tolerations",
    "priority_class_name",
    "queue_name",
    "active_deadline_seconds",
    "checkpoint",
)


class Keeper:
    """Keeps the state of a training: on the scratch disk at once, in the store a little later.

    Args:
        checkpoints: where they are kept.
        scratch: a folder for files on their way.
        patience: how long one is tried to be written, while training goes on.
        every_seconds: the longest time between two, also within an epoch.
        also: what else is brought to the store after each of them.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        scratch: Path,
        patience: Patience,
        every_seconds: float,
        also: Callable[[], None] = lambda: None,
    ) -> None:
        self._checkpoints = checkpoints
        self._scratch = scratch
        self._writer = CheckpointWriter(checkpoints, patience, also)
        self._every = every_seconds
        self._cost = 0.0
        self._last = time.monotonic()
        self._count = 0
        self.best: Path | None = None

    def __enter__(self) -> Keeper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._writer.close(SECONDS_TO_END):
            log.warning("the last checkpoint was not written in time")

    def restore(self) -> Restored | None:
        """The newest checkpoint, or None. Raises StoreError."""
        restored = self._checkpoints.restore()
        self.best = restored.best if restored else None
        return restored

    def keep_best(self, model: Any) -> None:
        """The network as it is now is the best so far."""
        new = self._scratch / "best.new"
        variables.write(new, variables.network(model))
        self.best = new.replace(self._scratch / "best.npz")

    def use_best(self, model: Any) -> None:
        """Give the network the best variables so far."""
        if self.best is not None:
            variables.read(self.best, variables.network(model))

    def epoch_ended(self, model: Any, state: State) -> None:
        """An epoch is done: it is kept unless one was a moment ago."""
        if time.monotonic() - self._last >= self._pause():
            self.keep(model, state)

    def step_ended(self, model: Any, state: Callable[[], State]) -> None:
        """A step is done: it is kept if none was for long."""
        if time.monotonic() - self._last >= max(self._every, self._pause()):
            self.keep(model, state())

    def keep(self, model: Any, state: State) -> None:
        """Keep this state. Raises TakenOver: another pod goes on with this run."""
        began = time.monotonic()
        self._count += 1
        path = self._scratch / f"variables-{self._count}.npz"
        variables.write(path, variables.training_state(model))
        self._writer.offer(state, path, self.best)
        self._last = time.monotonic()
        self._cost = self._last - began

    def _pause(self) -> float:
        return (self._cost + self._writer.seconds) / LARGEST_SHARE


def fingerprint(training: Training, dataset: AnyDataset, split: Split) -> str:
    """SHA-256 of all that a training follows from: what is asked for, the images in their parts, and the versions.

    Images may have been added while no pod ran: then an earlier pod's place in an epoch means nothing.
    """
    used = (split.train, split.validation)
    parts = [[(dataset.examples[i].key, dataset.examples[i].sha256) for i in part] for part in used]
    return hashlib.sha256(msgspec.json.encode((training, parts, keras.__version__, tf.__version__))).hexdigest()


def beginning(learned_from: str, network: Network) -> str:
    """SHA-256 of all that a training begins with, the same for each version that begins so.

    A version is given its source and its weights when its training begins, and files and ConfigMaps change: so the
    network itself counts, and not only what it was asked for by. Where, when and with how much its pods run does not.

    Args:
        learned_from: `fingerprint` of the training as it would be anywhere.
        network: as it was built, before the first step.
    """
    digest = hashlib.sha256(msgspec.json.encode((learned_from, network.builder)))
    for variable in variables.network(network.model)["network"]:
        values: Any = np.ascontiguousarray(variable)
        digest.update(f"{values.dtype.str}{values.shape}".encode())
        digest.update(values.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def anywhere(training: Training) -> Training:
    """The training without what says where, when and with how much its pods run, and how often it is kept."""
    plain = Training(data=training.data)
    return msgspec.structs.replace(training, **{name: getattr(plain, name) for name in _OF_ITS_PODS})
