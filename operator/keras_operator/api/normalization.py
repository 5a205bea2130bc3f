"""What a network does to pixels before anything else: what Keras' `ImageDataGenerator` calls standardizing."""

from typing import Annotated

import msgspec
from msgspec import Meta

from .wire import Written


class Normalization(Written, frozen=True, kw_only=True):
    """Changes to every image that the network sees, in this order; what is left out is off.

    They are part of the network, so training, test, both signatures and each file of the model have them.
    """

    rescale: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1000,
                description=(
                    "Factor of the levels from 0 to 255 before all else; what the model takes stays 0 to 1. Left out: "
                    "1/255."
                ),
                examples=[1],
            ),
        ]
        | None
    ) = None
    samplewise_center: Annotated[bool, Meta(description="Take an image's own mean away from it.", examples=[True])] = (
        False
    )
    samplewise_std_normalization: Annotated[
        bool,
        Meta(
            description="Take an image's own mean away and divide by its own standard deviation.",
            examples=[True],
        ),
    ] = False
    featurewise_center: Annotated[
        bool, Meta(description="Take away each channel's mean over the training images.", examples=[True])
    ] = False
    featurewise_std_normalization: Annotated[
        bool,
        Meta(
            description=(
                "Take away each channel's mean over the training images and divide by its standard deviation over them."
            ),
            examples=[True],
        ),
    ] = False

    zca_whitening: Annotated[
        bool,
        Meta(
            description=(
                "Take away each channel's mean over the training images, and let no pixel's level tell of another's "
                "among them (ZCA), in place of featurewiseStdNormalization; for images of up to 3072 levels, such as "
                "32 by 32 in three channels."
            ),
            examples=[True],
        ),
    ] = False
    zca_epsilon: Annotated[
        float,
        Meta(
            gt=0,
            le=1_000_000,
            description=(
                "What zcaWhitening adds to each singular value of all training images together before it divides by it."
            ),
            examples=[0.1],
        ),
    ] = 0.000001

    @property
    def is_off(self) -> bool:
        """Whether the network sees levels from 0 to 1 as they are."""
        return msgspec.structs.replace(self, zca_epsilon=Normalization().zca_epsilon) == Normalization()
