"""How a new version gets into the pods that serve."""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from .canary import Canary, Using
from .rules import Rule
from .wire import Written

DEFAULT_MAX_SWAPS = 20


class Strategy(StrEnum):
    """Whether a new version comes with new pods, or into those that run."""

    ROLLING = "Rolling"
    HOT = "Hot"
    CANARY = "Canary"


class SignatureChange(StrEnum):
    """Whether a version may take other inputs than the one that serves."""

    DENY = "Deny"
    ALLOW = "Allow"


class Rollout(Written, frozen=True, kw_only=True):
    """How a new version gets into the pods that serve."""

    strategy: Annotated[
        Strategy,
        Meta(
            description=(
                "Rolling: each version comes with new pods, and an old one goes when a new one serves. Hot: each pod "
                "loads the new version beside the old one and then unloads that, pod by pod; it takes seconds and "
                "needs no room on the nodes, but memory for two versions. Where the memory limit has no room for two, "
                "Hot is carried out as Rolling, and status.message says so. Canary: as Hot, in steps, with a "
                "comparison of what both versions answer, and back by itself where the new one is worse; without room "
                "for two nothing is rolled out. With canary.using: Rolling it has pods of its own instead."
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
                    "With Hot, and Canary using Hot: pods in which the version was changed this often, from 1 to 1000 "
                    "times, are replaced by new ones, because a runtime does not give all memory back. Left out: 20."
                ),
                examples=[50],
            ),
        ]
        | None
    ) = None
    max_memory_percent: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=100,
                description=(
                    "With Hot, and Canary using Hot: pods whose runtime has, after a change of the version, this much "
                    "of resources.limits.memory or more, from 1 to 100 percent, are replaced by new ones, before "
                    "maxSwaps is reached. KerasServer says how much it has. Left out: maxSwaps alone counts."
                ),
                examples=[80],
            ),
        ]
        | None
    ) = None
    signature_change: Annotated[
        SignatureChange,
        Meta(
            description=(
                "Deny: a version whose signatures take other inputs than those of the version that serves (one is "
                "renamed, gone or new, or of another type or shape) is not rolled out, because clients would get "
                "errors; serving.version still serves it. Allow: it is."
            ),
            examples=["Allow"],
        ),
    ] = SignatureChange.DENY
    canary: (
        Annotated[
            Canary,
            Meta(
                description="With Canary, and only then: steps, and what is compared. Left out: another strategy.",
                examples=[{"steps": [{"pods": "10%", "hold": "5m"}]}],
            ),
        ]
        | None
    ) = None

    @property
    def own_pods(self) -> bool:
        """Whether each version has pods of its own, so that none is swapped in place."""
        return self.strategy is Strategy.ROLLING or (self.canary is not None and self.canary.using is Using.ROLLING)

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=(
                "!has(self.maxSwaps) || self.strategy != 'Rolling' && (!has(self.canary) || "
                "self.canary.using != 'Rolling')"
            ),
            message=(
                "maxSwaps counts changes of the version in one pod, and with Rolling there are none: write strategy: "
                "Hot or canary.using: Hot, or remove maxSwaps"
            ),
            holds=lambda rollout: (
                rollout.max_swaps is None
                or (
                    rollout.strategy is not Strategy.ROLLING
                    and (rollout.canary is None or rollout.canary.using is not Using.ROLLING)
                )
            ),
            field=".maxSwaps",
        ),
        Rule(
            # The API server judges the default of the whole, an empty object, too.
            cel="has(self.canary) == (has(self.strategy) && self.strategy == 'Canary')",
            message=(
                "canary has the steps of strategy Canary: write both, for example strategy: Canary with canary.steps: "
                "[{pods: 10%, hold: 5m}], or neither"
            ),
            holds=lambda rollout: (rollout.canary is not None) == (rollout.strategy is Strategy.CANARY),
            field=".canary",
        ),
    )
