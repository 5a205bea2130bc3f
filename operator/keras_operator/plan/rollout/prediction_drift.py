"""How far apart the predictions of two versions are, by how often each predicted which class.

Both versions meet the same clients, so the images are alike, and what differs is what the versions make of them.
"""

from collections.abc import Mapping
from math import pi, sqrt


def distance(new: Mapping[str, int], old: Mapping[str, int]) -> float:
    """The total variation distance of two counts of classes beyond what chance alone brings about, from 0 to 1.

    With shares p of n predictions and q of m it is 1/2 sum |p - q| (Levin, Peres, Wilmer: Markov Chains and Mixing
    Times, proposition 4.2): the share of predictions that would have to be others for both to be alike. Two samples of
    one distribution are apart, too, by chance: each p - q is then about normal with the variance r (1 - r)(1/n + 1/m),
    where r is the share in both together, so that |p - q| is sqrt(2/pi) of its deviation on average. That is taken off,
    or a few hundred predictions of many classes would always look as if something was wrong.

    Raises ZeroDivisionError where either is empty.
    """
    n, m = sum(new.values()), sum(old.values())
    apart = chance = 0.0
    for name in sorted({*new, *old}):
        ours, theirs = new.get(name, 0), old.get(name, 0)
        together = (ours + theirs) / (n + m)
        apart += abs(ours / n - theirs / m) / 2
        chance += sqrt(together * (1 - together) * (1 / n + 1 / m) * 2 / pi) / 2
    return max(0.0, apart - chance)
