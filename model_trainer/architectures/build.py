"""One network by its name."""

from __future__ import annotations

from typing import Any

from keras_operator.api import ArchitectureName, smallest_image

from model_trainer.architectures.applications import build_application
from model_trainer.architectures.simple_cnn import build_simple_cnn
from model_trainer.architectures.small_cnn import build_small_cnn
from model_trainer.failure import InvalidArchitecture


def build(name: ArchitectureName, shape: tuple[int, int, int], classes: int, *, rescaled: bool = True) -> Any:
    """A keras.Model from float32 images [batch, *shape] in [0, 1] to probabilities float32 [batch, classes].

    Args:
        name: which network.
        shape: height, width and channels of an image.
        classes: number of classes, at least 2.
        rescaled: whether a network of keras.applications brings [0, 1] to what it was designed for.

    Raises:
        InvalidArchitecture: the network cannot be built for this shape.
    """
    height, width, _ = shape
    least = smallest_image(name)
    if min(height, width) < least:
        raise InvalidArchitecture(
            f"{name} needs images of at least {least} x {least} pixels, and spec.training.data.imageSize is "
            f"[{height}, {width}]. Raise imageSize, or choose SmallCNN in spec.training.architecture.name."
        )
    try:
        match name:
            case ArchitectureName.SIMPLE_CNN:
                return build_simple_cnn(shape, classes)
            case ArchitectureName.SMALL_CNN:
                return build_small_cnn(shape, classes)
            case _:
                return build_application(name, shape, classes, rescaled=rescaled)
    except ValueError as error:
        raise InvalidArchitecture(
            f"{name} cannot be built for images of {height} x {width} pixels and {classes} classes: {error}. Change "
            "spec.training.data.imageSize, or choose another spec.training.architecture.name."
        ) from error
