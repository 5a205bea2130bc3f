"""Checkpoints of a run in the store: what a pod needs to go on where another one was killed.

Each is a few files and a manifest, and the manifest, with their SHA-256, is written last: without it a checkpoint does
not exist, and one whose files differ from it is not used. The last two are kept, so that there is always a whole one.

A run that has none yet goes on from an earlier version's that began as it does: one that was given too little disk or
memory, or too little time, and failed, is made anew with more, and what it had learned is not lost.

    .runs/<number>/checkpoints/00000007.json                       the manifest of the seventh
    .runs/<number>/checkpoints/variables-00000007-3f9a1c20.npz     network, optimizer, metrics in the making
    .runs/<number>/checkpoints/best-00000004-3f9a1c20.npz          the best network so far, where another one is older
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
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
# How many versions before its own a run looks at, each for the price of a listing.
VERSIONS_LOOKED_AT = 5
# 100,000 epochs with four metrics each are 8 MB.
LARGEST_MANIFEST = 64 * 1024 * 1024

History = dict[str, list[float]]

_UNUSABLE = (NotFound, Corrupt, TooLarge, msgspec.DecodeError)


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
    """What makes a checkpoint exist. `run` is a fingerprint of the inputs: others' variables are of no use.

    `beginning` is one of all that a training of any version begins with; empty in what earlier releases wrote.
    """

    format: int = FORMAT
    number: int
    run: str
    beginning: str = ""
    state: State
    variables: StoredFile
    best: StoredFile | None = None


@dataclass(frozen=True)
class Restored:
    """A checkpoint on this machine's disk: `best` is the file of the best network so far, or None.

    `version` is the number of the version whose it is; None of what the first worker tells others.
    """

    state: State
    variables: Path
    best: Path | None
    version: int | None = None


class Checkpoints:
    """The checkpoints of run `number`. For one thread at a time. Calls may raise StoreError.

    Args:
        run: fingerprint of everything that the training follows from.
        scratch: a folder for what is downloaded.
        beginning: fingerprint of what it begins with, by which an earlier version's checkpoints are known to be of use;
            empty: none are.
    """

    def __init__(self, store: Store, number: int, run: str, scratch: Path, beginning: str = "") -> None:
        self._store = store
        self._number = number
        self._folder = run_key(number, FOLDER)
        self._run = run
        self._beginning = beginning
        self._scratch = scratch
        # In the name of each file: two pods at once, one of them cut off and not dead, must not write one file.
        self._attempt = secrets.token_hex(4)
        self._last = 0
        self._best: StoredFile | None = None
        self._best_epoch = 0

    def restore(self) -> Restored | None:
        """The newest whole checkpoint of the same inputs, downloaded; None where there is none."""
        numbers = self._numbers(self._number)
        self._last = max(numbers, default=0)
        for manifest, restored in self._newest_first(self._number, numbers):
            if manifest.run != self._run:
                log.warning("its checkpoints are of other data or another image, so training begins anew")
                return None
            if (own := restored()) is None:
                continue
            if manifest.best:
                self._best, self._best_epoch = manifest.best, manifest.state.course.best.epoch
            return own
        return self._of_an_earlier_version() if self._beginning else None

    def _of_an_earlier_version(self) -> Restored | None:
        """The newest checkpoint of the newest version that began as this one; its files stay that version's."""
        for version in range(self._number - 1, max(0, self._number - 1 - VERSIONS_LOOKED_AT), -1):
            for manifest, restored in self._newest_first(version, self._numbers(version)):
                if manifest.beginning != self._beginning:
                    break
                if (theirs := restored()) is not None:
                    log.info("going on from a checkpoint of version %d, which began as this one", version)
                    return theirs
        return None

    def _newest_first(
        self, version: int, numbers: set[int]
    ) -> Iterator[tuple[Manifest, Callable[[], Restored | None]]]:
        """The manifests of a version that can be read, each with what downloads it, or says why not and gives None."""
        for number in sorted(numbers, reverse=True):
            try:
                manifest = self._manifest(version, number)
            except _UNUSABLE as error:
                self._is_no_use(version, number, error)
                continue
            yield manifest, partial(self._restored, version, number, manifest)

    def _restored(self, version: int, number: int, manifest: Manifest) -> Restored | None:
        try:
            variables = self._download(version, manifest.variables)
            best = self._download(version, manifest.best) if manifest.best else None
        except _UNUSABLE as error:
            self._is_no_use(version, number, error)
            return None
        return Restored(manifest.state, variables, best, version)

    def _is_no_use(self, version: int, number: int, error: Exception) -> None:
        words = "checkpoint %d of version %d cannot be used, the one before is looked at"
        log.warning(words, number, version, extra={"cause": error})

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
        manifest = Manifest(
            number=number,
            run=self._run,
            beginning=self._beginning,
            state=state,
            variables=stored,
            best=self._best,
        )
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
                manifest = self._manifest(self._number, number)
            except _UNUSABLE:
                continue
            kept |= {f"{number:08}.json", manifest.variables.name, *([manifest.best.name] if manifest.best else [])}
        for name in sorted(set(names) - kept, key=lambda name: not name.endswith(".json")):
            self._store.delete(self._key(name))

    def _numbers(self, version: int) -> set[int]:
        names = [entry.key.rpartition("/")[2] for entry in self._store.list(run_key(version, FOLDER))]
        return {int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit()}

    def _manifest(self, version: int, number: int) -> Manifest:
        key = run_key(version, f"{FOLDER}/{number:08}.json")
        manifest = msgspec.json.decode(self._store.read(key, limit=LARGEST_MANIFEST), type=Manifest)
        if manifest.format != FORMAT:
            raise Corrupt(f"checkpoint {number} has format {manifest.format}, and this program reads {FORMAT}")
        return manifest

    def _upload(self, path: Path, name: str) -> StoredFile:
        file = StoredFile(name, path.stat().st_size, sha256_of(path))
        self._store.upload(path, self._key(name), sha256=file.sha256)
        return file

    def _download(self, version: int, file: StoredFile) -> Path:
        path = self._scratch / f"restored-{file.name}"
        key = run_key(version, f"{FOLDER}/{file.name}")
        if self._store.download(key, path) != file.sha256:
            path.unlink()
            raise Corrupt(f"{self._store.uri}/{key} has other bytes than its checkpoint says")
        return path

    def _key(self, name: str) -> str:
        return f"{self._folder}/{name}"
