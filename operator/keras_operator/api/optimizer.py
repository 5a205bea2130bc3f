"""The optimizer and its parameters: Keras' own, by their names there."""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from .names import camel, listed
from .rules import Rule
from .schedule import Schedule
from .wire import Written


class OptimizerName(StrEnum):
    """Optimizers of Keras: their classes' names in small letters."""

    ADADELTA = "adadelta"
    ADAFACTOR = "adafactor"
    ADAGRAD = "adagrad"
    ADAM = "adam"
    ADAMAX = "adamax"
    ADAMW = "adamw"
    FTRL = "ftrl"
    LAMB = "lamb"
    LION = "lion"
    MUON = "muon"
    NADAM = "nadam"
    RMSPROP = "rmsprop"
    SGD = "sgd"


_O = OptimizerName
_WITH_BETAS = (_O.ADAM, _O.ADAMAX, _O.ADAMW, _O.LAMB, _O.LION, _O.NADAM)

TAKERS: dict[str, tuple[OptimizerName, ...]] = {
    "momentum": (_O.MUON, _O.RMSPROP, _O.SGD),
    "nesterov": (_O.MUON, _O.SGD),
    "beta_1": _WITH_BETAS,
    "beta_2": _WITH_BETAS,
    "epsilon": (_O.ADADELTA, _O.ADAGRAD, _O.ADAM, _O.ADAMAX, _O.ADAMW, _O.LAMB, _O.MUON, _O.NADAM, _O.RMSPROP),
    "rho": (_O.ADADELTA, _O.RMSPROP),
    "amsgrad": (_O.ADAM, _O.ADAMW),
    "centered": (_O.RMSPROP,),
}
"""Which optimizers take a parameter; those that are not named here take it all."""


def _only_for(parameter: str, takers: tuple[OptimizerName, ...]) -> Rule:
    field = camel(parameter)
    return Rule(
        cel=f"!has(self.{field}) || self.name in {[str(name) for name in takers]}",
        message=f"is for {listed(tuple(map(str, takers)))}: remove it, or choose one of those in name",
        holds=lambda optimizer: getattr(optimizer, parameter) is None or optimizer.name in takers,
        field=f".{field}",
    )


def _excludes(one: str, other: str) -> Rule:
    return Rule(
        cel=f"!has(self.{camel(one)}) || !has(self.{camel(other)})",
        message="clipnorm, clipvalue and globalClipnorm exclude each other: keep one of them",
        holds=lambda optimizer: getattr(optimizer, one) is None or getattr(optimizer, other) is None,
    )


class Optimizer(Written, frozen=True, kw_only=True):
    """The optimizer; what is left out is as in Keras."""

    name: Annotated[OptimizerName, Meta(description="Name of a Keras optimizer.", examples=["sgd"])] = (
        OptimizerName.ADAM
    )
    learning_rate: Annotated[
        float,
        Meta(
            gt=0,
            le=10,
            description="Learning rate: the factor of each step, above 0 and at most 10.",
            examples=[0.0005],
        ),
    ] = 0.001
    schedule: (
        Annotated[
            Schedule,
            Meta(
                description="How the learning rate goes on. Left out: it stays as it is.",
                examples=[{"name": "CosineDecay", "decayEpochs": 20}],
            ),
        ]
        | None
    ) = None
    weight_decay: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="Fraction by which weights shrink with each step, from 0 to 1. Left out: as in Keras.",
                examples=[0.004],
            ),
        ]
        | None
    ) = None
    clipnorm: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1_000_000,
                description="Largest norm of each gradient, a number above 0. Left out: any.",
                examples=[1],
            ),
        ]
        | None
    ) = None
    clipvalue: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1_000_000,
                description="Largest number in a gradient, above 0. Left out: any.",
                examples=[0.5],
            ),
        ]
        | None
    ) = None
    global_clipnorm: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1_000_000,
                description="Largest norm of all gradients together, a number above 0. Left out: any.",
                examples=[1],
            ),
        ]
        | None
    ) = None
    momentum: (
        Annotated[
            float,
            Meta(
                ge=0,
                lt=1,
                description="Fraction of the last step that goes on, from 0 to below 1. Left out: as in Keras.",
                examples=[0.9],
            ),
        ]
        | None
    ) = None
    nesterov: (
        Annotated[bool, Meta(description="Nesterov's momentum. Left out: as in Keras.", examples=[True])] | None
    ) = None
    beta_1: (
        Annotated[
            float,
            Meta(
                ge=0,
                lt=1,
                description="Fraction of the mean of gradients that goes on. Left out: as in Keras.",
                examples=[0.9],
            ),
        ]
        | None
    ) = None
    beta_2: (
        Annotated[
            float,
            Meta(
                ge=0,
                lt=1,
                description="Fraction of the mean of squared gradients that goes on. Left out: as in Keras.",
                examples=[0.99],
            ),
        ]
        | None
    ) = None
    epsilon: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1,
                description="Number that keeps a division from being by 0, above 0. Left out: as in Keras.",
                examples=[0.00001],
            ),
        ]
        | None
    ) = None
    rho: (
        Annotated[
            float,
            Meta(
                ge=0,
                lt=1,
                description="Fraction of the mean of squared gradients that goes on. Left out: as in Keras.",
                examples=[0.9],
            ),
        ]
        | None
    ) = None
    amsgrad: (
        Annotated[bool, Meta(description="The AMSGrad variant. Left out: as in Keras.", examples=[True])] | None
    ) = None
    centered: (
        Annotated[bool, Meta(description="Divide by the gradients' variance. Left out: as in Keras.", examples=[True])]
        | None
    ) = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        *(_only_for(parameter, takers) for parameter, takers in TAKERS.items()),
        _excludes("clipnorm", "clipvalue"),
        _excludes("clipnorm", "global_clipnorm"),
        _excludes("clipvalue", "global_clipnorm"),
    )
