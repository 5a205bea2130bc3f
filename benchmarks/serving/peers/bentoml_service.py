"""BentoML: a service as documented, one worker. `bentoml serve bentoml_service:Network`, MODEL is the folder."""

import os

import bentoml
import numpy as np


@bentoml.service(workers=1)
class Network:
    """Takes `{"instances": …}`, answers a list."""

    def __init__(self) -> None:
        # Only the worker needs TensorFlow, not the process that starts it.
        import tensorflow as tf  # noqa: PLC0415

        self._tensor = tf.constant
        self._signature = tf.saved_model.load(f"{os.environ['MODEL']}/servable/1").signatures["serving_default"]

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, instances: np.ndarray) -> np.ndarray:  # BentoML reads these types
        """The only output."""
        (outputs,) = self._signature(images=self._tensor(instances.astype(np.float32))).values()
        return np.asarray(outputs)
