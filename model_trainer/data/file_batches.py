"""Batches of whole files, for a model that decodes images itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tensorflow as tf
from keras_operator.api import Loss

from model_store import NotFound, TooLarge
from model_trainer.data.dataset import Dataset, Example, ImageFiles
from model_trainer.data.decoding import as_png
from model_trainer.data.fetching import PARALLEL_READS
from model_trainer.data.formats import MOST_BYTES, read_header
from model_trainer.data.pipeline import Batched, encode
from model_trainer.data.split import Indices
from model_trainer.failure import BadData
from model_trainer.patience import Patience


class FileBatches(Batched):
    """The files of `part` as they lie in `store`; what is neither JPEG nor PNG becomes a PNG, as Pillow shows it."""

    def __init__(
        self, store: ImageFiles, dataset: Dataset, part: Indices, patience: Patience, *, batch_size: int
    ) -> None:
        super().__init__(dataset.rows(part), dataset.labels(part), batch_size=batch_size)
        self._store = store
        self._examples = [dataset.examples[index] for index in part]
        self._patience = patience

    def dataset(self, classes: int, loss: Loss) -> Iterator[tuple[Any, Any]]:
        """Pairs of (files' bytes, string [batch]; labels as `loss` takes them). Raises BadData and StoreError."""
        with ThreadPoolExecutor(PARALLEL_READS, thread_name_prefix="files") as pool:
            for chosen in self._in_batches(self._order(0)):
                files = list(pool.map(self._read, [self._examples[place] for place in chosen]))
                yield tf.constant(files), encode(tf.constant(self._labels[chosen]), classes, loss)

    def _read(self, example: Example) -> bytes:
        try:
            data = self._patience(f"reading {example.key}", lambda: self._store.read(example.key, limit=MOST_BYTES))
        except (NotFound, TooLarge) as error:
            raise BadData(_changed(self._store, example)) from error
        if hashlib.sha256(data).hexdigest() != example.sha256:
            raise BadData(_changed(self._store, example))
        return as_png(data, read_header(data))


def _changed(store: ImageFiles, example: Example) -> str:
    return f"{store.uri}/{example.key} was changed or removed while it was read. Try again when the data is at rest."
