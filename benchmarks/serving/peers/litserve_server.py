"""LitServe: its documentation's server for one device, one worker. `litserve_server.py FOLDER PORT`."""

from __future__ import annotations

import sys
from typing import Any

import litserve
import numpy as np


class Network(litserve.LitAPI):  # type: ignore[misc]  # LitServe is not installed where types are checked
    """Takes `{"instances": …}`, answers `{"predictions": …}`."""

    def setup(self, device: str) -> None:
        """Load the SavedModel in the worker, the only process that needs TensorFlow."""
        import tensorflow as tf  # noqa: PLC0415

        self._tensor = tf.constant
        self._signature = tf.saved_model.load(f"{sys.argv[1]}/servable/1").signatures["serving_default"]

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - LitServe reads types
        """An array."""
        return np.array(request["instances"], np.float32)

    def predict(self, x: Any) -> Any:
        """The only output."""
        (outputs,) = self._signature(images=self._tensor(x)).values()
        return outputs.numpy()

    def encode_response(self, output: Any) -> Any:
        """Lists."""
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Network(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), num_api_servers=1, generate_client_file=False, log_level="error"
    )
