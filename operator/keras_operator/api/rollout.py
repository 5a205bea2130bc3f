"""How a new version gets into the pods that serve."""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from .rules import Rule
from .wire import Written

DEFAULT_MAX_SWAPS = 20


class Strategy(StrEnum):
    """Whether a new version comes with new pods, or into those that run."""

    ROLLING = "Rolling"
    HOT = "Hot"


class Rollout(Written, frozen=True, kw_only=True):
    """How a new version gets into the pods that serve."""

    strategy: Annotated[
        Strategy,
        Meta(
            description=(
                "Rolling: each version comes with new pods, and an old one goes when a new one serves. Hot: each pod "
                "loads the new version beside the old one and then unloads that, pod by pod; it takes seconds and "
                "needs no room on the nodes, but memory for two versions. Where the memory limit has no room for two, "
                "Hot is carried out as Rolling, and status.message says so."
            ),
            examples=["Hot"],
        ),
    ] = Strategy.ROLLING
    max_swaps: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=1000,
                description=(
                    "With Hot: pods in which the version was changed this often, from 1 to 1000 times, are replaced "
                    "by new ones, because a runtime does not give all memory back. Left out: 20."
                ),
                examples=[50],
            ),
        ]
        | None
    ) = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.maxSwaps) || self.strategy != 'Rolling'",
            message=(
                "maxSwaps counts changes of the version in one pod, and with strategy Rolling there are none: write "
                "strategy: Hot, or remove maxSwaps"
            ),
            holds=lambda rollout: rollout.max_swaps is None or rollout.strategy is not Strategy.ROLLING,
            field=".maxSwaps",
        ),
    )
