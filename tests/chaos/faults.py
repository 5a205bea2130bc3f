"""What may be wrong between an operator and its API server, as switches that a test throws."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from tests.chaos.call import Call


class Moment(Enum):
    """Where a call is on its way."""

    BEFORE = "before the API server has it"
    AFTER = "after the API server answered"


Hook = Callable[[Call, Moment], bool]
"""Told of every call at both moments; true: nothing more goes either way on this connection."""


@dataclass(frozen=True)
class Answer:
    """What a caller is told instead of the API server's answer."""

    status: int
    reason: str
    retry_after: int | None = None


def lets_pass(_call: Call, _moment: Moment) -> bool:
    """The hook of a proxy that only passes on."""
    return False


@dataclass
class Faults:
    """Everything is well until one of these is set; each may be set and unset at any time.

    Attributes:
        latency: seconds that each request takes longer.
        resets: share of requests whose connection is reset, half of them after they were carried out.
        refusal: what requests are answered with, where it is not None.
        refused_share: share of requests to which that happens.
        refuses: which of them; by default all.
        silent: whether nothing comes through any more, as when a network is cut: neither way, and with no reset.
        swallows: watches for which this holds get their bookmarks and no changes.
        hook: see `Hook`.
    """

    latency: float = 0.0
    resets: float = 0.0
    refusal: Answer | None = None
    refused_share: float = 1.0
    refuses: Callable[[Call], bool] = lambda _call: True
    silent: bool = False
    swallows: Callable[[Call], bool] = lambda _call: False
    hook: Hook = lets_pass
    random: random.Random = field(default_factory=lambda: random.Random(7))

    def answer(self, call: Call) -> Answer | None:
        """What to answer this call in the API server's place, if anything."""
        refusal = self.refusal
        if refusal is None or not self.refuses(call) or self.random.random() >= self.refused_share:
            return None
        return refusal

    def reset(self) -> Moment | None:
        """When the connection of this call is to be reset, if at all."""
        if self.random.random() >= self.resets:
            return None
        return self.random.choice((Moment.BEFORE, Moment.AFTER))
