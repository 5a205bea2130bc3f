"""Checkpoints are written while training goes on."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from model_store import StoreError
from model_trainer.checkpoints import Checkpoints, State
from model_trainer.failure import TakenOver
from model_trainer.patience import Patience

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Waiting:
    state: State
    variables: Path
    best: Path | None


class CheckpointWriter:
    """A thread that writes the newest checkpoint that it was given. What comes while it writes replaces what waits.

    `also` is called after each of them, for what else goes to the store meanwhile. A store that takes nothing costs the
    run its checkpoints and not its training: the next one is tried again.

    Attributes:
        seconds: processor time that the last checkpoint cost this thread.
    """

    def __init__(self, checkpoints: Checkpoints, patience: Patience, also: Callable[[], None] = lambda: None) -> None:
        self._checkpoints = checkpoints
        self._also = also
        self._patience = patience
        self._changed = threading.Condition()
        self._waiting: _Waiting | None = None
        self._busy = self._closed = False
        self._taken_over: TakenOver | None = None
        self.seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def offer(self, state: State, variables: Path, best: Path | None) -> None:
        """Write this checkpoint soon. `variables` is deleted afterwards; `best` is used as it is now.

        Raises:
            TakenOver: another pod goes on with this run.
        """
        if best is not None:
            # A name of its own: the caller's goes as soon as there is a better one.
            link = best.with_name(f"{best.name}.{secrets.token_hex(4)}")
            os.link(best, link)
            best = link
        with self._changed:
            if self._taken_over is not None:
                raise self._taken_over
            replaced, self._waiting = self._waiting, _Waiting(state, variables, best)
            self._changed.notify_all()
        if replaced:
            _discard(replaced)

    def close(self, timeout: float) -> bool:
        """Take no more, and wait up to `timeout` seconds for what was taken; whether all of it is written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._patience.stop()
            return False
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._closed)
                item, self._waiting = self._waiting, None
            if item is None:
                return
            began = time.thread_time()
            save = partial(self._checkpoints.save, item.state, item.variables, item.best)
            try:
                self._patience("writing a checkpoint", save)
                self._patience("writing TensorBoard's log", self._also)
            except TakenOver as error:
                with self._changed:
                    self._taken_over = error
            except (StoreError, OSError) as error:
                log.warning("a checkpoint cannot be written; training goes on", extra={"cause": str(error)})
            finally:
                _discard(item)
                self.seconds = time.thread_time() - began


def _discard(item: _Waiting) -> None:
    item.variables.unlink(missing_ok=True)
    if item.best is not None:
        item.best.unlink(missing_ok=True)
