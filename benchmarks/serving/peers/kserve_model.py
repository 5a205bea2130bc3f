"""KServe: a custom predictor as documented, one worker. `kserve_model.py FOLDER --http_port=… --grpc_port=…`."""

from __future__ import annotations

import sys
from typing import Any

import kserve
import numpy as np
import tensorflow as tf
from kserve.utils.utils import get_predict_response


class Network(kserve.Model):  # type: ignore[misc]  # KServe is not installed where types are checked
    """Answers protocol v1 over REST, and the Open Inference Protocol."""

    def __init__(self, folder: str) -> None:
        super().__init__("default")
        self._signature = tf.saved_model.load(f"{folder}/servable/1").signatures["serving_default"]
        self.ready = True

    def predict(self, payload: Any, headers: Any = None) -> Any:
        """The first output for the first input."""
        if isinstance(payload, dict):
            images = np.array(payload["instances"], np.float32)
        else:
            images = payload.inputs[0].as_numpy()
        (outputs,) = self._signature(images=tf.constant(images)).values()
        return get_predict_response(payload, outputs.numpy(), self.name)


if __name__ == "__main__":
    kserve.ModelServer().start([Network(sys.argv.pop(1))])
