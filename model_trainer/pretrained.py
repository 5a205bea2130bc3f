"""The weights that networks of keras.applications have from ImageNet, and how many of their layers learn on."""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np
from keras_operator.api import ArchitectureName

from model_trainer.architectures.applications import takes_bgr
from model_trainer.failure import WeightsUnreachable
from model_trainer.weights import Array, fit, slots_of

log = logging.getLogger(__name__)


def start_from_imagenet(name: ArchitectureName, model: Any) -> str:
    """Give `model`, which `build` made, the weights that Keras downloads for it; returns what was taken over.

    The last layer begins anew, unless the data has as many classes as ImageNet, 1,000. Weights that were trained on
    blue before red get their first convolution's channels turned, because every network here takes red first.

    Raises:
        WeightsUnreachable: they cannot be downloaded.
        BadModelFile: they do not fit, because the network's dense layers depend on the size of the image.
    """
    try:
        theirs = getattr(keras.applications, name)(weights="imagenet")
    except Exception as error:  # whatever urllib and HDF5 raise
        cause = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise WeightsUnreachable(
            f"The ImageNet weights of {name} cannot be downloaded ({cause.rstrip('.')}). Let the pod reach that "
            "address, or put them into the store and name them in spec.training.initialWeights.uri instead of "
            "architecture.weights."
        ) from error
    arrays = [Array(slot.layer, np.asarray(slot.variable)) for slot in slots_of(theirs)]
    if takes_bgr(name):
        arrays[0] = Array(arrays[0].layer, arrays[0].values[:, :, ::-1, :])
    return fit(model, arrays, "ImageNet")


def freeze_all_but(layers: int, model: Any) -> str:
    """Let only the last so many layers with weights learn; returns what was frozen.

    Batch normalisation that is frozen uses the means that it came with.
    """
    learned = [layer for layer in leaves(model) if layer.weights]
    frozen = learned[:-layers]
    for layer in frozen:
        layer.trainable = False
    return f"{len(frozen)} of {len(learned)} layers with weights are frozen"


def leaves(model: Any) -> list[Any]:
    """The layers of a network, those of models within it in their place."""
    return [leaf for layer in model.layers for leaf in (leaves(layer) if hasattr(layer, "layers") else [layer])]
