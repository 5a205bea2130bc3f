"""BentoML: a service as documented, one worker. `bentoml serve bentoml_service:Network`, MODEL is the folder."""

import os

import bentoml
import numpy as np
import tensorflow as tf


@bentoml.service(workers=1)
class Network:
    """Takes `{"instances": …}`, answers a list."""

    def __init__(self) -> None:
        self._signature = tf.saved_model.load(f"{os.environ['MODEL']}/servable/1").signatures["serving_default"]

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, instances: np.ndarray) -> np.ndarray:  # BentoML reads these types
        """The only output."""
        (outputs,) = self._signature(tf.constant(instances.astype(np.float32))).values()
        return np.asarray(outputs)
