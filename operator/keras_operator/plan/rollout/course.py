"""What is to be done with the pods of one model now, so that the wanted version comes to serve on them."""

from dataclasses import dataclass, replace
from datetime import datetime

from keras_operator.api import CanaryStatus, KerasModelSpec, Reason, Strategy
from keras_operator.plan.causes import Cause
from keras_operator.plan.desired import Mark
from keras_operator.plan.images import Installation
from keras_operator.plan.observed import Model, Observed
from keras_operator.plan.rollout.apart import apart, left_over, serves_apart
from keras_operator.plan.rollout.canary import Outcome, in_place, look
from keras_operator.plan.rollout.hot import hot_pods, renewal, start, swaps
from keras_operator.plan.rollout.memory import no_room


@dataclass(frozen=True, slots=True)
class Course:
    """How the version `number` gets into the pods.

    Args:
        number: the version that should serve.
        hot: whether versions are swapped in place, or each comes with new pods.
        start: the version with which a new pod starts. Where versions are not swapped it is the main Deployment's.
        beside: how many pods `number` has of its own, beside those of the main Deployment; None where no Deployment of
            such is wanted.
        renewal: how often all pods were replaced for their many swaps.
        marks: what to write on pods.
        cause: why it goes on no further.
        note: why it is not done as the spec asks.
        canary: what to remember of a canary; None where there is none.
        words: how far a canary is.
        again: seconds until it must be looked at again.
    """

    number: int
    hot: bool
    start: int
    beside: int | None = None
    renewal: int = 0
    marks: tuple[Mark, ...] = ()
    cause: Cause | None = None
    note: str = ""
    canary: CanaryStatus | None = None
    words: str = ""
    again: float | None = None

    def arrived(self, observed: Observed) -> bool:
        """Whether nothing is left to be done with the pods; whether they are enough, their Deployment knows."""
        if observed.canary or observed.canary_pods():
            return False
        if not self.hot:
            return self.start == self.number
        live = observed.deployment
        pods = hot_pods(observed)
        return (
            live is not None
            and live.renewal == self.renewal
            and self.start == self.number == observed.named
            and not self.marks
            and all(pod.settled and pod.number == self.number for pod in pods)
        )


def course(
    observed: Observed, model: Model, spec: KerasModelSpec, number: int, installation: Installation, now: datetime
) -> Course:
    """The next steps on the way to `number` on all pods."""
    if spec.serving.rollout.own_pods:
        return _with_new_pods(observed, model, spec, number, installation, now)
    way = _in_place(observed, model, spec, number, installation, now)
    # Pods that swap take over from those that a canary had for its own.
    return way if way.hot and any(pod.ready for pod in observed.serving_pods()) else _with_left_over(observed, way)


def _with_left_over(observed: Observed, way: Course) -> Course:
    refused = way.canary is not None and way.canary.refused is not None
    return replace(way, beside=left_over(observed, way.number, refused=refused))


def _with_new_pods(
    observed: Observed, model: Model, spec: KerasModelSpec, number: int, installation: Installation, now: datetime
) -> Course:
    """No pod ever has two versions: all come with new pods, or those of a canary's own first."""
    canary, old = spec.serving.rollout.canary, serves_apart(observed, model)
    compares = any(pod.ready for pod in observed.serving_pods()) or model.status.canary is not None
    if canary is None or spec.serving.version is not None or number == old or not old or not compares:
        return _with_left_over(observed, Course(number, hot=False, start=number))
    outcome = look(
        observed, model, canary, lambda step: apart(observed, step, old, number), old, number, installation, now
    )
    moves = outcome.number == number and outcome.most is None
    way = Course(
        number,
        hot=False,
        start=number if moves else old,
        beside=outcome.most,
        cause=outcome.cause,
        canary=outcome.status,
        words=outcome.words,
        again=outcome.again,
    )
    return way if outcome.most is not None else _with_left_over(observed, way)


def _in_place(
    observed: Observed, model: Model, spec: KerasModelSpec, number: int, installation: Installation, now: datetime
) -> Course:
    """Pod by pod into those that run, where they have room for two."""
    strategy, pinned = spec.serving.rollout.strategy, spec.serving.version is not None
    full = no_room(observed, spec, number)
    if full and strategy is Strategy.HOT:
        note = f"it comes with new pods, not Hot, because {full}"
        return Course(number, hot=False, start=number, note=note)
    pods = hot_pods(observed)
    old = start(observed, number, moves=False)
    outcome = Outcome(number)
    # Where nothing serves there is nothing to compare with; and whoever pins a version has decided.
    compares = any(pod.ready for pod in pods) or model.status.canary is not None
    if spec.serving.rollout.canary and not pinned and number != old and compares:
        if full:
            outcome = Outcome(old, cause=Cause(Reason.NO_ROOM, f"{full}; raise it, or write canary.using: Rolling"))
        else:
            outcome = look(
                observed,
                model,
                spec.serving.rollout.canary,
                lambda step: in_place(pods, step, old, number),
                old,
                number,
                installation,
                now,
            )
    moves = outcome.number == number and outcome.most is None
    begins = start(observed, number, moves=moves)
    # A canary that waits for somebody stays as it is; one that was taken back goes from all pods.
    at_once = pinned or (outcome.cause is not None and outcome.most is None)
    marks, cause = swaps(observed, pods, outcome.number, at_once=at_once, most=outcome.most, back=outcome.back, old=old)
    times = renewal(observed, spec, pods, at_rest=begins == number == observed.named and not marks)
    return Course(
        number,
        hot=True,
        start=begins,
        renewal=times,
        marks=marks,
        cause=outcome.cause or cause,
        canary=None if begins == number else outcome.status,
        words=outcome.words,
        again=outcome.again,
    )
