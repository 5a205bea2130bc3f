"""`keras-tensorboard`: TensorBoard over the logs of a model's newest runs, which come from the store as they grow.

    <logdir>/7/train/events.out.tfevents.…    what run 7 has in .runs/7/tensorboard/train/

TensorBoard has no login and shows what lies in that folder, and nothing else: the store's credentials stay with this
process and are not in the environment of the one that answers people.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from model_store import Store, StoreError, open_store, run_key
from model_store.keys import key_fault
from model_trainer.tensorboard_log import FOLDER

NEWEST_RUNS = 50
# Scalars of an epoch are about 1 kB: a log this large is none of this project's.
LARGEST_LOG = 64 * 2**20
_SECONDS_BETWEEN = 5.0
_RELOAD_SECONDS = 5
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class Mirror:
    """The logs of the newest runs in `store`, brought into the folder `logdir`."""

    def __init__(self, store: Store, logdir: Path) -> None:
        self._store = store
        self._logdir = logdir

    def bring(self) -> None:
        """Fetch what is new, and remove the runs that are gone. Raises StoreError."""
        numbers = sorted(int(name) for name in self._store.folders(".runs") if name.isascii() and name.isdecimal())
        newest = numbers[-NEWEST_RUNS:]
        for number in newest:
            self._bring_run(number)
        for folder in self._logdir.iterdir():
            if folder.name.isdecimal() and int(folder.name) not in newest:
                shutil.rmtree(folder)

    def _bring_run(self, number: int) -> None:
        prefix = run_key(number, FOLDER)
        kept = set()
        for entry in self._store.list(prefix):
            name = entry.key.removeprefix(f"{prefix}/")
            if key_fault(name) or entry.size > LARGEST_LOG:
                continue
            path = self._logdir / str(number) / name
            kept.add(path)
            if not path.exists() or path.stat().st_size != entry.size:
                self._fetch(entry.key, path)
        for path in (self._logdir / str(number)).rglob("*"):
            if path.is_file() and path not in kept:
                path.unlink()

    def _fetch(self, key: str, path: Path) -> None:
        """A log only grows, and TensorBoard reads on where it was: so the new end is added to the file it has open."""
        fetched = self._logdir / ".fetched"
        self._store.download(key, fetched, limit=LARGEST_LOG)
        path.parent.mkdir(parents=True, exist_ok=True)
        known = path.stat().st_size if path.exists() else 0
        with fetched.open("rb") as new:
            if known and (known > fetched.stat().st_size or new.read(known) != path.read_bytes()):
                # Another file under the same name: what was read of the first is void.
                path.unlink()
                new.seek(0)
            with path.open("ab") as log:
                shutil.copyfileobj(new, log)
        fetched.unlink()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT (0), or until TensorBoard ends by itself (1)."""
    parser = argparse.ArgumentParser(prog="keras-tensorboard", description="TensorBoard over the runs of a model.")
    parser.add_argument("--store-uri", required=True, help="the model's store, such as s3://models/dog-classifier")
    parser.add_argument("--endpoint", help="where the store's S3 is, if it is not AWS")
    parser.add_argument("--logdir", type=Path, required=True, help="an empty folder for the logs")
    parser.add_argument("--port", type=int, default=6006)
    options = parser.parse_args(arguments)
    try:
        store = open_store(options.store_uri, endpoint=options.endpoint)
    except StoreError as error:
        parser.error(str(error))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    options.logdir.mkdir(parents=True, exist_ok=True)
    tensorboard = _start_tensorboard(options.logdir, options.port)
    threading.Thread(target=_stop_with, args=(tensorboard, stop), daemon=True).start()
    try:
        _keep_bringing(Mirror(store, options.logdir), stop)
    finally:
        ended_by_itself = tensorboard.poll() is not None
        tensorboard.terminate()
        tensorboard.wait()
    return 1 if ended_by_itself else 0


def _start_tensorboard(logdir: Path, port: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "tensorboard.main", f"--logdir={logdir}", f"--port={port}", "--bind_all"]
    environment = {name: value for name, value in os.environ.items() if name not in _CREDENTIALS}
    # A log that is rewritten as a whole, as a run that begins anew does, is read anew too.
    words += [f"--reload_interval={_RELOAD_SECONDS}", "--reload_multifile=true"]
    return subprocess.Popen(words, env=environment)


def _stop_with(tensorboard: subprocess.Popen[bytes], stop: threading.Event) -> None:
    """Its end must not wait for the pause between two looks at the store."""
    tensorboard.wait()
    stop.set()


def _keep_bringing(mirror: Mirror, stop: threading.Event) -> None:
    said = ""
    while not stop.is_set():
        try:
            mirror.bring()
            trouble = ""
        except StoreError as error:
            # What is here goes on being shown, and the next look may find the store again.
            trouble = str(error)
        if trouble != said:
            print(trouble or "The store answers again.", file=sys.stderr, flush=True)
            said = trouble
        stop.wait(_SECONDS_BETWEEN)


if __name__ == "__main__":
    sys.exit(main())
