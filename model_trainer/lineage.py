"""Where a version comes from, as far as it takes to make it again: a few words and hashes in its manifest."""

from __future__ import annotations

import platform

import keras
import numpy as np
import tensorflow as tf
from keras_operator.api import RunSpec


def lineage_of(spec: RunSpec, data_sha256: str) -> dict[str, str]:
    """What a version was made from.

    `data` is the hash of the whole data set (see DataCard.sha256), `inputs` the fingerprint of training or source,
    `image` the trainer's image as the Job named it, with its digest where that is pinned, `container` the team's own
    image where that trained, `parent` the earlier version that it was trained on from; then the seed of a training and
    who computed.
    """
    weights = spec.training.initial_weights if spec.training else None
    known = {
        "model": spec.model,
        "data": f"sha256:{data_sha256}",
        "inputs": spec.inputs_hash,
        "image": spec.image,
        "container": spec.training.container.image if spec.training and spec.training.container else "",
        "parent": str(weights.version) if weights and weights.version is not None else "",
        "seed": str(spec.training.seed) if spec.training else "",
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
    }
    return {name: value for name, value in known.items() if value}
