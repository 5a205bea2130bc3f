"""What a version must reach before it may serve."""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from .rules import Rule, ruled
from .wire import Written


class Metric(StrEnum):
    """What is measured on every version: on the test images, or (`val_`) on the validation images."""

    ACCURACY = "accuracy"
    LOSS = "loss"
    VAL_ACCURACY = "val_accuracy"
    VAL_LOSS = "val_loss"


_Bound = Annotated[float, Meta(ge=0, le=1_000_000)]


class Gate(Written, frozen=True, kw_only=True):
    """One bar that a version must reach."""

    metric: Annotated[
        Metric,
        Meta(
            description=(
                "What is measured: accuracy (a fraction) and loss on the test images, val_… on the validation images."
            ),
            examples=["accuracy"],
        ),
    ]
    min: (
        Annotated[
            _Bound,
            Meta(
                description=(
                    "The metric must be at least this number, for accuracies a fraction from 0 to 1. Left out: no "
                    "lower bound."
                ),
                examples=[0.85],
            ),
        ]
        | None
    ) = None
    max: (
        Annotated[
            _Bound,
            Meta(description="The metric must be at most this number. Left out: no upper bound.", examples=[0.5]),
        ]
        | None
    ) = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.min) || has(self.max)",
            message="min or max is missing: write for example {metric: accuracy, min: 0.85}",
            holds=lambda gate: gate.min is not None or gate.max is not None,
        ),
        Rule(
            cel="!has(self.min) || !has(self.max) || self.min <= self.max",
            message="min must not be above max, or no version could ever meet this gate: lower min or raise max",
            holds=lambda gate: gate.min is None or gate.max is None or gate.min <= gate.max,
        ),
        Rule(
            cel=(
                "!(self.metric in ['accuracy', 'val_accuracy']) || "
                "((!has(self.min) || self.min <= 1.0) && (!has(self.max) || self.max <= 1.0))"
            ),
            message="an accuracy is a fraction from 0 to 1: write 0.85 for 85 %",
            holds=lambda gate: (
                gate.metric not in {Metric.ACCURACY, Metric.VAL_ACCURACY}
                or all(bound is None or bound <= 1 for bound in (gate.min, gate.max))
            ),
        ),
    )


def _meet_together(gates: tuple[Gate, ...]) -> bool:
    return not any(
        one.metric is other.metric and one.min is not None and other.max is not None and one.min > other.max
        for one in gates
        for other in gates
        if one is not other
    )


_MEET_TOGETHER = Rule(
    # A gate that contradicts itself has a sentence of its own.
    cel=(
        "self.all(one, !has(one.min) || has(one.max) && one.min > one.max || self.all(other, "
        "one.metric != other.metric || !has(other.max) || has(other.min) && other.min > other.max || "
        "one.min <= other.max))"
    ),
    message=(
        "two gates for one metric contradict each other, the min of one being above the max of the other: no version "
        "could ever meet both, so lower the min or raise the max"
    ),
    holds=_meet_together,
)


class Evaluation(Written, frozen=True, kw_only=True):
    """What a trained version must reach before it is exported and may serve."""

    gates: Annotated[
        tuple[Gate, ...],
        Meta(
            max_length=16,
            description=(
                "Every gate must be met, or the version is rejected and what serves goes on serving; at most 16. "
                "Left out: every version may serve."
            ),
            examples=[[{"metric": "accuracy", "min": 0.85}]],
            extra=ruled(_MEET_TOGETHER),
        ),
    ] = ()
