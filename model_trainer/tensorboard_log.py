"""The metrics of each epoch as TensorBoard reads them: in the store while the run is on its way, a few kB.

    .runs/<number>/tensorboard/train/events.out.tfevents.…        epoch_loss, epoch_accuracy, epoch_learning_rate …
    .runs/<number>/tensorboard/validation/events.out.tfevents.…   the same of the validation images

Tags and folders are those of Keras' own TensorBoard callback. A pod that goes on with a run adds files of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from model_store import Store, run_key

FOLDER = "tensorboard"
TRAIN, VALIDATION = "train", "validation"


class TensorBoardLog:
    """Writes the metrics of epochs into `folder`, and brings what was written to run `number` in the store."""

    def __init__(self, store: Store, number: int, folder: Path) -> None:
        self._store = store
        self._number = number
        self._folder = folder
        self._sent: dict[Path, int] = {}
        self._writers = {part: tf.summary.create_file_writer(str(folder / part)) for part in (TRAIN, VALIDATION)}
        self._kind = tf.compat.v1.SummaryMetadata(
            plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"), data_class="DATA_CLASS_SCALAR"
        )

    def write(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Write what was measured after `epoch` (1 and up)."""
        for name, value in metrics.items():
            part = VALIDATION if name.startswith("val_") else TRAIN
            with self._writers[part].as_default():
                tag = f"epoch_{name.removeprefix('val_')}"
                tf.summary.write(tag, tf.constant(value, tf.float32), step=epoch, metadata=self._kind)
        for writer in self._writers.values():
            writer.flush()

    def write_history(self, history: Mapping[str, Sequence[float]]) -> None:
        """Write what was measured in every epoch until now, in a run that goes on from another version's."""
        epochs = max(map(len, history.values()), default=0)
        for epoch in range(1, epochs + 1):
            self.write(epoch, {name: values[epoch - 1] for name, values in history.items() if len(values) >= epoch})

    def send(self) -> None:
        """Upload the files that have grown. Raises StoreError."""
        for path in sorted(self._folder.rglob("events.out.*")):
            size = path.stat().st_size
            if self._sent.get(path) == size:
                continue
            # A copy, because the next epoch may be written while this one is on its way.
            copy = path.with_name(f"sent.{path.name}")
            shutil.copyfile(path, copy)
            self._store.upload(copy, run_key(self._number, f"{FOLDER}/{path.relative_to(self._folder).as_posix()}"))
            copy.unlink()
            self._sent[path] = size

    def remove_earlier(self) -> None:
        """Remove what an earlier pod has sent: this one begins anew. Raises StoreError."""
        for key in [entry.key for entry in self._store.list(run_key(self._number, FOLDER))]:
            self._store.delete(key)
