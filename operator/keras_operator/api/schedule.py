"""How the learning rate goes down: Keras' own schedules, by their names there."""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from .names import camel, listed
from .rules import Rule
from .wire import Written


class ScheduleName(StrEnum):
    """Learning-rate schedules, by their class in `keras.optimizers.schedules`."""

    COSINE_DECAY = "CosineDecay"
    COSINE_DECAY_RESTARTS = "CosineDecayRestarts"
    EXPONENTIAL_DECAY = "ExponentialDecay"
    INVERSE_TIME_DECAY = "InverseTimeDecay"
    PIECEWISE_CONSTANT_DECAY = "PiecewiseConstantDecay"
    POLYNOMIAL_DECAY = "PolynomialDecay"


_S = ScheduleName

SHAPES: dict[ScheduleName, dict[str, bool]] = {
    _S.COSINE_DECAY: {"decay_epochs": True, "alpha": False, "warmup_epochs": False},
    _S.COSINE_DECAY_RESTARTS: {"decay_epochs": True, "alpha": False},
    _S.EXPONENTIAL_DECAY: {"decay_epochs": True, "decay_rate": True, "staircase": False},
    _S.INVERSE_TIME_DECAY: {"decay_epochs": True, "decay_rate": True, "staircase": False},
    _S.PIECEWISE_CONSTANT_DECAY: {"boundaries": True, "factors": True},
    _S.POLYNOMIAL_DECAY: {"decay_epochs": True, "end_learning_rate": False, "power": False, "cycle": False},
}
"""What each schedule takes, and whether it must be written."""


def _of_schedule(name: ScheduleName) -> Rule:
    """One rule for each schedule: what it needs is there, and what it does not take is not."""
    shape = SHAPES[name]
    needed = tuple(field for field, must in shape.items() if must)
    others = tuple(sorted({field for each in SHAPES.values() for field in each} - shape.keys()))
    here = [f"has(self.{camel(field)})" for field in needed]
    absent = [f"!has(self.{camel(field)})" for field in others]

    def holds(schedule: "Schedule") -> bool:
        if schedule.name is not name:
            return True
        written = {field for field in (*needed, *others) if getattr(schedule, field) is not None}
        return written == set(needed)

    takes = listed(tuple(camel(field) for field in needed))
    more = tuple(camel(field) for field, must in shape.items() if not must)
    also = f", and takes {listed(more)}" if more else ""
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
