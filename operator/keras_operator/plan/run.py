"""How a version gets on: train, evaluate, gate, export, publish.

The version's status is the memory: what a Job answered is written there once, and from then on the Job may go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from keras_operator.api import (
    ConditionType,
    ImageCounts,
    KerasModelSpec,
    KerasModelVersionStatus,
    Reason,
    RunReason,
    RunResult,
    RunStage,
    VersionPhase,
    VersionServable,
    compared,
    measured_text,
)
from keras_operator.plan.causes import (
    FOLLOWING_EXIT_CODE,
    WRONG_INPUTS_EXIT_CODE,
    Cause,
    container_exit_cause,
    job_cause,
    of_worker,
    telling_pods,
)
from keras_operator.plan.conditions import Statement, conditions
from keras_operator.plan.desired import Desired, Removal
from keras_operator.plan.gates import all_verdicts, known_verdicts, results_of, unmet_sentence, was_asked
from keras_operator.plan.images import Installation
from keras_operator.plan.jobs import deadline_seconds, desired_job, evaluating_stage, way_digest
from keras_operator.plan.observed import Container, Job, JobState, Model, Observed, Version
from keras_operator.plan.own_container import OWN, PREPARE, image_that_trained
from keras_operator.plan.parents import parent_cause
from keras_operator.plan.serving import wanted_number

# A Job's last pod can be seen a little later than the Job's own end: two watches, no order between them.
_RESULT_GRACE = timedelta(seconds=30)
# A status holds 64 times in all, and a run brings up to a dozen besides those of its epochs.
_EPOCH_TIMES = 40
_SUSPENDED_WORDS = "suspended before its next Job"


@dataclass(frozen=True, slots=True)
class Step:
    """What one look at a version gives: its status, perhaps a Job to create or remove, perhaps what holds a Job up."""

    status: KerasModelVersionStatus
    create: Desired | None = None
    remove: Removal | None = None
    cause: Cause | None = None
    requeue_after: float | None = None


def advance(
    observed: Observed, model: Model, spec: KerasModelSpec, version: Version, installation: Installation, now: datetime
) -> Step:
    """The next step of the version that stands for the spec. Published and failed versions stay as they are."""
    status = version.status
    if status.phase in (VersionPhase.PUBLISHED, VersionPhase.FAILED):
        return Step(status)
    if version.spec.training is not None and not status.metrics:
        step = _stage(observed, model, spec, version, RunStage.TRAIN, installation, now)
        if not step.status.metrics:
            return step
        status = step.status
    if evaluating_stage(version) is RunStage.EXPORT and not status.metrics:
        return _stage(observed, model, spec, version, RunStage.EXPORT, installation, now)
    return _judged(observed, model, spec, version, status, installation, now)


def superseded(version: Version, now: datetime) -> KerasModelVersionStatus:
    """The status of a version that was still running when the spec moved on."""
    message = "the model's spec changed before this version was finished, so it was stopped"
    return _ended(version, version.status, VersionPhase.FAILED, Cause(Reason.SUPERSEDED, message), now)


def _judged(
    observed: Observed,
    model: Model,
    spec: KerasModelSpec,
    version: Version,
    status: KerasModelVersionStatus,
    installation: Installation,
    now: datetime,
) -> Step:
    """Judge by the gates as they are now: a gate that is eased lets a rejected version in without training it again."""
    verdicts = known_verdicts(spec.evaluation.gates, status)
    status = msgspec.structs.replace(status, gates=results_of(verdicts))
    if unmet := unmet_sentence(verdicts):
        return Step(_ended(version, status, VersionPhase.REJECTED, Cause(Reason.GATES_NOT_MET, unmet), now))
    fresh = Version(version.identity, version.spec, status)
    return _stage(observed, model, spec, fresh, RunStage.EXPORT, installation, now)


def _stage(
    observed: Observed,
    model: Model,
    spec: KerasModelSpec,
    version: Version,
    stage: RunStage,
    installation: Installation,
    now: datetime,
) -> Step:
    job = observed.job(version.number, stage)
    if job is None:
        if spec.suspend:
            return _suspended(version, now)
        if stage is RunStage.TRAIN and (cause := parent_cause(observed, version)):
            words = cause.message
            return Step(_going_on(version, version.status, VersionPhase.PENDING, cause.reason, words, now), cause=cause)
        serving = wanted_number(observed, spec, version).number
        create = desired_job(model, spec, version, stage, installation, serving)
        return Step(_running(version, stage, None, now), create)
    if job.state is JobState.ACTIVE:
        cause = job_cause(observed, job)
        if cause and not spec.suspend and job.store not in ("", way_digest(spec, stage)):
            return _replaced(version, job, cause, now)
        return Step(_running(version, stage, job, now, cause), cause=cause, requeue_after=_poll(job, now))
    outcome = _outcome(observed, version, job)
    if isinstance(outcome, RunResult):
        recorded = _recorded(version, stage, job, outcome)
        if stage is RunStage.TRAIN and (image := image_that_trained(observed, job)):
            recorded = msgspec.structs.replace(recorded, image=image[:1024])
        return Step(recorded) if stage is RunStage.TRAIN else _exported(spec, version, job, recorded, outcome, now)
    cause = outcome
    unheard = cause.reason == Reason.RESULT_LOST or _awaits_last_pod(observed, job)
    if unheard and now - (job.finished or job.identity.created) < _RESULT_GRACE:
        return Step(_running(version, stage, job, now), requeue_after=1.0)
    if cause.reason == Reason.RESULT_LOST and version.status.export_metrics:
        # What this export measured is known: it published nothing, and its gates were eased since its pod is gone.
        return _again(spec, version, job, now)
    return Step(_failed(observed, version, job, cause, now))


def _exported(
    spec: KerasModelSpec,
    version: Version,
    job: Job,
    status: KerasModelVersionStatus,
    result: RunResult,
    now: datetime,
) -> Step:
    """Publish, or reject by what the export measured: it published nothing if its gates were not met.

    Gates may have changed since it was given them. What it published is not yet the version's servable, so that a
    tightened gate keeps it from serving; for an eased one, or one that it was not asked about, it is run again.
    """
    gates, published = spec.evaluation.gates, result.servable
    if published is None and not was_asked(gates, status, result.unmeasured):
        return _again(spec, version, job, now)
    verdicts = known_verdicts(gates, status) if published else all_verdicts(gates, status, result.unmeasured)
    status = msgspec.structs.replace(status, gates=results_of(verdicts))
    if unmet := unmet_sentence(verdicts):
        return Step(_ended(version, status, VersionPhase.REJECTED, Cause(Reason.GATES_NOT_MET, unmet), now))
    if published is None:
        return _again(spec, version, job, now)
    status = msgspec.structs.replace(
        status,
        servable=VersionServable(
            uri=published.uri,
            digest=published.digest,
            bytes=published.bytes,
            signatures=published.signatures,
            inputs=published.inputs,
        ),
        parity=None if result.parity is None else f"{result.parity:.3g}",
    )
    words = f"is published at {published.uri}"
    return Step(_ended(version, status, VersionPhase.PUBLISHED, Cause(Reason.PUBLISHED, words), now))


def _again(spec: KerasModelSpec, version: Version, job: Job, now: datetime) -> Step:
    """Remove an export that published nothing, so that the next one is given the gates as they are now."""
    if spec.suspend:
        return _suspended(version, now)
    removal = None if job.identity.deleting else Removal("Job", job.identity.name, job.identity.uid)
    return Step(_running(version, RunStage.EXPORT, None, now), remove=removal, requeue_after=1.0)


def _replaced(version: Version, job: Job, cause: Cause, now: datetime) -> Step:
    """Remove a Job that something holds up and that reaches the store as the model did before it was corrected."""
    removal = None if job.identity.deleting else Removal("Job", job.identity.name, job.identity.uid)
    return Step(_running(version, job.stage, job, now, cause), remove=removal, cause=cause, requeue_after=1.0)


def _suspended(version: Version, now: datetime) -> Step:
    return Step(_going_on(version, version.status, VersionPhase.PENDING, Reason.SUSPENDED, _SUSPENDED_WORDS, now))


def _poll(job: Job, now: datetime) -> float:
    """Seconds until the run is asked for its progress again: often while it is young, every 10 s later."""
    age = (now - job.identity.created).total_seconds()
    return min(10.0, max(1.0, age / 30))


def _outcome(observed: Observed, version: Version, job: Job) -> RunResult | Cause:
    """The result of a Job that succeeded, or why there is none."""
    if job.failure_reason == "DeadlineExceeded":
        remedy = (
            "raise spec.training.activeDeadlineSeconds, or make the training smaller"
            if job.stage is RunStage.TRAIN
            else "see why the store is so slow"
        )
        limit = deadline_seconds(version, job.stage)
        return Cause(Reason.DEADLINE_EXCEEDED, f"Job {job.identity.name} did not end within {limit} s: {remedy}")
    for pod in telling_pods(observed, job):
        for container in pod.containers:
            answer = answer_of(container)
            if job.state is JobState.COMPLETE and container.exit_code == 0 and answer and answer.ok:
                if job.stage is RunStage.TRAIN and not answer.metrics:
                    words = f"Job {job.identity.name} succeeded and measured nothing; see its log"
                    return Cause(Reason.RUN_FAILED, words)
                return answer
            # All that an evicted run can say is that it was interrupted; the kubelet knows why.
            if job.state is JobState.FAILED and answer and answer.error and pod.reason != "Evicted":
                # What is wrong with the inputs is wrong for every worker.
                said = answer.error.message
                return Cause(
                    answer.error.reason,
                    said if container.exit_code == WRONG_INPUTS_EXIT_CODE else of_worker(job, pod, said),
                )
            if job.state is JobState.FAILED and (cause := container_exit_cause(pod, container)):
                return Cause(cause.reason, of_worker(job, pod, cause.message))
    if job.state is JobState.COMPLETE:
        return Cause(Reason.RESULT_LOST, f"Job {job.identity.name} succeeded, but its pod and so its result is gone")
    return Cause(Reason.RUN_FAILED, job.failure_message or f"Job {job.identity.name} failed")


def _awaits_last_pod(observed: Observed, job: Job) -> bool:
    """Whether the pod that ended a Job has not been seen to end: what it said decides what becomes of the version."""
    codes = {
        container.exit_code
        for pod in telling_pods(observed, job)[:1]
        for container in pod.containers
        if container.exit_code or container.name not in (PREPARE, OWN)
    }
    told_elsewhere = job.failure_reason == "DeadlineExceeded"
    return not told_elsewhere and not codes - {None, FOLLOWING_EXIT_CODE}


def answer_of(container: Container) -> RunResult | None:
    """What a container answered: nobody but the operator's own, of which `prepare` can only say what went wrong."""
    if container.name == OWN or (container.name == PREPARE and not container.exit_code):
        return None
    return parse_result(container.exit_message)


def parse_result(message: str) -> RunResult | None:
    """A termination message as a result; None for the log lines that Kubernetes puts there after a crash."""
    if not message.startswith("{"):
        return None
    try:
        return msgspec.json.decode(message, type=RunResult)
    except msgspec.DecodeError:
        return None


def _running(
    version: Version, stage: RunStage, job: Job | None, now: datetime, cause: Cause | None = None
) -> KerasModelVersionStatus:
    training = stage is RunStage.TRAIN
    phase, reason = (VersionPhase.TRAINING, Reason.TRAINING) if training else (VersionPhase.EXPORTING, Reason.EXPORTING)
    status = version.status
    if job is not None:
        times = {f"{stage.value}JobCreated": job.identity.created, **status.times}
        started = status.started_at or job.identity.created
        status = msgspec.structs.replace(status, times=times, started_at=started)
    words = "is being trained" if training else "is being exported and published"
    return _going_on(version, status, phase, cause.reason if cause else reason, cause.message if cause else words, now)


def _recorded(version: Version, stage: RunStage, job: Job, result: RunResult) -> KerasModelVersionStatus:
    """The status with what a Job answered: everything but what follows from it."""
    before = version.status
    times = {f"{stage.value}JobCreated": job.identity.created, **before.times}
    times |= {
        ("exportStarted" if key == "started" and stage is RunStage.EXPORT else key): t
        for key, t in _fitting(result.times).items()
    }
    status = msgspec.structs.replace(before, times=times, started_at=before.started_at or job.identity.created)
    if stage is RunStage.EXPORT:
        classes = result.classes if before.classes is None else before.classes
        status = msgspec.structs.replace(status, export_metrics=_texts(result.metrics), classes=classes)
        return _measured(status, result, result.evaluation) if result.evaluation else status
    trained = msgspec.structs.replace(
        status,
        classes=result.classes,
        epochs=result.epochs,
        ended=result.ended[:256] or None,
        builder=result.builder,
    )
    return _measured(trained, result, result.metrics)


def _measured(
    status: KerasModelVersionStatus, result: RunResult, metrics: Mapping[str, float]
) -> KerasModelVersionStatus:
    """The status with what was measured on test images, and on which."""
    images = result.images
    return msgspec.structs.replace(
        status,
        metrics=_texts(metrics),
        comparison=compared(result.comparison),
        bad_files=result.bad_files,
        data_hash=result.data_hash,
        images=images and ImageCounts(train=images.train, validation=images.validation, test=images.test),
    )


def _texts(metrics: Mapping[str, float]) -> dict[str, str]:
    return {name: measured_text(value) for name, value in sorted(metrics.items())}


def _fitting(times: Mapping[str, datetime]) -> dict[str, datetime]:
    """The times of a run without those of the epochs between the first three and the last, where there are too many."""
    epochs = sorted((time, event) for event, time in times.items() if event.startswith("epoch"))
    left_out = {event for _, event in epochs[3:-1]} if len(epochs) > _EPOCH_TIMES else set()
    return {event: time for event, time in times.items() if event not in left_out}


def _failed(observed: Observed, version: Version, job: Job, cause: Cause, now: datetime) -> KerasModelVersionStatus:
    status = version.status
    if cause.reason == RunReason.NUMBER_TAKEN:
        answers = [answer_of(container) for pod in observed.job_pods(job) for container in pod.containers]
        free = [answer.error.next_number or 0 for answer in answers if answer and answer.error]
        status = msgspec.structs.replace(status, next_number=max((*free, version.number + 1)))
    return _ended(version, status, VersionPhase.FAILED, cause, now)


def _going_on(
    version: Version, status: KerasModelVersionStatus, phase: VersionPhase, reason: str, message: str, now: datetime
) -> KerasModelVersionStatus:
    statements = [
        Statement(ConditionType.READY, False, reason, message),
        Statement(ConditionType.RECONCILING, True, reason, message),
    ]
    return _with(version, msgspec.structs.replace(status, finished_at=None), phase, message, statements, now)


def _ended(
    version: Version, status: KerasModelVersionStatus, phase: VersionPhase, cause: Cause, now: datetime
) -> KerasModelVersionStatus:
    published = phase is VersionPhase.PUBLISHED
    statements = [Statement(ConditionType.READY, published, cause.reason, cause.message)]
    if not published:
        statements.append(Statement(ConditionType.STALLED, True, cause.reason, cause.message))
    again = version.status.phase is phase
    ended = msgspec.structs.replace(status, finished_at=(status.finished_at if again else None) or now)
    return _with(version, ended, phase, cause.message, statements, now)


def _with(
    version: Version,
    status: KerasModelVersionStatus,
    phase: VersionPhase,
    message: str,
    statements: list[Statement],
    now: datetime,
) -> KerasModelVersionStatus:
    made = conditions(statements, version.status.conditions, version.identity.generation, now)
    generation = version.identity.generation
    return msgspec.structs.replace(
        status, observed_generation=generation, phase=phase, message=message, conditions=made
    )
