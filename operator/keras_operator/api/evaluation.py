"""What a version must reach before it may serve."""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from .rules import Rule, ruled
from .wire import Written


class Metric(StrEnum):
    """What is measured on every version: on the test images, or (`val_`) on the validation images."""

    ACCURACY = "accuracy"
    ACCURACY_LOW = "accuracy_low"
    TOP_5_ACCURACY = "top_5_accuracy"
    MACRO_F1 = "macro_f1"
    ECE = "ece"
    LOSS = "loss"
    VAL_ACCURACY = "val_accuracy"
    VAL_LOSS = "val_loss"


_LOSSES = (Metric.LOSS, Metric.VAL_LOSS)
_FRACTIONS = tuple(metric for metric in Metric if metric not in _LOSSES)

_Bound = Annotated[float, Meta(ge=0, le=1_000_000)]


class Gate(Written, frozen=True, kw_only=True):
    """One bar that a version must reach."""

    metric: Annotated[
        Metric,
        Meta(
            description=(
                "What is measured on the test images: accuracy, accuracy_low (the lower end of its 95 % confidence "
                "interval), top_5_accuracy (with six classes or more), macro_f1 (the mean F1 of the classes), ece (the "
                "expected calibration error) and loss; or on the validation images: val_accuracy and val_loss. All but "
                "the losses are fractions."
            ),
            examples=["accuracy"],
        ),
    ]
    min: (
        Annotated[
            _Bound,
            Meta(
                description=(
                    "The metric must be at least this number, from 0 to 1 for all but losses. Left out: no lower bound."
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
                f"!(self.metric in {[str(metric) for metric in _FRACTIONS]}) || "
                "((!has(self.min) || self.min <= 1.0) && (!has(self.max) || self.max <= 1.0))"
            ),
            message="this metric is a fraction from 0 to 1: write 0.85 for 85 %",
            holds=lambda gate: (
                gate.metric not in _FRACTIONS or all(bound is None or bound <= 1 for bound in (gate.min, gate.max))
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
