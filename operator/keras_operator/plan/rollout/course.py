"""What is to be done with the pods of one model now, so that the wanted version comes to serve on them."""

from dataclasses import dataclass
from datetime import datetime

from keras_operator.api import CanaryStatus, KerasModelSpec, Reason, Strategy
from keras_operator.plan.causes import Cause
from keras_operator.plan.desired import Mark
from keras_operator.plan.images import Installation
from keras_operator.plan.observed import Model, Observed
from keras_operator.plan.rollout.canary import Outcome, look
from keras_operator.plan.rollout.hot import hot_pods, renewal, start, swaps
from keras_operator.plan.rollout.memory import no_room


@dataclass(frozen=True, slots=True)
class Course:
    """How the version `number` gets into the pods.

    Args:
        number: the version that should serve.
        hot: whether versions are swapped in place, or each comes with new pods.
        start: the version with which a new pod starts.
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
    renewal: int = 0
    marks: tuple[Mark, ...] = ()
    cause: Cause | None = None
    note: str = ""
    canary: CanaryStatus | None = None
    words: str = ""
    again: float | None = None

    def arrived(self, observed: Observed) -> bool:
        """Whether nothing is left to be done with the pods; whether they are enough, their Deployment knows."""
        if not self.hot:
            return True
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
    strategy, pinned = spec.serving.rollout.strategy, spec.serving.version is not None
    if strategy is Strategy.ROLLING:
        return Course(number, hot=False, start=number)
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
            outcome = Outcome(old, cause=Cause(Reason.NO_ROOM, f"{full}; raise it, or write strategy: Rolling"))
        else:
            outcome = look(observed, model, spec.serving.rollout.canary, pods, old, number, installation, now)
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
