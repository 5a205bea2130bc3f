"""The limit: `TF_SessionRun` in a loop, with no network and no decoding of requests. A program of its own."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from model_server.runtime.dtypes import Array
from model_server.runtime.servable import LoadOptions, Servable
from model_server.runtime.tensorflow_c import tensor_from


def _read(path: Path, batch: int) -> tuple[str, Array]:
    """The signature that takes what is in the file, and so many of it."""
    if path.suffix == ".npy":
        return "", np.repeat(np.load(path), batch, axis=0)
    files: Array = np.empty(batch, np.object_)
    files[:] = [path.read_bytes()] * batch
    return "serving_bytes", files


def main() -> None:
    """`python -m benchmarks.serving.bare_loop SERVABLE INPUT BATCH SECONDS`: prints runs a second."""
    name, inputs = _read(Path(sys.argv[2]), int(sys.argv[3]))
    servable = Servable(Path(sys.argv[1]), LoadOptions(intra_op_parallelism=1, inter_op_parallelism=1))
    signature = servable.interface.signature(name)
    ((_, spec),) = signature.inputs.items()
    session = servable._session  # nothing of the server may be in between
    feeds = session.outputs([spec.tensor])
    fetches = session.outputs([output.tensor for output in signature.outputs.values()])
    tensor = tensor_from(inputs, spec.dtype)
    rate = 0.0
    for seconds in (float(sys.argv[4]) / 8, float(sys.argv[4])):  # the first to warm up
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            session.run(feeds, [tensor], fetches)
            count += 1
        rate = count / (time.perf_counter() - start)
    print(rate)


if __name__ == "__main__":
    main()
