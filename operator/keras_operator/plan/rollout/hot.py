"""Pod by pod from one version to another, without a restart.

A pod is told its version by an annotation, which its agent reads; once the agent says that this version answers alone,
it becomes the pod's label. So what serves where can be seen at rest without asking anybody. One pod is told at a time,
and the next one when it is through: a version that cannot be loaded costs no pod, for its agent goes on with the old
one, and stops the rollout at the first.
"""

from collections.abc import Mapping

from keras_operator.api import DEFAULT_MAX_SWAPS, KerasModelSpec, VersionPhase, parse_quantity
from keras_operator.plan.causes import Cause
from keras_operator.plan.desired import Mark
from keras_operator.plan.observed import Observed, Pod


def hot_pods(observed: Observed) -> tuple[Pod, ...]:
    """The pods whose versions are swapped in place, oldest first."""
    pods = [pod for pod in observed.serving_pods() if pod.hot and not pod.over]
    return tuple(sorted(pods, key=lambda pod: (pod.identity.created, pod.identity.name)))


def start(observed: Observed, number: int, *, moves: bool) -> int:
    """The version with which a new pod starts: the last one that came to serve on every pod.

    It becomes `number` once every pod serves that, if it `moves`: a canary's version stays a trial on any pods.

    A pod that is made or restarted in the middle of a rollout, or with nobody there to tell it anything, must not be
    the first to try a version.
    """
    live, known = observed.deployment, observed.start
    ready = [pod for pod in observed.serving_pods() if pod.ready]
    if live is not None and live.renewal is None and any(pod.number == live.number for pod in ready):
        # Its pods name their version themselves as long as new ones have not taken over.
        return live.number
    published = {version.number for version in observed.versions if version.status.phase is VersionPhase.PUBLISHED}
    if known and (live is None or live.renewal is not None):
        last = known.number
        # Gone from the list it still serves, and new pods may still find it in the store.
        usable = last in published or bool(ready)
    else:
        # Somebody deleted the ConfigMap, or there was none: it names what serves. That may be pods of a deleted
        # namesake, with numbers of its own.
        swapping = live is not None and live.renewal is not None
        found = ((_serves(observed, pod), swapping and observed.owns(pod)) for pod in hot_pods(observed))
        ours = (one for one, own in found if one and (own or one in published))
        last = observed.remembered or next(ours, 0)
        usable = last != 0
    through = [pod for pod in ready if pod.hot and pod.settled and pod.number == number]
    if not usable or (moves and ready and len(through) == len(ready)):
        return number
    return last


def swaps(
    observed: Observed,
    pods: tuple[Pod, ...],
    number: int,
    *,
    at_once: bool,
    most: int | None = None,
    back: frozenset[str] = frozenset(),
    old: int = 0,
) -> tuple[tuple[Mark, ...], Cause | None]:
    """What to write on pods now, and why the rollout to `number` goes on no further.

    `at_once`: a person named the version and waits for it, or it takes the place of a bad one; each pod keeps what it
    serves until it has the other one. `most`: this many pods get it, and only such as serve already. `back`: these are
    told `old` again, before anything else is written.
    """
    seen = {pod.identity.name: mark for pod in pods if (mark := _seen(observed, pod))}
    if back:
        return tuple(_told(pod, old, seen) for pod in pods if pod.identity.name in back), None
    under_way = [
        pod
        for pod in pods
        if pod.identity.name not in seen
        and (pod.wish == number != pod.number or (most is not None and pod.wish == old and pod.number == number))
    ]
    if failing := [cause for pod in under_way if (cause := _trouble(observed, pod, pod.wish))]:
        return tuple(seen.values()), failing[0]
    # Old pods that serve are about to be replaced by such that swap: until then nothing is changed under them.
    replacing = any(pod.ready and not pod.hot for pod in observed.serving_pods())
    others = (
        []
        if replacing
        else [
            pod
            for pod in pods
            if _may_be_told(pod, pods, number, observed.named != number) and pod.identity.name not in seen
        ]
    )
    # First of all those that were told something else meanwhile.
    others.sort(key=lambda pod: pod.wish in (0, pod.number))
    if not at_once:
        hurry = [pod for pod in others if pod.wish not in (0, pod.number)]
        others = hurry or ([] if under_way or seen else others[:1])
    if most is not None:
        room = most - sum(pod.wish == number for pod in pods)
        others = [pod for pod in others if pod.ready][: max(0, room)]
    return (*seen.values(), *(_told(pod, number, seen) for pod in others)), None


def _told(pod: Pod, wanted: int, seen: Mapping[str, Mark]) -> Mark:
    """The mark that tells a pod a version, with the label for what it was `seen` to serve."""
    known = seen.get(pod.identity.name)
    serves, count, memory = (known.serves, known.swaps, known.memory) if known else (pod.number, pod.swaps, pod.memory)
    return Mark(pod.identity.name, pod.identity.uid, serves, wanted, count, memory)


def _seen(observed: Observed, pod: Pod) -> Mark | None:
    """The label for what a pod was found to serve, where it does not bear it yet."""
    report = observed.agent_reports.get(pod.identity.name)
    if report is None or not report.serving or not pod.ready or pod.settled:
        return None
    wish = pod.wish or report.serving
    if (pod.number, pod.wish) == (report.serving, wish):
        return None
    return Mark(pod.identity.name, pod.identity.uid, report.serving, wish, report.swaps, report.memory)


def _serves(observed: Observed, pod: Pod) -> int | None:
    """What a pod serves as far as is known: its label, or what its agent says."""
    report = observed.agent_reports.get(pod.identity.name)
    return pod.number or (report.serving if report else None)


def _may_be_told(pod: Pod, pods: tuple[Pod, ...], number: int, start_differs: bool) -> bool:
    if pod.wish == number or (pod.number == number and pod.wish == 0):
        return False
    if pod.ready:
        return pod.number != 0
    # What a pod starts with may be what cannot be loaded. While others answer, that can wait until it is ready.
    return start_differs and not any(one.ready for one in pods) and pod.knows_what_it_waits_for


def _trouble(observed: Observed, pod: Pod, number: int) -> Cause | None:
    report = observed.agent_reports.get(pod.identity.name)
    trouble = next((one for one in observed.agent_troubles if one.pod == pod.identity.name), None)
    if trouble is None or report is None or report.wanted != number:
        return None
    return Cause(trouble.reason, f"pod {pod.identity.name}: {trouble.message}")


def renewal(observed: Observed, spec: KerasModelSpec, pods: tuple[Pod, ...], *, at_rest: bool) -> int:
    """How often all pods were replaced by new ones, this time included: due when one of them is worn.

    The Deployment does it, with a new pod ready before an old one goes; the new ones start with what serves.
    """
    live = observed.deployment
    times = (live.renewal if live else None) or 0
    # Pods of the template before are on their way out already, be it that their watch is late.
    worn = any(_worn(pod, spec) and pod.renewal == times for pod in pods)
    return times + 1 if worn and at_rest and live is not None and live.rolled_out else times


def _worn(pod: Pod, spec: KerasModelSpec) -> bool:
    rollout, limit = spec.serving.rollout, spec.serving.resources.limits.get("memory")
    if pod.swaps >= (rollout.max_swaps or DEFAULT_MAX_SWAPS):
        return True
    # One that has never swapped has what its version needs: a new pod would have no less.
    if rollout.max_memory_percent is None or limit is None or not pod.swaps:
        return False
    return 100 * pod.memory >= rollout.max_memory_percent * parse_quantity(limit)
