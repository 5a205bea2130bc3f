"""Decoded images as a run has them, and how to have the scratch file's pages out of memory."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

from benchmarks.training.errors import BenchmarkError
from model_store import open_store
from model_trainer import machine
from model_trainer.data.dataset import Dataset
from model_trainer.data.decoding import Decoder
from model_trainer.data.fetching import Resources, fetch_images
from model_trainer.data.listing import list_images
from model_trainer.patience import Patience

# linux/mman.h: write out and forget; Python 3.11's mmap has no name for it.
_MADV_PAGEOUT = 21


def decoded(folder: str, side: int, scratch: Path, *, memory: int) -> Dataset:
    """Every image of `folder`, decoded to `side` x `side`, as with `memory` bytes in all."""
    store = open_store(Path(folder).as_uri())
    return fetch_images(
        store,
        list_images(store.uri, store.list()),
        Decoder(side, side, 3, machine.processors()),
        max_bad_files=0,
        patience=Patience(0),
        resources=Resources(memory, scratch),
    )


def forget(pixels: Any) -> None:
    """Let no page of a mapped file be in memory, so that the next reader waits for the disk."""
    mapped = pixels
    while not isinstance(mapped, mmap.mmap):
        mapped = getattr(mapped, "_mmap", None)
        if mapped is None:
            raise BenchmarkError("the decoded images are not in a mapped file")
    mapped.flush()
    mapped.madvise(_MADV_PAGEOUT)
