"""A network is compiled with the loss, the smoothing and the compiler that the YAML asks for."""

from typing import Any

import keras
import numpy as np
import pytest
from keras_operator.api import Data, Loss, Training

from model_trainer.compiling import compile_for


def compiled(**fields: Any) -> Any:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    compile_for(Training(data=Data(uri="s3://datasets/dogs"), **fields), model, 10)
    return model


@pytest.mark.parametrize("loss", [Loss.CATEGORICAL_CROSSENTROPY, Loss.CATEGORICAL_FOCAL_CROSSENTROPY])
def test_labels_are_smoothed_before_the_loss(loss: Loss):
    labels, inputs = np.array([[0.0, 1.0, 0.0]], np.float32), np.ones((1, 4), np.float32)
    smooth = labels * 0.7 + 0.3 / 3
    model = compiled(loss=loss, label_smoothing=0.3)
    plain = keras.losses.get(str(loss))(smooth, model.predict(inputs, verbose=0))
    assert model.evaluate(inputs, labels, verbose=0)[0] == pytest.approx(float(np.asarray(plain)[0]), rel=1e-5)


@pytest.mark.parametrize("wanted", [True, False])
def test_steps_are_compiled_where_that_is_asked_for(wanted: bool):
    model = compiled(jit_compile=wanted)
    assert model.jit_compile is wanted
    model.fit(np.ones((2, 4)), np.eye(3)[:2], verbose=0)
