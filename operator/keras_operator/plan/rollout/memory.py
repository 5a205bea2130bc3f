"""Whether a runtime has room for two versions at once, judged before one is loaded."""

from keras_operator.api import KerasModelSpec, parse_quantity
from keras_operator.plan.observed import Observed

_MIB = 1024 * 1024
# What the runtime uses before it holds a model worth counting: TensorFlow, both servers, buffers of requests.
RUNTIME_BYTES = 400 * _MIB
# A loaded servable in terms of the size of its files: its variables once, and while it is read a part of them twice.
LOADED_PER_BYTE = 2


def no_room(observed: Observed, spec: KerasModelSpec, number: int) -> str:
    """Why versions cannot be swapped in place, in words with the figures; empty where there is room or no limit."""
    written = spec.serving.resources.limits.get("memory")
    if written is None:
        return ""
    sizes = {v.number: v.status.servable.bytes for v in observed.versions if v.status.servable}
    other = observed.named or number
    needed = RUNTIME_BYTES + LOADED_PER_BYTE * (sizes.get(number, 0) + sizes.get(other, 0))
    if needed <= parse_quantity(written):
        return ""
    which = f"versions {other} and {number}" if other != number else f"two versions like {number}"
    return f"{which} at once need about {needed // _MIB} MiB and serving.resources.limits.memory is {written}"
