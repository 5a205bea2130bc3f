"""A canary in pods of its own: a second Deployment behind the same Service.

No pod ever holds two versions, and the main Deployment keeps its version and its pods until the canary goes to all:
then it is rolled as any other, and the canary's pods go when that is complete. So whatever becomes of the canary, the
old version was never touched, and no fewer pods answer than before.
"""

from keras_operator.api import CanaryStep, VersionPhase, pods_beside
from keras_operator.plan.observed import Deployment, Model, Observed
from keras_operator.plan.rollout.sides import Sides


def canary_name(model: str) -> str:
    """The name of the Deployment that has a canary's own pods."""
    return f"{model}-canary"


def serves_apart(observed: Observed, model: Model) -> int:
    """The version that the main Deployment has; one that is missing comes back with what served last (0: none did)."""
    last = model.status.serving_version
    published = any(v.number == last and v.status.phase is VersionPhase.PUBLISHED for v in observed.versions)
    return observed.named or (last if last and published else 0)


def apart(observed: Observed, step: CanaryStep, old: int, number: int) -> Sides:
    """Who has which version while it is tried in pods of its own; a share is one of the main Deployment's pods."""
    most = pods_beside(step.pods, observed.deployment.replicas if observed.deployment else 1)
    canary = observed.canary
    # Pods of a deleted namesake's are older.
    since = canary.identity.created if canary else None
    new = [
        pod
        for pod in observed.canary_pods()
        if pod.ready and pod.number == number and since and pod.identity.created >= since
    ]
    return Sides(
        new=new,
        old=[pod for pod in observed.serving_pods() if pod.ready and pod.settled and pod.number == old],
        most=most,
        words=f"canary version {number} on {len(new)}/{most} pods of its own",
        begun=canary is not None and canary.number == number,
    )


def left_over(observed: Observed, number: int, *, refused: bool) -> int | None:
    """How many pods of its own a version keeps that is tried no more; None where their Deployment is to go.

    One that goes to all pods keeps them until the main Deployment has rolled, unless that lacks the room that they
    take. Another loses them at once, but not while they are the only ones that answer. One that was taken back does
    even so.
    """
    canary, live = observed.canary, observed.deployment
    if canary is None or refused:
        return None
    alone = not any(pod.ready for pod in observed.serving_pods()) and any(pod.ready for pod in observed.canary_pods())
    if alone:
        return canary.replicas
    done = live is not None and live.number == number and (live.rolled_out or _lacks_room(observed, live))
    return canary.replicas if canary.number == number and not done else None


def _lacks_room(observed: Observed, live: Deployment) -> bool:
    """Whether a quota or the nodes keep the main Deployment from making a pod."""
    waiting = [pod for pod in observed.serving_pods() if pod.number == live.number and pod.unschedulable]
    return bool(live.failure or waiting)
