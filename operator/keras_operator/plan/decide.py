"""The plan for one model: everything to do about it, from everything that was seen of it."""

import dataclasses
from datetime import datetime

from keras_operator.api import Condition, ConditionType, KerasModelStatus, Phase
from keras_operator.plan.causes import autoscaler_patience
from keras_operator.plan.conditions import condition
from keras_operator.plan.desired import Notice, Plan, Removal
from keras_operator.plan.images import Installation
from keras_operator.plan.observed import JobState, Observed, Version
from keras_operator.plan.rollout import Course, course
from keras_operator.plan.run import Step, advance, superseded
from keras_operator.plan.serving import serving_children, wanted_number
from keras_operator.plan.status import invalid_status, model_status
from keras_operator.plan.tensorboard import board_children
from keras_operator.plan.versions import lineage, says_nothing_of_its_inputs
from keras_operator.plan.workers import workers_children

# While pods are on their way their agents are asked what they wait for. Where there is no agent to ask, events tell of
# every step: thousands of models that wait for nodes must not be looked at all the time.
_ROLLOUT_POLL_SECONDS = 3.0
_SILENT_ROLLOUT_POLL_SECONDS = 30.0
_STORE_POLL_SECONDS = 2.0
# A pod swaps versions in two or three seconds, and the next one waits for that.
_SWAP_POLL_SECONDS = 1.0


def plan(observed: Observed, installation: Installation, now: datetime) -> Plan:
    """What to do now. Pure: `now` is the only clock; a second call with the same arguments gives the same plan.

    Nothing is done about a model that is gone or going: its children bear owner references, and Kubernetes collects
    them whether the operator runs or not.
    """
    model = observed.model
    if model is None or model.identity.deleting:
        return Plan()
    if model.spec is None:
        status = invalid_status(model, now)
        return Plan(status=status, notices=_notices(model.status, status))
    spec = model.spec
    sorted_versions = lineage(observed, model, spec)
    current = sorted_versions.current
    step = advance(observed, model, spec, current, installation, now) if current else None
    due = sorted_versions.due
    if observed.store_holder:
        # Two models in one folder would take each other's numbers: the one that came later starts nothing.
        begins = step is not None and (step.create or step.remove)
        due, step = None, Step(current.status) if current and begins else step
    if current and step:
        current = Version(current.identity, current.spec, step.status)
    seen = _with_current(observed, current)
    wanted = wanted_number(seen, spec, current)
    way = None if wanted.number is None else course(seen, model, spec, wanted.number, installation, now)
    serving = serving_children(seen, model, spec, way, installation)
    shown, unshown = board_children(observed, model, spec, installation)
    together, alone = workers_children(observed, model, spec)
    status = model_status(
        seen,
        model,
        spec,
        current=current,
        latest=sorted_versions.latest,
        wanted=wanted,
        way=way,
        hold_up=step.cause if step else None,
        now=now,
    )
    statuses = {v.identity.name: superseded(v, now) for v in sorted_versions.obsolete}
    if current and step:
        statuses[current.identity.name] = step.status
    creates = (due, step.create if step else None)
    return Plan(
        keep=(*serving.keep, *shown, *together),
        create=tuple(one for one in creates if one is not None),
        remove=(
            *serving.remove,
            *unshown,
            *alone,
            *(() if spec.suspend else _abandoned_jobs(observed, current)),
            *((step.remove,) if step and step.remove else ()),
        ),
        seed=serving.seed,
        marks=way.marks if way else (),
        status=status,
        version_statuses=statuses,
        notices=_notices(model.status, status),
        requeue_after=_requeue(observed, status, current, step, way, now),
    )


def _with_current(observed: Observed, current: Version | None) -> Observed:
    """What was seen, with the current version as this plan leaves it: a version published now may serve now."""
    if current is None:
        return observed
    versions = tuple(current if v.identity.uid == current.identity.uid else v for v in observed.versions)
    return dataclasses.replace(observed, versions=versions)


def _abandoned_jobs(observed: Observed, current: Version | None) -> tuple[Removal, ...]:
    """Running Jobs of versions that nobody waits for, whatever those say: a removal may have failed the first time."""
    return tuple(
        Removal("Job", job.identity.name, job.identity.uid)
        for job in observed.jobs
        if (current is None or job.number != current.number)
        and job.state is JobState.ACTIVE
        and not job.identity.deleting
    )


def _notices(before: KerasModelStatus, after: KerasModelStatus) -> tuple[Notice, ...]:
    """Events for transitions only: a new phase, and a new reason for which somebody has to do something."""
    stalled = condition(after.conditions, ConditionType.STALLED)
    if stalled:
        known = condition(before.conditions, ConditionType.STALLED)
        return () if _same(known, stalled) else (Notice("Warning", stalled.reason, stalled.message),)
    if after.phase is None or (after.phase is before.phase and after.serving_version == before.serving_version):
        return ()
    return (Notice("Normal", after.phase.value, after.message or ""),)


def _same(one: Condition | None, other: Condition) -> bool:
    return one is not None and one.reason == other.reason


def _requeue(
    observed: Observed,
    status: KerasModelStatus,
    current: Version | None,
    step: Step | None,
    way: Course | None,
    now: datetime,
) -> float | None:
    waits = (
        # The next version is due as soon as this one's end is written, and no event tells of what was written here.
        0.0 if current and says_nothing_of_its_inputs(current) else None,
        _SWAP_POLL_SECONDS if way and way.hot and any(pod.knows_what_it_waits_for for pod in observed.pods) else None,
        way.again if way else None,
        _requeue_without_swaps(observed, status, step, now),
    )
    return min((seconds for seconds in waits if seconds is not None), default=None)


def _requeue_without_swaps(
    observed: Observed, status: KerasModelStatus, step: Step | None, now: datetime
) -> float | None:
    if step and step.requeue_after is not None:
        return step.requeue_after
    if observed.store_holder:
        # Nothing wakes this model when the other one goes.
        return _STORE_POLL_SECONDS
    if status.phase is Phase.DEPLOYING and not observed.refusals:
        asked = any(pod.knows_what_it_waits_for for pod in observed.pods)
        return _ROLLOUT_POLL_SECONDS if asked else _SILENT_ROLLOUT_POLL_SECONDS
    # Nothing wakes the model when the time is over that an autoscaler without metrics is given.
    return autoscaler_patience(observed.autoscaler, now) if observed.autoscaler else None
