"""`.runs/<number>/` in the store: what one run leaves there, and reads again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from keras_operator.api import Comparison, Images

from model_store import AlreadyExists, NotFound, Store, claim, run_key
from model_trainer.data.listing import BadFile
from model_trainer.evaluation.record import EvaluationRecord
from model_trainer.evaluation.source_record import SourceRecord
from model_trainer.patience import Patience
from model_trainer.tables.columns import Column
from model_trainer.tables.target import Target

MODEL = "model.keras"
LEGACY_MODEL = "model.h5"
METRICS = "metrics.json"
HISTORY = "history.json"
EVALUATION = "evaluation.json"
SPLIT = "split.json"
DATA_CARD = "data-card.json"
REPORT = "report.html"
SAMPLES = "samples.npz"
EXPORT = "export.json"
BUILDER = "builder.py"

# The record names up to 10 bad files and every class: 1,000 classes with names of 255 bytes are 0.3 MB.
LARGEST_RECORD = 16 * 1024 * 1024

BAD_FILES_NAMED = 10


T = TypeVar("T")


class Record(msgspec.Struct, frozen=True, rename="camel"):
    """metrics.json: what is known of a finished training. It is written last, so where it is, everything is.

    Attributes:
        metrics: see EvaluationRecord.metrics or NumberRecord.metrics; and those of Keras on the validation part, as
            val_accuracy, val_loss …
        classes: names in the order of the model's outputs; none where it learned a number.
        image_size: height and width in pixels; None: it learned from a table.
        color_mode: "rgb" or "grayscale"; None as well.
        images: how many images or rows are in each part.
        bad_files: how many could not be used.
        bad_file_names: the first few of them.
        ignored_files: how many files were no images by name, by what was found.
        builder: SHA-256 of the source that built the network, as it is kept in builder.py; None without one.
        epochs: how many were trained.
        ended: why training ended before its last epoch; empty: it did not.
        times: when what happened.
        comparison: the version that served, measured on the same test part.
        lineage: what the version was made from, see `lineage.py`.
        columns: the features of a table, in the order of the model's inputs.
        target: what is known of a number that was learned; None: it learned classes.
    """

    metrics: dict[str, float]
    classes: tuple[str, ...]
    image_size: tuple[int, int] | None
    color_mode: str | None
    images: Images
    bad_files: int
    bad_file_names: tuple[BadFile, ...]
    ignored_files: dict[str, int]
    epochs: int
    times: dict[str, datetime]
    comparison: Comparison | None = None
    ended: str = ""
    lineage: dict[str, str] = {}
    builder: str | None = None
    columns: tuple[Column, ...] = ()
    target: Target | None = None


class ExportRecord(msgspec.Struct, frozen=True):
    """export.json: what an export found, for an attempt that comes after a published version.

    `source` is what it found of a source on its test images, by which later versions are held against it.
    """

    parity: float | None
    times: dict[str, datetime]
    metrics: dict[str, float] = {}
    source: SourceRecord | None = None


class RunFolder:
    """The files of run `number` under the store; waits for a store that is away as long as `patience` lasts."""

    def __init__(self, store: Store, number: int, patience: Patience) -> None:
        self.store = store
        self.number = number
        self._patience = patience

    def claim(self, owner: str) -> None:
        """Take the number. Raises model_store.NumberTaken."""
        self._patience(f"claiming version {self.number}", lambda: claim(self.store, self.number, owner))

    def write(self, name: str, value: Any) -> None:
        """Write a value as JSON."""
        data = msgspec.json.format(msgspec.json.encode(value), indent=1)
        self._patience(f"writing {name}", lambda: self.store.write(self._key(name), data))

    def write_text(self, name: str, text: str) -> None:
        """Write a text."""
        self._patience(f"writing {name}", lambda: self.store.write(self._key(name), text.encode()))

    def kept(self, name: str, read: Callable[[], bytes]) -> bytes:
        """A file as it was first written: of `read()` where it is not there yet."""
        key = self._key(name)
        if not self._exists(name):
            data = read()
            with contextlib.suppress(AlreadyExists):
                self._patience(f"writing {name}", lambda: self.store.write(key, data, only_if_absent=True))
        return self._patience(f"reading {name}", lambda: self.store.read(key, limit=LARGEST_RECORD))

    def kept_before(self, name: str) -> bytes | None:
        """What `kept` wrote, or None where it was never called."""
        if not self._exists(name):
            return None
        return self._patience(f"reading {name}", lambda: self.store.read(self._key(name), limit=LARGEST_RECORD))

    def upload(self, path: Path, name: str) -> None:
        """Upload a file."""
        self._patience(f"uploading {name}", lambda: self.store.upload(path, self._key(name)))

    def download(self, name: str, path: Path) -> None:
        """Download a file. Raises model_store.NotFound."""
        self._patience(f"downloading {name}", lambda: self.store.download(self._key(name), path))

    def add_papers(self, directory: Path) -> None:
        """Put data card and report into `directory`; a run by an older release has left none."""
        directory.mkdir(exist_ok=True)
        for name in (DATA_CARD, REPORT):
            with contextlib.suppress(NotFound):
                self.download(name, directory / name)

    def record(self) -> Record | None:
        """What a finished training left, or None if none has finished."""
        return self._read(METRICS, Record) if self._exists(MODEL) else None

    def of(self, number: int) -> RunFolder:
        """The folder of another run in the same store."""
        return RunFolder(self.store, number, self._patience)

    def evaluation(self) -> EvaluationRecord | None:
        """What was measured on the test part of classes, or None if no training has finished."""
        return self._read(EVALUATION, EvaluationRecord)

    def export_record(self) -> ExportRecord | None:
        """What an earlier export left, or None."""
        return self._read(EXPORT, ExportRecord)

    def _read(self, name: str, kind: type[T]) -> T | None:
        try:
            data = self._patience(f"reading {name}", lambda: self.store.read(self._key(name), limit=LARGEST_RECORD))
            return msgspec.json.decode(data, type=kind)
        except NotFound:
            return None

    def _exists(self, name: str) -> bool:
        return self._patience(f"looking for {name}", lambda: self.store.exists(self._key(name)))

    def _key(self, name: str) -> str:
        return run_key(self.number, name)
