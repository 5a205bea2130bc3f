"""MLServer: a custom runtime as its documentation has it. `mlserver start` finds it through a model-settings.json."""

from __future__ import annotations

import tensorflow as tf
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Network(MLModel):  # type: ignore[misc]  # MLServer is not installed where types are checked
    """Answers the Open Inference Protocol over REST and gRPC."""

    async def load(self) -> bool:
        """Load the SavedModel that the settings name."""
        self._signature = tf.saved_model.load(f"{self.settings.parameters.uri}/servable/1").signatures[
            "serving_default"
        ]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The first output for the first input."""
        images = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        (outputs,) = self._signature(images=tf.constant(images)).values()
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("output", outputs.numpy())])
