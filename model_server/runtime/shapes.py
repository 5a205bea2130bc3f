"""The shapes that a client may claim, whatever its tensor holds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from model_server.runtime.errors import invalid

# NumPy's own limit.
_MOST_DIMENSIONS = 64


def check_shape(name: str, shape: Sequence[int], item_bytes: int) -> None:
    """Raise ServingError when input `name` cannot have this shape, with elements of `item_bytes`.

    A tensor of no elements takes no bytes, so its shape can say anything: `[0, 2**62]` is one that neither NumPy nor
    TensorFlow can address.
    """
    if len(shape) > _MOST_DIMENSIONS:
        raise invalid(f'input "{name}": a tensor has at most {_MOST_DIMENSIONS} dimensions, found {len(shape)}')
    if min(shape, default=0) < 0 or math.prod([size or 1 for size in shape]) * item_bytes >= 2**63:
        raise invalid(f'input "{name}": no tensor can have shape {list(shape)}')
