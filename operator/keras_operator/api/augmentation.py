"""Random changes to training images: what Keras' `ImageDataGenerator` has, and what came after it."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from .rules import Rule, ruled
from .wire import Written


class FillMode(StrEnum):
    """What is seen beyond the edge of a picture that was moved."""

    NEAREST = "nearest"
    CONSTANT = "constant"
    REFLECT = "reflect"
    WRAP = "wrap"


_LOW_AND_HIGH = Rule(
    cel="size(self) == 2 && self[0] <= self[1]",
    message="must be two numbers, the least and the most: such as [0.8, 1.2]",
    holds=lambda pair: pair[0] <= pair[1],
)


def _pair(least: float, most: float, description: str, example: list[float]) -> Any:
    """The Meta of an optional [low, high], each from `least` to `most`."""
    within = Rule(
        cel=f"self.all(one, one >= {least} && one <= {most:.1f})",
        message=f"must be numbers from {least:g} to {most:g}, where 1 leaves a picture as it is: such as {example}",
        holds=lambda pair: all(least <= one <= most for one in pair),
    )
    return Meta(
        description=f"{description}, [low, high], each from {least:g} to {most:g}. Left out: as it is.",
        examples=[example],
        extra=ruled(_LOW_AND_HIGH, within),
        # Room for a mistake, so that the rule answers it with a sentence.
        extra_json_schema={"minItems": 0, "maxItems": 16},
    )


def _shift(way: str, side: str) -> Any:
    """The Meta of a shift, in the units of `ImageDataGenerator`."""
    return Meta(
        ge=0,
        # The largest imageSize.
        le=1024,
        description=(
            f"Shift {way}: below 1 by up to this fraction of the {side}; from 1 on by up to so many pixels, and from 2 "
            "on, where it is a whole number, by fewer whole ones."
        ),
        examples=[0.2],
    )


class RandAugment(Written, frozen=True, kw_only=True):
    """RandAugment (Cubuk et al. 2019): so many of 14 operations for each image, drawn anew each time."""

    layers: Annotated[
        int,
        Meta(
            ge=1,
            le=4,
            description="Number of operations for each image, one after the other, from 1 to 4.",
            examples=[3],
        ),
    ] = 2
    magnitude: Annotated[
        int,
        Meta(
            ge=0,
            le=10,
            description=(
                "How strong each operation is, a number from 0 to 10: at 10 a rotation is by 30 degrees, a shift by "
                "45 % of the side, a shear by 0.3."
            ),
            examples=[5],
        ),
    ] = 9


class Augmentation(Written, frozen=True, kw_only=True):
    """Random changes to the training images; what is left out is off."""

    rotation: Annotated[
        float,
        Meta(ge=0, le=180, description="Turn by up to so many degrees, from 0 to 180, either way.", examples=[20]),
    ] = 0.0
    width_shift: Annotated[float, _shift("sideways", "width")] = 0.0
    height_shift: Annotated[float, _shift("up or down", "height")] = 0.0
    shear: Annotated[float, Meta(ge=0, lt=90, description="Shear by up to so many degrees.", examples=[10])] = 0.0
    zoom: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description=(
                "Zoom in or out by up to this fraction of the size, width and height apart from each other: 0.2 is the "
                "zoomRange [0.8, 1.2]."
            ),
            examples=[0.2],
        ),
    ] = 0.0
    zoom_range: (
        Annotated[
            tuple[float, float],
            _pair(
                0.1,
                10,
                "Instead of zoom: the fraction of the picture that is seen, width and height apart from each other "
                "(below 1 it looks larger, above 1 smaller)",
                [0.5, 1.0],
            ),
        ]
        | None
    ) = None
    channel_shift: Annotated[
        float,
        Meta(
            ge=0,
            le=255,
            description=(
                "Add a number of up to so many of 255 levels to every channel, or take it away, within the picture's "
                "own darkest and brightest level."
            ),
            examples=[20],
        ),
    ] = 0.0
    brightness: (
        Annotated[
            tuple[float, float], _pair(0.0, 10, "Factor of every level: below 1 darker, above 1 brighter", [0.8, 1.2])
        ]
        | None
    ) = None
    contrast: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description=(
                "Change contrast by a factor from 1 minus to 1 plus this number, about each channel's mean (Keras' "
                "RandomContrast)."
            ),
            examples=[0.2],
        ),
    ] = 0.0
    horizontal_flip: Annotated[bool, Meta(description="Mirror left and right, at random.", examples=[True])] = False
    vertical_flip: Annotated[bool, Meta(description="Mirror top and bottom, at random.", examples=[True])] = False
    fill_mode: Annotated[
        FillMode,
        Meta(
            description=(
                "What is seen beyond the edge of a picture that was moved: its edge (nearest), one level (constant), "
                "its mirror image (reflect) or the picture again (wrap)."
            ),
            examples=["reflect"],
        ),
    ] = FillMode.NEAREST
    fill_value: Annotated[
        float,
        Meta(ge=0, le=255, description="The level, a number from 0 to 255, of fillMode constant.", examples=[128]),
    ] = 0.0
    cutout: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description=(
                "Blacken a rectangle whose sides are this fraction of the picture's, its centre anywhere in the "
                "picture (Cutout, DeVries and Taylor 2017)."
            ),
            examples=[0.25],
        ),
    ] = 0.0
    mixup: Annotated[
        float,
        Meta(
            ge=0,
            le=10,
            description=(
                "Blend each image, and its label, with another of its batch by a number drawn from Beta(mixup, mixup) "
                "(mixup, Zhang et al. 2017). With cutmix, too, each image gets one of the two."
            ),
            examples=[0.2],
        ),
    ] = 0.0
    cutmix: Annotated[
        float,
        Meta(
            ge=0,
            le=10,
            description=(
                "Put a rectangle of another one of its images into each image of a batch, and mix the labels by area; "
                "the part that is kept is drawn from Beta(cutmix, cutmix) (CutMix, Yun et al. 2019)."
            ),
            examples=[1.0],
        ),
    ] = 0.0
    rand_augment: (
        Annotated[
            RandAugment,
            Meta(
                description="RandAugment, on what the fields above cutout have made. Left out: none.",
                examples=[{"layers": 2, "magnitude": 9}],
            ),
        ]
        | None
    ) = None

    @property
    def moves(self) -> bool:
        """Whether anything can be seen beyond a picture's edge."""
        within = (self.rotation, self.width_shift, self.height_shift, self.shear, self.zoom)
        return any(within) or self.zoom_range is not None or self.rand_augment is not None

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.zoomRange) || self.zoom == 0.0",
            message="zoom and zoomRange say the same thing twice: write one of them (zoom 0.2 is zoomRange [0.8, 1.2])",
            holds=lambda augmentation: augmentation.zoom_range is None or not augmentation.zoom,
            field=".zoomRange",
        ),
        Rule(
            cel="!has(self.fillValue) || self.fillValue == 0.0 || self.fillMode == 'constant'",
            message="is only seen with fillMode constant: write fillMode: constant, or leave fillValue out",
            holds=lambda augmentation: not augmentation.fill_value or augmentation.fill_mode is FillMode.CONSTANT,
            field=".fillValue",
        ),
        Rule(
            cel=(
                "!has(self.fillMode) || self.fillMode == 'nearest' || has(self.zoomRange) || "
                "has(self.randAugment) || "
                "[self.rotation, self.widthShift, self.heightShift, self.shear, self.zoom].exists(one, one > 0.0)"
            ),
            message=(
                "says what is seen beyond the edge of a picture that was moved, and nothing moves one: add rotation, "
                "widthShift, heightShift, shear, zoom or randAugment, or leave fillMode out"
            ),
            holds=lambda augmentation: augmentation.fill_mode is FillMode.NEAREST or augmentation.moves,
            field=".fillMode",
        ),
    )
