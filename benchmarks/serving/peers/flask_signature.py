"""Flask, calling the SavedModel's signature. `gunicorn flask_signature:app`, MODEL is the folder."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tensorflow as tf
from flask import Flask, jsonify, request

app = Flask(__name__)
signature = tf.saved_model.load(f"{os.environ['MODEL']}/servable/1").signatures["serving_default"]


@app.post("/predict")  # type: ignore[untyped-decorator]  # Flask is not installed where types are checked
def predict() -> Any:
    """Takes `{"instances": …}`, answers `{"predictions": …}`."""
    images = np.array(request.get_json()["instances"], np.float32)
    (outputs,) = signature(images=tf.constant(images)).values()
    return jsonify(predictions=outputs.numpy().tolist())
