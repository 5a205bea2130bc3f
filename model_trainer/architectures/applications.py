"""The networks of keras.applications behind the same input as every other network here.

Each family was designed for its own scale of inputs. The rescaling from [0, 1] is the model's first layer, so that a
served model always takes [0, 1], and weights that were trained elsewhere would see what they expect. What families that
normalise by ImageNet's statistics do about the order of channels (BGR) is left out: from random weights the first
convolution learns either order, and ImageNet's weights are turned (`model_trainer.pretrained`).
"""

from __future__ import annotations

from typing import Any

import keras
from keras_operator.api import ArchitectureName

_RED_GREEN_BLUE = 3

# keras.src.applications.imagenet_utils, modes "tf", "torch" and "caffe"; "whole" is 0..255 for the families that
# rescale in their own first layer (include_preprocessing).
_TF: dict[str, Any] = {"scale": 2.0, "offset": -1.0}
_TORCH: dict[str, Any] = {
    "scale": [1 / 0.229, 1 / 0.224, 1 / 0.225],
    "offset": [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225],
}
_CAFFE: dict[str, Any] = {"scale": 255.0, "offset": [-123.68, -116.779, -103.939]}
_WHOLE: dict[str, Any] = {"scale": 255.0, "offset": 0.0}

# The first prefix that fits decides, so the longer ones come first.
_RESCALING = {
    "ConvNeXt": _WHOLE,
    "DenseNet": _TORCH,
    "EfficientNet": _WHOLE,
    "Inception": _TF,
    "MobileNetV3": _WHOLE,
    "MobileNet": _TF,
    "NASNet": _TF,
    "ResNet": _CAFFE,
    "VGG": _CAFFE,
    "Xception": _TF,
}


def rescaling(name: ArchitectureName) -> dict[str, Any]:
    """Arguments of the keras.layers.Rescaling that takes [0, 1] to what this network was designed for."""
    if name.startswith("ResNet") and name.endswith("V2"):
        return _TF
    return next(arguments for prefix, arguments in _RESCALING.items() if name.startswith(prefix))


def takes_bgr(name: ArchitectureName) -> bool:
    """Whether its ImageNet weights were trained on blue before red (mode "caffe")."""
    return rescaling(name) is _CAFFE


def build_application(name: ArchitectureName, shape: tuple[int, int, int], classes: int, *, rescaled: bool) -> Any:
    """See `build`. Grey images are repeated to three channels, because several families normalise three.

    Raises:
        ValueError: Keras's own sentence, where it refuses the shape.
    """
    height, width, channels = shape
    inputs = keras.Input(shape, name="images")
    colours = inputs if channels == _RED_GREEN_BLUE else keras.layers.Concatenate()([inputs] * _RED_GREEN_BLUE)
    network = getattr(keras.applications, name)(
        weights=None, input_shape=(height, width, _RED_GREEN_BLUE), classes=classes, classifier_activation="softmax"
    )
    outputs = network(keras.layers.Rescaling(**rescaling(name))(colours) if rescaled else colours)
    return keras.Model(inputs, outputs, name=str(name))
