"""Flask, calling `keras.Model.predict`, as tutorials do. `gunicorn flask_keras:app`, MODEL is the folder."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np
from flask import Flask, jsonify, request

app = Flask(__name__)
model = keras.models.load_model(f"{os.environ['MODEL']}/model.keras")


@app.post("/predict")  # type: ignore[untyped-decorator]  # Flask is not installed where types are checked
def predict() -> Any:
    """Takes `{"instances": …}`, answers `{"predictions": …}`."""
    images = np.array(request.get_json()["instances"], np.float32)
    return jsonify(predictions=model.predict(images, verbose=0).tolist())
