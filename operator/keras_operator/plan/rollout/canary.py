"""A new version on some pods, step by step, until it goes to all of them or is taken back.

What was decided is kept in the model's status: which step it is at and since when, and what was taken back. A version
that was taken back is tried again when the spec changes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from keras_operator.api import Canary, CanaryStatus, CanaryStep, Reason, hold_seconds, pods_of
from keras_operator.plan.causes import Cause
from keras_operator.plan.images import Installation
from keras_operator.plan.observed import Model, Observed, Pod
from keras_operator.plan.rollout.comparison import Comparison, compare
from keras_operator.plan.rollout.sides import Sides


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a look at a canary leads to.

    Args:
        number: the version that pods are brought to.
        most: how many of them; None for all.
        back: pods, by name, that were told to serve it and are more than the step says.
        status: what to remember; None where no canary is under way.
        words: how far it is.
        cause: why the new version was taken back, or goes no further until somebody does something.
        again: seconds until it must be looked at again.
    """

    number: int
    most: int | None = None
    back: frozenset[str] = frozenset()
    status: CanaryStatus | None = None
    words: str = ""
    cause: Cause | None = None
    again: float | None = None


_LOOK_SECONDS = 5.0
# A person may take days, and a bad version should not serve for long.
_SLOW_LOOK_SECONDS = 15.0
_NO_PROMETHEUS = Cause(
    Reason.NO_PROMETHEUS,
    "canary.analysis.queries asks Prometheus, and this operator was not told where that is: ask the platform team to "
    "start the operator with --prometheus-url, or remove queries",
)


def look(
    observed: Observed,
    model: Model,
    canary: Canary,
    sides_at: Callable[[CanaryStep], Sides],
    old: int,
    number: int,
    installation: Installation,
    now: datetime,
) -> Outcome:
    """The next step of the canary `number`, while new pods start with `old`; `sides_at` a step who has which."""
    known = model.status.canary
    if known is None or known.version != number or (known.refused and known.generation != model.identity.generation):
        known = CanaryStatus(version=number)
    if known.refused:
        return _taken_back(known, old)
    if model.abort == number:
        return _take_back(
            known, model, old, Reason.CANARY_ABORTED, "somebody took it back with keras-operator.dev/abort"
        )
    if model.promote == number or known.step > len(canary.steps):
        known = CanaryStatus(version=number, step=len(canary.steps) + 1)
        return Outcome(number, status=known, words=f"canary version {number} goes to all pods")
    unasked = _NO_PROMETHEUS if canary.analysis.queries and not installation.prometheus else None
    step = canary.steps[known.step - 1]
    sides = sides_at(step)
    most, where = sides.most, sides.words
    if unasked and known.since is None and known.step == 1 and not sides.begun:
        return Outcome(old, cause=unasked)
    if sides.back or sides.returning:
        # What such a pod answered of late it answered with either version: the comparison begins anew without it.
        known = CanaryStatus(version=number, step=known.step)
        return Outcome(number, most, sides.back, known, where)
    if known.since and not sides.new:
        # Nobody has it any more, or it is tried in other pods than before.
        known = CanaryStatus(version=number, step=known.step)
    if known.since is None and len(sides.new) < most:
        return Outcome(number, most, status=known, words=where, cause=unasked)
    if known.since is None:
        known = CanaryStatus(version=number, step=known.step, since=now)
    assert known.since is not None
    held, hold = (now - known.since).total_seconds(), hold_seconds(step.hold)
    found = _compare(observed, canary, sides.new, sides.old, old)
    if found.worse:
        return _take_back(known, model, old, Reason.CANARY_WORSE, found.worse)
    if unasked or found.wrong:
        cause = unasked or Cause(Reason.QUERY_FAILED, f"its canary waits at step {known.step}: {found.wrong}")
        return Outcome(number, most, status=known, cause=cause, again=_SLOW_LOOK_SECONDS)
    if hold is not None and held >= hold and found.enough and len(sides.new) >= most:
        further = CanaryStatus(version=number, step=known.step + 1)
        return Outcome(number, most, status=further, words=f"{where} · {found.words}", again=0.0)
    lacks = f" · waits for {found.lacks}" if found.lacks else ""
    waits = (
        f"waits for the annotation keras-operator.dev/promote: {number}"
        if hold is None
        else f"{_duration(_roughly(min(held, hold), hold))} of {_duration(hold)} held"
    )
    again = _SLOW_LOOK_SECONDS if hold is None else _LOOK_SECONDS
    return Outcome(number, most, status=known, words=f"{where} · {waits} · {found.words}{lacks}", again=again)


def in_place(pods: tuple[Pod, ...], step: CanaryStep, old: int, number: int) -> Sides:
    """Who has which version while it is tried in pods that serve; a share is one of those that are ready."""
    ready = [pod for pod in pods if pod.ready]
    new = [pod for pod in ready if pod.settled and pod.number == number]
    return Sides(
        new=new,
        old=[pod for pod in ready if pod.settled and pod.number == old],
        most=pods_of(step.pods, max(2, len(ready))),
        words=f"canary version {number} on {len(new)}/{len(ready)} pods",
        begun=any(pod.wish == number for pod in pods),
        back=_too_many(step, pods, number),
        returning=any(pod.wish == old and pod.number == number for pod in pods),
    )


def _too_many(step: CanaryStep, pods: tuple[Pod, ...], number: int) -> frozenset[str]:
    """The pods to be taken back, where more were told to serve the new version than the step says.

    Who scales down leaves it to Kubernetes which pods go, and that may be those with the old version. A pod that is
    away for a moment counts: it comes back. Those that do not serve the new version yet go first, then the youngest.
    """
    told = [pod for pod in pods if pod.wish == number]
    told.sort(key=lambda pod: pod.number == number, reverse=True)
    return frozenset(pod.identity.name for pod in told[pods_of(step.pods, max(2, len(pods))) :])


def _compare(observed: Observed, canary: Canary, new: list[Pod], old: list[Pod], number: int) -> Comparison:
    ours, theirs = (
        [observed.traffic[pod.identity.name] for pod in pods if pod.identity.name in observed.traffic]
        for pods in (new, old)
    )
    return compare(canary.analysis, ours, theirs, number, observed.measured)


def _take_back(known: CanaryStatus, model: Model, old: int, reason: Reason, why: str) -> Outcome:
    refused = CanaryStatus(
        version=known.version,
        step=known.step,
        since=known.since,
        refused=why,
        reason=reason,
        generation=model.identity.generation,
    )
    return _taken_back(refused, old)


def _taken_back(known: CanaryStatus, old: int) -> Outcome:
    sentence = (
        f"it was taken back at step {known.step}, because {known.refused}; it is tried again when the spec changes, "
        f"and serving.version: {known.version} serves it as it is"
    )
    return Outcome(old, status=known, cause=Cause(known.reason or Reason.CANARY_WORSE, sentence))


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.3g}h"
    return f"{seconds // 60:.0f}m" if seconds >= 60 else f"{seconds:.0f}s"


def _roughly(held: float, hold: int) -> float:
    """To ten seconds where it takes minutes: nobody needs a new status for each second."""
    return held // 10 * 10 if hold >= 60 else held
