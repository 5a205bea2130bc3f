"""A new version on some pods first, compared with the one that serves on the others."""

from enum import StrEnum
from math import ceil
from typing import Annotated

import msgspec
from msgspec import Meta

from .canary_queries import EACH_HAS_A_NAME_OF_ITS_OWN, CanaryQuery
from .rules import fully_matches, ruled
from .wire import Written

MANUAL = "manual"
_UNITS = {"s": 1, "m": 60, "h": 3600}


def hold_seconds(hold: str) -> int | None:
    """Seconds of a hold such as `5m`; None for one that waits for a person."""
    return None if hold == MANUAL else int(hold[:-1]) * _UNITS[hold[-1]]


def pods_of(share: str, pods: int) -> int:
    """How many pods `10%` or `2` of so many are: one at least, and one stays with the other version."""
    return max(1, min(_count(share, pods), pods - 1))


def pods_beside(share: str, pods: int) -> int:
    """How many pods `10%` or `2` mean beside so many that stay: one at least, and no more than those."""
    return max(1, min(_count(share, pods), pods))


def _count(share: str, pods: int) -> int:
    return ceil(pods * int(share[:-1]) / 100) if share.endswith("%") else int(share)


class Using(StrEnum):
    """Where a version is tried: in pods that serve, or in pods of its own."""

    HOT = "Hot"
    ROLLING = "Rolling"


class CanaryStep(Written, frozen=True, kw_only=True):
    """So many pods, for so long."""

    pods: Annotated[
        str,
        Meta(
            max_length=4,
            description=(
                "Pods that get the new version, as a percentage (rounded up) or a number in quotes; at least one, and "
                "at least one keeps the old version. Using Rolling: that many come beside those that serve, at most as "
                "many again."
            ),
            examples=["10%"],
            extra=ruled(
                fully_matches(
                    "[1-9][0-9]?%|[1-9][0-9]{0,2}",
                    'must be a percentage from 1% to 99% or a number of pods in quotes: write 10% or "2"',
                )
            ),
        ),
    ]
    hold: Annotated[
        str,
        Meta(
            max_length=8,
            description=(
                "How long it stays so before the next step, in seconds, minutes or hours, and until minRequests were "
                "answered; manual: until the model is annotated with keras-operator.dev/promote: <version>."
            ),
            examples=["5m"],
            extra=ruled(
                fully_matches(
                    "manual|[1-9][0-9]{0,3}[smh]",
                    "must be a whole number of seconds, minutes or hours, or manual: write 30s, 5m, 2h or manual",
                )
            ),
        ),
    ]


class PredictionDrift(Written, frozen=True, kw_only=True):
    """How far apart the classes may be that both versions predict."""

    max_distance: Annotated[
        float,
        Meta(
            ge=0.0,
            le=1.0,
            description=(
                "Fraction of the predictions, from 0 to 1, that may be of other classes than the old version's, beyond "
                "what chance brings about (total variation distance)."
            ),
            examples=[0.1],
        ),
    ] = 0.2
    min_predictions: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Number of predictions, from 1 to 1000000, that either version makes before it is judged.",
            examples=[1000],
        ),
    ] = 200


class Analysis(Written, frozen=True, kw_only=True):
    """When a new version is worse than the old one, by what both answered since the step began."""

    min_requests: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="Number of requests, from 0 to 1000000, that the new version answers before it is judged.",
            examples=[500],
        ),
    ] = 100
    max_error_increase: Annotated[
        float,
        Meta(
            ge=0.0,
            le=1.0,
            description=(
                "By how much the fraction of requests with errors, from 0 to 1, may be above the old version's."
            ),
            examples=[0.005],
        ),
    ] = 0.01
    latency_percentile: Annotated[
        int,
        Meta(
            ge=50,
            le=99,
            description="Which percentile of the latencies is compared, from 50 (the median) to 99 percent.",
            examples=[99],
        ),
    ] = 95
    max_latency_ratio: Annotated[
        float,
        Meta(
            ge=1.0,
            le=100.0,
            description="How many times the old version's latency that of the new version may be, from 1 to 100.",
            examples=[1.5],
        ),
    ] = 2.0
    prediction_drift: (
        Annotated[
            PredictionDrift,
            Meta(
                description=(
                    "Take the new version back, too, if it predicts other classes; needs the runtime KerasServer and a "
                    "model with names of classes. Left out: classes are not compared."
                ),
                examples=[{"maxDistance": 0.1}],
            ),
        ]
        | None
    ) = None
    queries: Annotated[
        tuple[CanaryQuery, ...],
        Meta(
            max_length=5,
            description=(
                "Take the new version back, too, if a number of Prometheus is out of its bounds; the operator must "
                "have been started with --prometheus-url. Left out: Prometheus is not asked."
            ),
            examples=[[{"name": "queue", "query": 'max(queue_length{pod=~"{{pods}}"})', "max": 20}]],
            extra=ruled(EACH_HAS_A_NAME_OF_ITS_OWN),
        ),
    ] = ()


class Canary(Written, frozen=True, kw_only=True):
    """Steps on the way of a new version, and what takes it back."""

    using: Annotated[
        Using,
        Meta(
            description=(
                "Hot: the new version is loaded into pods that serve, beside the old one. Rolling: no pod holds two "
                "versions; it comes in pods of its own, of Deployment <name>-canary, and goes to all as by strategy "
                "Rolling."
            ),
            examples=["Rolling"],
        ),
    ] = Using.HOT
    steps: Annotated[
        tuple[CanaryStep, ...],
        Meta(
            min_length=1,
            max_length=10,
            description="The steps; after the last one the version goes to all pods.",
            examples=[[{"pods": "10%", "hold": "5m"}, {"pods": "50%", "hold": "manual"}]],
        ),
    ]
    analysis: Annotated[
        Analysis,
        Meta(
            description="When the new version is worse than the old one and is taken back. Left out: its defaults.",
            examples=[{"maxErrorIncrease": 0.005}],
        ),
    ] = msgspec.field(default_factory=Analysis)
