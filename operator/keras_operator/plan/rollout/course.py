"""What is to be done with the pods of one model now, so that the wanted version comes to serve on them."""

from dataclasses import dataclass

from keras_operator.api import KerasModelSpec, Strategy
from keras_operator.plan.causes import Cause
from keras_operator.plan.desired import Mark
from keras_operator.plan.observed import Model, Observed
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
    """

    number: int
    hot: bool
    start: int
    renewal: int = 0
    marks: tuple[Mark, ...] = ()
    cause: Cause | None = None
    note: str = ""

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


def course(observed: Observed, model: Model, spec: KerasModelSpec, number: int) -> Course:
    """The next steps on the way to `number` on all pods."""
    if spec.serving.rollout.strategy is Strategy.ROLLING:
        return Course(number, hot=False, start=number)
    if note := no_room(observed, spec, number):
        return Course(number, hot=False, start=number, note=note)
    pods = hot_pods(observed)
    begins = start(observed, model, number, pods)
    marks, cause = swaps(observed, pods, number, at_once=spec.serving.version is not None)
    times = renewal(observed, spec, pods, at_rest=begins == number == observed.named and not marks)
    return Course(number, hot=True, start=begins, renewal=times, marks=marks, cause=cause)
