"""Where decoded images are kept between epochs: in memory where they fit, in a mapped file on scratch otherwise.

Each image is decoded once. Both are an array [images, height, width, channels] of uint8 for whoever reads them.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from model_trainer.data.decoding import Pixels

log = logging.getLogger(__name__)

# The other half is for TensorFlow (0.4 GB when idle), the weights with their optimizer's slots, activations, batches.
MEMORY_SHARE = 0.5


def allocate(count: int, shape: tuple[int, int, int], *, memory: int, scratch: Path) -> Pixels:
    """An array for `count` decoded images of `shape` [height, width, channels], not yet filled.

    Args:
        count: number of images.
        shape: of one image.
        memory: bytes that this container may use in all.
        scratch: folder for the file, where the images do not fit into memory.

    Raises:
        OSError: ENOSPC, the scratch volume cannot take the file.
    """
    needed = count * int(np.prod(shape))
    room = int(memory * MEMORY_SHARE)
    sizes = {"images": count, "bytes": needed, "memoryBytes": memory, "roomBytes": room}
    if needed <= room:
        log.info("decoded images are kept in memory, where they fit", extra=sizes)
        return np.empty((count, *shape), dtype=np.uint8)
    log.info("decoded images do not fit into half of the memory and are kept on the scratch volume", extra=sizes)
    path = scratch / "decoded-images.bin"
    with path.open("wb") as file:
        # Blocks are taken now: a full disk is an error here, and SIGBUS in the middle of training otherwise.
        os.posix_fallocate(file.fileno(), 0, needed)
    images: Pixels = np.memmap(path, dtype=np.uint8, mode="r+", shape=(count, *shape))
    # The mapping holds the blocks, so nothing is left behind whatever happens to this process.
    path.unlink()
    return images
