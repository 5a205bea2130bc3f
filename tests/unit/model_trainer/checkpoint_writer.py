"""A process that writes one checkpoint after the other, to be killed: FOLDER FIRST_EPOCH [CALL].

Prints a line once it has begun, and each epoch whose checkpoint it has kept. With CALL it kills itself at that call to
the store, or, the calls counted twice, in the middle of the file that the call writes.
"""

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from model_store import local
from model_store.local import LocalStore
from model_trainer.checkpoints import Checkpoints, State
from model_trainer.stopping import Course, Watch

SIZE = 200_000


def made(folder: Path, epoch: int, best: int = 0) -> tuple[State, Path, Path | None]:
    """A checkpoint whose files say which it is."""
    variables = folder / f"variables-{epoch}.made"
    variables.write_bytes(f"epoch{epoch:4}".encode() + bytes(SIZE))
    path = folder / f"best-{best}.made"
    if best:
        path.write_bytes(f"best {best:4}".encode() + bytes(SIZE))
    return State(epoch=epoch, step=0, course=Course(Watch(0.5, best))), variables, path if best else None


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _KilledAt:
    """Kills the process at the call number `at`; every second number is the middle of a file."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._calls = 0

    def before(self, call: Any) -> Any:
        def counted(*arguments: Any, **more: Any) -> Any:
            if self._calls == self._at:
                kill()
            self._calls += 1
            return call(*arguments, **more)

        return counted

    def copy(self, source: Any, target: Any, length: int) -> None:
        if self._calls == self._at:
            target.write(source.read(SIZE // 2))
            target.flush()
            kill()
        self._calls += 1
        shutil.copyfileobj(source, target, length)


def main(folder: Path, first: int, at: int | None) -> None:
    """Write until somebody ends it."""
    store: Any = LocalStore(folder / "store")
    if at is not None:
        killer = _KilledAt(at)
        for name in ("write", "upload", "delete", "list"):
            setattr(store, name, killer.before(getattr(store, name)))
        vars(local)["shutil"] = type("shutil", (), {"copyfileobj": staticmethod(killer.copy)})
    scratch = Path(tempfile.mkdtemp(dir=folder))
    checkpoints = Checkpoints(store, 1, "run", scratch)
    restored = checkpoints.restore()
    print("begun", flush=True)
    epoch = restored.state.epoch if restored else first
    while True:
        epoch += 1
        checkpoints.save(*made(scratch, epoch, best=epoch // 2 * 2))
        print(epoch, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
