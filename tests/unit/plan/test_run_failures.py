"""What becomes of a version when a Job fails, or when nobody knows how it ended."""

from datetime import timedelta

import pytest
from keras_operator.api import (
    ConditionType,
    KerasModelVersionStatus,
    RunStage,
    VersionPhase,
)
from keras_operator.plan import Plan
from keras_operator.plan.observed import Container, JobState
from keras_operator.plan.run import parse_result

from tests.unit.plan.observations import (
    EARLIER,
    NOW,
    answer,
    decide,
    ended,
    failed_result,
    job,
    run_pod,
    said,
    train_result,
    trained,
    version,
)

SPEC = trained()
TRAIN, EXPORT = RunStage.TRAIN, RunStage.EXPORT
COMPLETE, FAILED = JobState.COMPLETE, JobState.FAILED


def status_of(todo: Plan, number: int = 1) -> KerasModelVersionStatus:
    return todo.version_statuses[f"dogs-{number}"]


def ready_reason(status: KerasModelVersionStatus) -> str:
    return next(one.reason for one in status.conditions if one.type == "Ready")


QUIET = Container(name="train")
CRASH = "Traceback (most recent call last):\n  File x\nValueError: no\n"
NO_IMAGES = failed_result(TRAIN, "NoImages", "no images under s3://datasets/dogs: upload some")

KILLED_FOR_MEMORY = (
    "container train of pod dogs-1-train-x was killed for memory: raise spec.training.resources.limits.memory, or "
    "lower what it needs, such as spec.training.batchSize or data.imageSize."
)

FAILURES = {
    "said by the run": (answer(NO_IMAGES, 65), {}, "NoImages", "no images under s3://datasets/dogs: upload some"),
    "killed for memory": (
        ended(exit_code=137, exit_reason="OOMKilled"),
        {},
        "OutOfMemory",
        KILLED_FOR_MEMORY,
    ),
    "killed": (
        ended(exit_code=137),
        {},
        "OutOfMemory",
        KILLED_FOR_MEMORY,
    ),
    "killed for memory with another exit code": (
        ended(exit_code=1, exit_reason="OOMKilled"),
        {},
        "OutOfMemory",
        KILLED_FOR_MEMORY,
    ),
    "crashed": (
        ended(exit_code=1, message=CRASH),
        {},
        "ContainerFailed",
        (
            "container train of pod dogs-1-train-x ended with exit code 1: "
            "Traceback (most recent call last): | File x | ValueError: no"
        ),
    ),
    "crashed without a word": (
        ended(exit_code=2),
        {},
        "ContainerFailed",
        "container train of pod dogs-1-train-x ended with exit code 2",
    ),
    "crashed with something like JSON": (
        ended(exit_code=1, message='{"stage": "train"'),
        {},
        "ContainerFailed",
        'container train of pod dogs-1-train-x ended with exit code 1: {"stage": "train"',
    ),
    "too late": (
        ended(exit_code=137),
        {"failure_reason": "DeadlineExceeded"},
        "DeadlineExceeded",
        (
            "Job dogs-1-train did not end within 86400 s: raise spec.training.activeDeadlineSeconds, or make the "
            "training smaller"
        ),
    ),
    "an answer without an error": (
        answer(train_result(), 1),
        {"failure_message": "Job has reached the specified backoff limit"},
        "ContainerFailed",
        (
            "container train of pod dogs-1-train-x ended with exit code 1: "
            '{"stage":"train","ok":true,"metrics":{"accuracy":0.91,"loss":0.3}}'
        ),
    ),
    "nobody knows": (
        ended(exit_code=0),
        {"failure_message": "Job has reached the specified backoff limit"},
        "RunFailed",
        "Job has reached the specified backoff limit",
    ),
    "nobody says anything": (ended(exit_code=0), {}, "RunFailed", "Job dogs-1-train failed"),
}


def test_why_a_run_was_evicted_is_worth_more_than_that_it_was_interrupted():
    interrupted = answer(failed_result(TRAIN, "Interrupted", "stopped by SIGTERM; it can be run again"), 75)
    lost = job(1, state=FAILED)
    full = "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi."
    evicted = run_pod(lost, interrupted, reason="Evicted", message=full, phase="Failed")
    todo = decide(SPEC, version(1, SPEC, VersionPhase.TRAINING), jobs=(lost,), pods=(evicted,))
    assert ready_reason(status_of(todo)) == "DiskFull"


@pytest.mark.parametrize(("container", "told", "reason", "sentence"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failed_job_fails_its_version_for_the_cause_found_nearest(container, told, reason, sentence):
    lost = job(1, state=FAILED, **told)
    todo = decide(SPEC, version(1, SPEC, VersionPhase.TRAINING), jobs=(lost,), pods=(run_pod(lost, container),))
    status = status_of(todo)
    assert (status.phase, ready_reason(status), status.message) == (VersionPhase.FAILED, reason, sentence)
    assert status.finished_at == NOW
    assert [(c.type, c.status, c.reason, c.message) for c in status.conditions] == [
        ("Ready", "False", reason, sentence),
        ("Stalled", "True", reason, sentence),
    ]
    assert todo.create == ()
    assert todo.requeue_after is None


def test_an_export_that_takes_too_long_points_at_the_store():
    lost = job(1, EXPORT, FAILED, failure_reason="DeadlineExceeded")
    status = status_of(decide(SPEC, version(1, SPEC, VersionPhase.EXPORTING), jobs=(lost,)))
    assert status.message == "Job dogs-1-export did not end within 3600 s: see why the store is so slow"


def test_the_newest_pod_of_a_job_has_the_last_word():
    lost = job(1, state=FAILED)
    older = run_pod(lost, answer(failed_result(TRAIN, "StoreUnreachable", "no answer"), 75), name="a", created=EARLIER)
    newer = run_pod(lost, answer(NO_IMAGES, 65), name="b", created=NOW)
    for pods in ((older, newer), (newer, older)):
        assert ready_reason(status_of(decide(SPEC, version(1, SPEC), jobs=(lost,), pods=pods))) == "NoImages"


def test_pods_of_other_jobs_have_no_word():
    lost = job(1, state=FAILED, failure_message="backoff limit")
    mine, other = run_pod(lost, ended(exit_code=0)), run_pod(job(2), answer(NO_IMAGES, 65))
    assert status_of(decide(SPEC, version(1, SPEC), jobs=(lost,), pods=(mine, other))).message == "backoff limit"


LATE = {
    "succeeded, no pod": (COMPLETE, ()),
    "succeeded, pod still running": (COMPLETE, (QUIET,)),
    "failed, no pod": (FAILED, ()),
    "failed, pod still running": (FAILED, (QUIET,)),
}


@pytest.mark.parametrize(("state", "containers"), LATE.values(), ids=LATE.keys())
@pytest.mark.parametrize(("age", "patient"), [(0, True), (29, True), (30, False)])
def test_the_last_pod_of_an_ended_job_is_waited_for(state, containers, age, patient):
    """A Job's end and its pod's end come on two watches; what the pod said decides what becomes of the version."""
    over = job(1, state=state, finished=NOW - timedelta(seconds=age))
    pods = (run_pod(over, *containers),) if containers else ()
    todo = decide(SPEC, version(1, SPEC, VersionPhase.TRAINING), jobs=(over,), pods=pods)
    status = status_of(todo)
    if patient:
        assert (status.phase, status.message) == (VersionPhase.TRAINING, "is being trained")
        assert {one.last_transition_time for one in status.conditions} == {NOW}
        assert status.times == {"trainJobCreated": EARLIER}
        assert todo.requeue_after == 1.0
    else:
        assert status.phase is VersionPhase.FAILED
        assert todo.requeue_after is None
        words = {
            COMPLETE: ("ResultLost", "Job dogs-1-train succeeded, but its pod and so its result is gone"),
            FAILED: ("RunFailed", "Job dogs-1-train failed"),
        }
        assert (ready_reason(status), status.message) == words[state]


def test_an_older_pods_end_is_not_taken_for_the_newest_ones():
    lost = job(1, state=FAILED, finished=NOW)
    older = run_pod(lost, answer(failed_result(TRAIN, "StoreUnreachable", "no answer"), 75), name="a", created=EARLIER)
    newer = run_pod(lost, QUIET, name="b", created=NOW)
    todo = decide(SPEC, version(1, SPEC), jobs=(lost,), pods=(newer, older))
    assert status_of(todo).phase is VersionPhase.TRAINING
    assert todo.requeue_after == 1.0


def test_a_deadline_needs_no_pod_to_be_believed():
    lost = job(1, state=FAILED, finished=NOW, failure_reason="DeadlineExceeded")
    assert status_of(decide(SPEC, version(1, SPEC), jobs=(lost,))).phase is VersionPhase.FAILED


def test_a_job_whose_end_has_no_time_is_not_waited_for_forever():
    lost = job(1, state=COMPLETE, finished=None)
    assert ready_reason(status_of(decide(SPEC, version(1, SPEC), jobs=(lost,)))) == "ResultLost"


NO_ANSWERS = {
    "an empty message": ended(exit_code=0),
    "another exit code": answer(train_result(), 3),
    "not ok": answer(train_result(ok=False), 0),
}


@pytest.mark.parametrize("container", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
def test_only_the_answer_of_a_container_that_succeeded_counts(container):
    done = job(1, state=COMPLETE, finished=EARLIER)
    status = status_of(decide(SPEC, version(1, SPEC), jobs=(done,), pods=(run_pod(done, container),)))
    assert ready_reason(status) == "ResultLost"


def test_of_several_containers_the_one_with_an_answer_counts():
    done = job(1, state=COMPLETE)
    pods = (run_pod(done, ended(name="injected"), answer(train_result())),)
    assert status_of(decide(SPEC, version(1, SPEC), jobs=(done,), pods=pods)).phase is VersionPhase.EXPORTING


def test_a_training_that_measured_nothing_has_failed():
    """Nothing could ever be said about such a version, and it would wait for its metrics forever."""
    done = job(1, state=COMPLETE)
    pods = (run_pod(done, answer(train_result(metrics={}))),)
    status = status_of(decide(SPEC, version(1, SPEC), jobs=(done,), pods=pods))
    assert (status.phase, status.message) == (
        VersionPhase.FAILED,
        "Job dogs-1-train succeeded and measured nothing; see its log",
    )
    assert ready_reason(status) == "RunFailed"


@pytest.mark.parametrize(("next_number", "kept"), [(7, 7), (None, 2), (1, 2)])
def test_a_number_that_is_taken_is_remembered_with_the_next_free_one(next_number, kept):
    lost = job(1, state=FAILED)
    taken = failed_result(TRAIN, "NumberTaken", "number 1 is taken", next_number)
    pods = (run_pod(lost, answer(taken, 65)),)
    todo = decide(SPEC, version(1, SPEC), jobs=(lost,), pods=pods)
    assert status_of(todo).next_number == kept
    assert todo.create == ()
    assert todo.requeue_after == 0.0, "nothing else need ever happen that would bring the next version about"


def test_other_failures_give_no_next_number():
    lost = job(1, state=FAILED)
    todo = decide(SPEC, version(1, SPEC), jobs=(lost,), pods=(run_pod(lost, answer(NO_IMAGES, 65)),))
    assert status_of(todo).next_number is None
    assert todo.requeue_after is None


def test_transition_times_move_only_when_a_condition_changes():
    before = version(1, SPEC, VersionPhase.TRAINING, conditions=(said(ConditionType.READY, "Pending"),))
    status = status_of(decide(SPEC, before, jobs=(job(1),)))
    since = {c.type: c.last_transition_time for c in status.conditions}
    assert since == {"Ready": EARLIER, "Reconciling": NOW}
    assert {c.observed_generation for c in status.conditions} == {1}


@pytest.mark.parametrize("words", ["", "Killed", " {}", "[]", "{}", '{"stage": "bake", "ok": true}', "{nonsense"])
def test_log_lines_are_not_taken_for_a_result(words):
    assert parse_result(words) is None


def test_a_result_of_a_newer_trainer_is_read():
    assert parse_result('{"stage": "train", "ok": true, "carbon": 1}') is not None
