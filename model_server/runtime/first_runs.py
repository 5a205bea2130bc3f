"""The first run of each signature, made before a version answers requests.

TensorFlow prepares a signature's graph at its first run, which takes tens of milliseconds, and all requests that come
meanwhile wait for it. A servable that brings no warm-up records is asked with zeros instead, an element for each
dimension of any size; what it says to that does not matter.
"""

from __future__ import annotations

import logging
import math

import numpy as np

from model_server.runtime.dtypes import Array
from model_server.runtime.errors import ServingError
from model_server.runtime.savedmodel import Signature, TensorSpec
from model_server.runtime.servable import Pool, Servable

_LOG = logging.getLogger(__name__)
# The first run prepares the graph, and the second one what it is computed with.
_RUNS = 2
# Of the zeros of one signature.
_MOST_BYTES = 64 * 1024 * 1024


def run_first(servable: Servable, timeout_ms: int) -> list[str]:
    """Run every signature whose work is bounded by the shapes of its inputs; returns those that answer zeros.

    `timeout_ms` bounds one run, 0 does not.
    """
    answered = []
    for signature in servable.interface.signatures.values():
        zeros = _zeros(signature)
        if zeros is None:
            continue
        try:
            for _ in range(_RUNS):
                servable.run(signature, zeros, list(signature.outputs), timeout_ms, Pool.LOADING)
            answered.append(signature.name)
        except ServingError as error:
            # It may take other numbers only, or pictures; its graph is prepared all the same.
            _LOG.debug('signature "%s" of %s does not answer zeros: %s', signature.name, servable.directory, error)
    _LOG.info("%s brings no warm-up records; asked with zeros: %s", servable.directory, ", ".join(answered) or "none")
    return answered


def _zeros(signature: Signature) -> dict[str, Array] | None:
    """Zeros for each input; None where a run may take for ever, or much memory, or its inputs are of any rank."""
    if not signature.bounded:
        return None
    zeros: dict[str, Array] = {}
    size = 0
    for name, spec in signature.inputs.items():
        shape, element = _shape(spec), spec.dtype.numpy
        if shape is None or element is None:
            return None
        size += math.prod(shape) * element.itemsize
        if size > _MOST_BYTES:
            return None
        zeros[name] = np.full(shape, b"", np.object_) if element == np.object_ else np.zeros(shape, element)
    return zeros


def _shape(spec: TensorSpec) -> tuple[int, ...] | None:
    return None if spec.shape is None else tuple(1 if size is None else size for size in spec.shape)
