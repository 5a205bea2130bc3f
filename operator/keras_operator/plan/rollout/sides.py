"""The pods of either version while one is tried."""

from dataclasses import dataclass

from keras_operator.plan.observed import Pod


@dataclass(frozen=True, slots=True)
class Sides:
    """Who answers with which version at a step.

    Args:
        new: ready pods that have the new version alone.
        old: ready pods that have the old version alone.
        most: how many the step gives the new version.
        words: how many have it.
        begun: whether any pod was told to serve it.
        back: pods, by name, that were told to serve it and are more than the step says.
        returning: whether a pod is on its way back to the old version.
    """

    new: list[Pod]
    old: list[Pod]
    most: int
    words: str
    begun: bool
    back: frozenset[str] = frozenset()
    returning: bool = False
