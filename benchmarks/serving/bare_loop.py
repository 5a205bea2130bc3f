"""The limit: `TF_SessionRun` in a loop, with no network and no JSON. A program of its own."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from model_server.runtime.servable import LoadOptions, Servable
from model_server.runtime.tensorflow_c import Tensor


def main() -> None:
    """`python -m benchmarks.serving.bare_loop FOLDER SECONDS`: prints runs a second of one image."""
    servable = Servable(Path(sys.argv[1]), LoadOptions(intra_op_parallelism=1, inter_op_parallelism=1))
    signature = servable.interface.signature("")
    ((_, spec),) = signature.inputs.items()
    session = servable._session  # nothing of the server may be in between
    feeds = session.outputs([spec.tensor])
    fetches = session.outputs([output.tensor for output in signature.outputs.values()])
    image = Tensor.from_numpy(np.zeros((1, 28, 28, 1), np.float32), spec.dtype)
    for _ in range(200):
        session.run(feeds, [image], fetches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < float(sys.argv[2]):
        session.run(feeds, [image], fetches)
        count += 1
    print(count / (time.perf_counter() - start))


if __name__ == "__main__":
    main()
