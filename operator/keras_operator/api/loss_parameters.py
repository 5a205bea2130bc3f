"""The parameters of a loss, by their names in Keras."""

from typing import Annotated

from msgspec import Meta

from .losses import Loss, named
from .names import camel, listed
from .rules import Rule
from .wire import Written

TAKERS = {
    "alpha": (Loss.BINARY_FOCAL_CROSSENTROPY, Loss.CATEGORICAL_FOCAL_CROSSENTROPY, Loss.TVERSKY),
    "gamma": (Loss.BINARY_FOCAL_CROSSENTROPY, Loss.CATEGORICAL_FOCAL_CROSSENTROPY),
    "apply_class_balancing": (Loss.BINARY_FOCAL_CROSSENTROPY,),
    "beta": (Loss.TVERSKY,),
    "q": (Loss.CATEGORICAL_GENERALIZED_CROSS_ENTROPY,),
    "delta": (Loss.HUBER,),
}
"""Which losses take a parameter."""


class LossParameters(Written, frozen=True, kw_only=True):
    """What is left out is as in Keras."""

    alpha: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1,
                description=(
                    "Factor of a focal loss, or alpha of tversky, above 0 and at most 1. Left out: 0.25; of tversky "
                    "0.5."
                ),
                examples=[0.5],
            ),
        ]
        | None
    ) = None
    gamma: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=100,
                description=(
                    "Number of a focal loss by which what is learned already counts less, 0 and up; with 0 all counts "
                    "the same. Left out: 2."
                ),
                examples=[3],
            ),
        ]
        | None
    ) = None
    apply_class_balancing: (
        Annotated[
            bool,
            Meta(
                description="Whether alpha weighs the labels of binary_focal_crossentropy. Left out: false.",
                examples=[True],
            ),
        ]
        | None
    ) = None
    beta: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1,
                description="Beta of tversky, a number above 0 and at most 1. Left out: 0.5.",
                examples=[0.3],
            ),
        ]
        | None
    ) = None
    q: (
        Annotated[
            float,
            Meta(
                gt=0,
                lt=1,
                description=(
                    "Number between 0 and 1 by which categorical_generalized_cross_entropy goes from cross-entropy to "
                    "absolute error, which wrong labels harm less. Left out: 0.5."
                ),
                examples=[0.7],
            ),
        ]
        | None
    ) = None
    delta: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1000,
                description=(
                    "Error in standard deviations of the training rows from which on huber counts it by itself and no "
                    "longer by its square. Left out: 1."
                ),
                examples=[1.5],
            ),
        ]
        | None
    ) = None


def _only_for(parameter: str, losses: tuple[Loss, ...]) -> Rule:
    field = camel(parameter)
    return Rule(
        cel=f"!has(self.lossParameters) || !has(self.lossParameters.{field}) || "
        f"has(self.loss) && self.loss in {named(losses)}",
        message=(
            f"is a parameter of {listed(losses)}: remove it, or write "
            f"{'that' if len(losses) == 1 else 'one of those'} in loss"
        ),
        holds=lambda training: (
            training.loss_parameters is None
            or getattr(training.loss_parameters, parameter) is None
            or training.loss in losses
        ),
        field=f".lossParameters.{field}",
    )


RULES_OF_LOSS = tuple(_only_for(parameter, losses) for parameter, losses in TAKERS.items())
"""Of a training."""
