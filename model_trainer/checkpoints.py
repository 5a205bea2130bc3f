"""Checkpoints of a run in the store: what a pod needs to go on where another one was killed.

Each is a few files and a manifest, and the manifest, with their SHA-256, is written last: without it a checkpoint does
not exist, and one whose files differ from it is not used. The last two are kept, so that there is always a whole one.

    .runs/<number>/checkpoints/00000007.json                       the manifest of the seventh
    .runs/<number>/checkpoints/variables-00000007-3f9a1c20.npz     network, optimizer, metrics in the making
    .runs/<number>/checkpoints/best-00000004-3f9a1c20.npz          the best network so far, where another one is older
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from model_store import AlreadyExists, Corrupt, NotFound, Store, TooLarge, run_key
from model_store.disk import sha256_of
from model_trainer.failure import TakenOver
from model_trainer.stopping import Course

log = logging.getLogger(__name__)

FOLDER = "checkpoints"
FORMAT = 1
KEPT = 2
# 100,000 epochs with four metrics each are 8 MB.
LARGEST_MANIFEST = 64 * 1024 * 1024

History = dict[str, list[float]]


class State(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Where a training was, apart from the variables of its network.

    Attributes:
        epoch: epochs that are done.
        step: batches of the next one that are done.
        metrics: what the training part of that epoch measured, where only its validation is left to do.
        history: each metric's value after each epoch.
        course: what early stopping and its like remember.
        seconds: how long was trained until here.
        times: when each epoch ended, as `epoch1`.
        ended: why training ended before its last epoch; None: it did not.
        use_best: whether the network of the best epoch is wanted at the end, and not the last one.
    """

    epoch: int
    step: int
    metrics: dict[str, float] | None = None
    history: History = {}
    course: Course = Course()
    seconds: float = 0.0
    times: dict[str, datetime] = {}
    ended: str | None = None
    use_best: bool = False


class StoredFile(msgspec.Struct, frozen=True):
    """A file of a checkpoint: its name in the folder, its size in bytes and its SHA-256 in hex."""

    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What makes a checkpoint exist. `run` is a fingerprint of the inputs: others' variables are of no use."""

    format: int = FORMAT
    number: int
    run: str
    state: State
    variables: StoredFile
    best: StoredFile | None = None


@dataclass(frozen=True)
class Restored:
    """A checkpoint on this machine's disk: `best` is the file of the best network so far, or None."""

    state: State
    variables: Path
    best: Path | None


class Checkpoints:
    """The checkpoints of run `number`. For one thread at a time. Calls may raise StoreError.

    Args:
        run: fingerprint of everything that the training follows from.
        scratch: a folder for what is downloaded.
    """

    def __init__(self, store: Store, number: int, run: str, scratch: Path) -> None:
        self._store = store
        self._folder = run_key(number, FOLDER)
        self._run = run
        self._scratch = scratch
        # In the name of each file: two pods at once, one of them cut off and not dead, must not write one file.
        self._attempt = secrets.token_hex(4)
        self._last = 0
        self._best: StoredFile | None = None
        self._best_epoch = 0

    def restore(self) -> Restored | None:
        """The newest whole checkpoint of the same inputs, downloaded; None where there is none."""
        numbers = self._numbers()
        self._last = max(numbers, default=0)
        for number in sorted(numbers, reverse=True):
            try:
                manifest = self._manifest(number)
                if manifest.run != self._run:
                    log.warning("checkpoint %d is of other data or another image, so training begins anew", number)
                    return None
                variables = self._download(manifest.variables)
                best = self._download(manifest.best) if manifest.best else None
            except (NotFound, Corrupt, TooLarge, msgspec.DecodeError) as error:
                log.warning("checkpoint %d cannot be used, the one before is looked at", number, extra={"cause": error})
                continue
            if manifest.best:
                self._best, self._best_epoch = manifest.best, manifest.state.course.best.epoch
            return Restored(manifest.state, variables, best)
        return None

    def save(self, state: State, variables: Path, best: Path | None) -> None:
        """Write one more checkpoint, and remove those before the last two.

        Raises:
            TakenOver: another pod goes on with this run.
        """
        number = self._last + 1
        stored = self._upload(variables, f"variables-{number:08}-{self._attempt}.npz")
        if best is None:
            self._best = None
        elif self._best is None or self._best_epoch != state.course.best.epoch:
            self._best = self._upload(best, f"best-{number:08}-{self._attempt}.npz")
            self._best_epoch = state.course.best.epoch
        manifest = Manifest(number=number, run=self._run, state=state, variables=stored, best=self._best)
        data = msgspec.json.encode(manifest)
        try:
            self._store.write(self._key(f"{number:08}.json"), data, only_if_absent=True)
        except AlreadyExists as error:
            # This very write may have arrived although its answer was lost.
            if self._store.read(self._key(f"{number:08}.json"), limit=LARGEST_MANIFEST) != data:
                raise TakenOver(
                    f"Another pod goes on with this run: it wrote checkpoint {number} in {self._store.uri}."
                ) from error
        self._last = number
        self._remove_old()

    def remove_all(self) -> None:
        """Remove every checkpoint: the run has its result."""
        keys = [entry.key for entry in self._store.list(self._folder)]
        # Manifests first: a checkpoint that has one is whole.
        for key in sorted(keys, key=lambda key: not key.endswith(".json")):
            self._store.delete(key)

    def _remove_old(self) -> None:
        names = [entry.key.rpartition("/")[2] for entry in self._store.list(self._folder)]
        kept: set[str] = set()
        for number in range(max(1, self._last - KEPT + 1), self._last + 1):
            try:
                manifest = self._manifest(number)
            except (NotFound, Corrupt, TooLarge, msgspec.DecodeError):
                continue
            kept |= {f"{number:08}.json", manifest.variables.name, *([manifest.best.name] if manifest.best else [])}
        for name in sorted(set(names) - kept, key=lambda name: not name.endswith(".json")):
            self._store.delete(self._key(name))

    def _numbers(self) -> set[int]:
        names = [entry.key.rpartition("/")[2] for entry in self._store.list(self._folder)]
        return {int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit()}

    def _manifest(self, number: int) -> Manifest:
        data = self._store.read(self._key(f"{number:08}.json"), limit=LARGEST_MANIFEST)
        manifest = msgspec.json.decode(data, type=Manifest)
        if manifest.format != FORMAT:
            raise Corrupt(f"checkpoint {number} has format {manifest.format}, and this program reads {FORMAT}")
        return manifest

    def _upload(self, path: Path, name: str) -> StoredFile:
        file = StoredFile(name, path.stat().st_size, sha256_of(path))
        self._store.upload(path, self._key(name), sha256=file.sha256)
        return file

    def _download(self, file: StoredFile) -> Path:
        path = self._scratch / f"restored-{file.name}"
        if self._store.download(self._key(file.name), path) != file.sha256:
            path.unlink()
            raise Corrupt(f"{self._store.uri}/{self._key(file.name)} has other bytes than its checkpoint says")
        return path

    def _key(self, name: str) -> str:
        return f"{self._folder}/{name}"
