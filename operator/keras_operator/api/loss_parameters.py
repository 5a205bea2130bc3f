"""The parameters of a loss, by their names in Keras."""

from typing import Annotated

from msgspec import Meta

from .names import camel
from .rules import Rule
from .wire import Written

TAKERS = {"alpha": "categorical_focal_crossentropy", "gamma": "categorical_focal_crossentropy"}
"""Which loss takes a parameter."""


class LossParameters(Written, frozen=True, kw_only=True):
    """What is left out is as in Keras."""

    alpha: (
        Annotated[
            float,
            Meta(
                gt=0, le=1, description="Factor of a focal loss, above 0 and at most 1. Left out: 0.25.", examples=[0.5]
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


def _only_for(parameter: str, loss: str) -> Rule:
    field = camel(parameter)
    return Rule(
        cel=f"!has(self.lossParameters) || !has(self.lossParameters.{field}) || "
        f"has(self.loss) && self.loss == '{loss}'",
        message=f"is a parameter of {loss}: remove it, or write that in loss",
        holds=lambda training: (
            training.loss_parameters is None
            or getattr(training.loss_parameters, parameter) is None
            or str(training.loss) == loss
        ),
        field=f".lossParameters.{field}",
    )


RULES_OF_LOSS = tuple(_only_for(parameter, loss) for parameter, loss in TAKERS.items())
"""Of a training."""
