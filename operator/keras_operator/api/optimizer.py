"""The optimizer, its parameters, and how its learning rate goes down: Keras' own, by their names there."""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from .rules import Rule
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


class ScheduleName(StrEnum):
    """Learning-rate schedules, by their class in `keras.optimizers.schedules`."""

    COSINE_DECAY = "CosineDecay"
    COSINE_DECAY_RESTARTS = "CosineDecayRestarts"
    EXPONENTIAL_DECAY = "ExponentialDecay"
    INVERSE_TIME_DECAY = "InverseTimeDecay"
    PIECEWISE_CONSTANT_DECAY = "PiecewiseConstantDecay"
    POLYNOMIAL_DECAY = "PolynomialDecay"


_O, _S = OptimizerName, ScheduleName
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

SHAPES: dict[ScheduleName, dict[str, bool]] = {
    _S.COSINE_DECAY: {"decay_epochs": True, "alpha": False, "warmup_epochs": False},
    _S.COSINE_DECAY_RESTARTS: {"decay_epochs": True, "alpha": False},
    _S.EXPONENTIAL_DECAY: {"decay_epochs": True, "decay_rate": True, "staircase": False},
    _S.INVERSE_TIME_DECAY: {"decay_epochs": True, "decay_rate": True, "staircase": False},
    _S.PIECEWISE_CONSTANT_DECAY: {"boundaries": True, "factors": True},
    _S.POLYNOMIAL_DECAY: {"decay_epochs": True, "end_learning_rate": False, "power": False, "cycle": False},
}
"""What each schedule takes, and whether it must be written."""


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


def _and(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _only_for(parameter: str, takers: tuple[OptimizerName, ...]) -> Rule:
    field = _camel(parameter)
    return Rule(
        cel=f"!has(self.{field}) || self.name in {[str(name) for name in takers]}",
        message=f"is for {_and(tuple(map(str, takers)))}: remove it, or choose one of those in name",
        holds=lambda optimizer: getattr(optimizer, parameter) is None or optimizer.name in takers,
        field=f".{field}",
    )


def _excludes(one: str, other: str) -> Rule:
    return Rule(
        cel=f"!has(self.{_camel(one)}) || !has(self.{_camel(other)})",
        message="clipnorm, clipvalue and globalClipnorm exclude each other: keep one of them",
        holds=lambda optimizer: getattr(optimizer, one) is None or getattr(optimizer, other) is None,
    )


def _of_schedule(name: ScheduleName) -> Rule:
    """One rule for each schedule: what it needs is there, and what it does not take is not."""
    shape = SHAPES[name]
    needed = tuple(field for field, must in shape.items() if must)
    others = tuple(sorted({field for each in SHAPES.values() for field in each} - shape.keys()))
    here = [f"has(self.{_camel(field)})" for field in needed]
    absent = [f"!has(self.{_camel(field)})" for field in others]

    def holds(schedule: "Schedule") -> bool:
        if schedule.name is not name:
            return True
        written = {field for field in (*needed, *others) if getattr(schedule, field) is not None}
        return written == set(needed)

    takes = _and(tuple(_camel(field) for field in needed))
    more = tuple(_camel(field) for field, must in shape.items() if not must)
    also = f", and takes {_and(more)}" if more else ""
    return Rule(
        cel=f"self.name != '{name}' || {' && '.join(here + absent)}",
        message=f"{name} needs {takes}{also}: write those, and nothing else beside name",
        holds=holds,
    )


class Schedule(Written, frozen=True, kw_only=True):
    """How the learning rate goes on from `learningRate`; times are in epochs, and it changes with every step."""

    name: Annotated[
        ScheduleName,
        Meta(description="Class name of keras.optimizers.schedules.", examples=["CosineDecay"]),
    ]
    decay_epochs: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=100_000,
                description=(
                    "Epochs that the decay takes; of CosineDecayRestarts its first period. Left out: not used."
                ),
                examples=[20],
            ),
        ]
        | None
    ) = None
    decay_rate: (
        Annotated[
            float,
            Meta(gt=0, le=1000, description="Factor of one decay, above 0. Left out: not used.", examples=[0.9]),
        ]
        | None
    ) = None
    alpha: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="Fraction of learningRate at the end, from 0 to 1. Left out: 0.",
                examples=[0.01],
            ),
        ]
        | None
    ) = None
    warmup_epochs: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=100_000,
                description="Epochs in which the rate rises from 0 to learningRate before it decays. Left out: none.",
                examples=[2],
            ),
        ]
        | None
    ) = None
    end_learning_rate: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=10,
                description="Learning rate at the end, a number above 0. Left out: 0.0001.",
                examples=[0.00001],
            ),
        ]
        | None
    ) = None
    power: (
        Annotated[
            float,
            Meta(gt=0, le=100, description="Power of the polynomial, a number above 0. Left out: 1.", examples=[2]),
        ]
        | None
    ) = None
    staircase: (
        Annotated[
            bool,
            Meta(
                description="Decay at whole multiples of decayEpochs only. Left out: with every step.", examples=[True]
            ),
        ]
        | None
    ) = None
    cycle: (
        Annotated[
            bool,
            Meta(description="Begin again after decayEpochs instead of staying. Left out: it stays.", examples=[True]),
        ]
        | None
    ) = None
    boundaries: (
        Annotated[
            tuple[Annotated[float, Meta(gt=0, le=100_000)], ...],
            Meta(
                min_length=1,
                max_length=32,
                description="Epochs after which the rate changes, rising. Left out: not used.",
                examples=[[10, 20]],
            ),
        ]
        | None
    ) = None
    factors: (
        Annotated[
            tuple[Annotated[float, Meta(gt=0, le=1000)], ...],
            Meta(
                min_length=1,
                max_length=32,
                description="The factor of learningRate from each of the boundaries on. Left out: not used.",
                examples=[[0.1, 0.01]],
            ),
        ]
        | None
    ) = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        *(_of_schedule(name) for name in ScheduleName),
        Rule(
            cel="!has(self.boundaries) || !has(self.factors) || size(self.factors) == size(self.boundaries)",
            message="must have as many numbers as boundaries: what learningRate is multiplied by after each of them",
            holds=lambda schedule: (
                schedule.boundaries is None
                or schedule.factors is None
                or len(schedule.factors) == len(schedule.boundaries)
            ),
            field=".factors",
        ),
        Rule(
            cel="!has(self.boundaries) || self.boundaries.isSorted()",
            message="must rise from one to the next: such as [10, 20]",
            holds=lambda schedule: (
                schedule.boundaries is None or list(schedule.boundaries) == sorted(schedule.boundaries)
            ),
            field=".boundaries",
        ),
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
