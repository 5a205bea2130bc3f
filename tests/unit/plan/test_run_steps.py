"""How a version gets on: which Job is created when, and what becomes of a version when a Job ends."""

from datetime import timedelta

import msgspec
import pytest
from keras_operator.api import (
    ConditionType,
    Credentials,
    Images,
    KerasModelVersionStatus,
    Resources,
    RunSpec,
    RunStage,
    Store,
    VersionPhase,
)
from keras_operator.plan import Plan
from keras_operator.plan.desired import Template
from keras_operator.plan.observed import Container, JobState
from keras_operator.plan.run import parse_result

from tests.unit.plan.observations import (
    EARLIER,
    GOOD_METRICS,
    NOW,
    answer,
    brought,
    created,
    decide,
    ended,
    export_result,
    failed_result,
    job,
    published,
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


def jobs_created(todo: Plan) -> list[str]:
    return [desired.name for desired in todo.create]


def ready_reason(status: KerasModelVersionStatus) -> str:
    return next(one.reason for one in status.conditions if one.type == "Ready")


def test_a_fresh_version_gets_its_training_job():
    todo = decide(SPEC, version(1, SPEC))
    assert jobs_created(todo) == ["dogs-1-train"]
    status = status_of(todo)
    assert (status.phase, status.message) == (VersionPhase.TRAINING, "is being trained")
    assert status.times == {}
    assert status.started_at is None
    assert todo.requeue_after is None


def test_the_training_job_is_told_everything_about_its_run():
    resources = Resources(requests={"cpu": "2"}, limits={"memory": "4Gi"})
    store = Store(uri="s3://models/dogs", endpoint="http://minio:9000", credentials=Credentials(secret_name="minio"))
    spec = trained(training_resources=resources, active_deadline_seconds=600, model_name="Dogs", store=store)
    desired = created(decide(spec, version(3, spec)), Template.TRAIN_JOB)
    assert desired is not None
    run = msgspec.json.decode(desired.values["run"], type=RunSpec)
    assert run == RunSpec(
        model_name="Dogs", model="vision/dogs", number=3, owner="uid-dogs-3", store=store, training=spec.training
    )
    rest = {name: value for name, value in desired.values.items() if name != "run"}
    assert (desired.name, rest) == (
        "dogs-3-train",
        {
            "model": "dogs",
            "namespace": "vision",
            "name": "dogs-3-train",
            "owner_kind": "KerasModelVersion",
            "owner_name": "dogs-3",
            "owner_uid": "uid-dogs-3",
            "number": 3,
            "service_account": "dogs",
            "image": "trainer:1",
            "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "4Gi"}},
            "active_deadline_seconds": 600,
            "secret_name": "minio",
        },
    )


def test_the_same_run_is_written_the_same_way_however_its_yaml_was():
    runs = set()
    for requests in ({"cpu": "1", "memory": "1Gi"}, {"memory": "1Gi", "cpu": "1"}):
        spec = trained(training_resources=Resources(requests=requests))  # type: ignore[arg-type]
        desired = created(decide(spec, version(1, spec)), Template.TRAIN_JOB)
        assert desired is not None
        runs.add(desired.values["run"])
    assert len(runs) == 1


def test_corrected_credentials_reach_the_job_of_a_version_made_before():
    old = trained()
    store = Store(uri="s3://models/dogs", credentials=Credentials(secret_name="right"))
    desired = created(decide(trained(store=store), version(1, old)), Template.TRAIN_JOB)
    assert desired is not None
    assert desired.values["secret_name"] == "right"


def test_a_job_without_credentials_uses_the_pods_own_identity_and_the_models_name():
    desired = created(decide(SPEC, version(1, SPEC)), Template.TRAIN_JOB)
    assert desired is not None
    assert desired.values["secret_name"] is None
    assert desired.values["active_deadline_seconds"] == 86_400
    assert msgspec.json.decode(desired.values["run"])["modelName"] == "dogs"


def test_a_source_goes_straight_to_its_export():
    spec = brought()
    desired = created(decide(spec, version(1, spec)), Template.EXPORT_JOB)
    assert desired is not None
    assert desired.name == "dogs-1-export"
    assert msgspec.json.decode(desired.values["run"])["source"] == {"uri": "s3://models/uploads/dogs"}
    assert desired.values["resources"] == {}
    assert desired.values["active_deadline_seconds"] == 3600


def test_an_export_is_given_an_hour_however_long_training_may_take():
    todo = decide(SPEC, version(1, SPEC, VersionPhase.EXPORTING))
    desired = created(todo, Template.EXPORT_JOB)
    assert desired is not None
    assert desired.values["active_deadline_seconds"] == 3600
    assert (status_of(todo).phase, status_of(todo).message) == (
        VersionPhase.EXPORTING,
        "is being exported and published",
    )


@pytest.mark.parametrize("phase_then", [None, VersionPhase.PENDING, VersionPhase.TRAINING])
@pytest.mark.parametrize("spec", [trained(suspend=True), brought(suspend=True)], ids=["training", "source"])
def test_a_suspended_model_starts_no_job(spec, phase_then):
    todo = decide(spec, version(1, spec, phase_then))
    assert todo.create == ()
    status = status_of(todo)
    assert (status.phase, status.message) == (VersionPhase.PENDING, "suspended before its next Job")
    assert ready_reason(status) == "Suspended"


def test_a_suspended_model_lets_a_running_job_finish():
    spec = trained(suspend=True)
    todo = decide(spec, version(1, spec, VersionPhase.TRAINING), jobs=(job(1),))
    assert todo.remove == ()
    assert status_of(todo).phase is VersionPhase.TRAINING


def test_a_training_that_ends_while_suspended_is_kept_and_not_exported():
    spec = trained(suspend=True)
    done = job(1, state=COMPLETE)
    todo = decide(spec, version(1, spec), jobs=(done,), pods=(run_pod(done, answer(train_result())),))
    assert todo.create == ()
    assert status_of(todo).metrics == GOOD_METRICS
    assert status_of(todo).phase is VersionPhase.PENDING


def test_a_running_job_is_not_created_again_and_its_start_is_noted():
    running = job(1)
    status = status_of(todo := decide(SPEC, version(1, SPEC, VersionPhase.TRAINING), jobs=(running,)))
    assert todo.create == ()
    assert status.times == {"trainJobCreated": EARLIER}
    assert status.started_at == EARLIER


def test_what_was_noted_first_stays():
    first = EARLIER - timedelta(hours=1)
    before = version(1, SPEC, VersionPhase.TRAINING, times={"trainJobCreated": first}, started_at=first)
    status = status_of(decide(SPEC, before, jobs=(job(1),)))
    assert status.times == {"trainJobCreated": first}
    assert status.started_at == first


@pytest.mark.parametrize(
    ("age", "seconds"), [(0, 1.0), (29, 1.0), (60, 2.0), (300, 10.0), (7200, 10.0)], ids=lambda value: f"{value}"
)
def test_a_run_is_asked_for_its_progress_less_often_the_older_it_is(age, seconds):
    running = job(1, created=NOW - timedelta(seconds=age))
    assert decide(SPEC, version(1, SPEC), jobs=(running,)).requeue_after == pytest.approx(seconds)


def test_a_job_that_cannot_start_says_so_in_the_versions_status():
    running = job(1)
    stuck = run_pod(running, unschedulable="0/1 nodes are available: 1 Insufficient memory.")
    status = status_of(decide(SPEC, version(1, SPEC), jobs=(running,), pods=(stuck,)))
    assert status.phase is VersionPhase.TRAINING
    assert ready_reason(status) == "Unschedulable"
    assert status.message == (
        "no node can take pod dogs-1-train-x: 0/1 nodes are available: 1 Insufficient memory. "
        "Lower its resource requests or add a node that fits."
    )


def test_a_training_result_is_written_down_and_the_export_follows_at_once():
    done = job(1, state=COMPLETE)
    result = train_result(
        metrics={"val_loss": 0.2512345678, "accuracy": 0.9},
        classes=10,
        images=Images(train=70, validation=20, test=10),
        bad_files=3,
        times={"started": EARLIER, "epoch1": NOW},
    )
    todo = decide(SPEC, version(1, SPEC, VersionPhase.TRAINING), jobs=(done,), pods=(run_pod(done, answer(result)),))
    assert jobs_created(todo) == ["dogs-1-export"]
    status = status_of(todo)
    assert list(status.metrics.items()) == [("accuracy", "0.9"), ("val_loss", "0.251235")]
    assert status.classes == 10
    assert status.images is not None
    assert msgspec.to_builtins(status.images) == {"train": 70, "validation": 20, "test": 10}
    assert status.bad_files == 3
    assert status.times == {"trainJobCreated": EARLIER, "started": EARLIER, "epoch1": NOW}
    assert status.started_at == EARLIER
    assert status.phase is VersionPhase.EXPORTING
    assert status.finished_at is None


def test_a_result_without_counts_leaves_them_out():
    done = job(1, state=COMPLETE)
    todo = decide(SPEC, version(1, SPEC), jobs=(done,), pods=(run_pod(done, answer(train_result())),))
    assert status_of(todo).images is None


def test_a_long_training_leaves_out_epochs_that_the_status_cannot_hold():
    done = job(1, state=COMPLETE)
    epochs = {f"epoch{n}": NOW + timedelta(seconds=n) for n in range(1, 42)}
    noted = []
    for count in (40, 41):
        result = train_result(times={"started": EARLIER} | dict(list(epochs.items())[:count]))
        todo = decide(SPEC, version(1, SPEC), jobs=(done,), pods=(run_pod(done, answer(result)),))
        noted.append(set(status_of(todo).times))
    assert noted[0] == {"trainJobCreated", "started", *list(epochs)[:40]}
    assert noted[1] == {"trainJobCreated", "started", "epoch1", "epoch2", "epoch3", "epoch41"}


def test_what_was_trained_is_not_trained_again_when_its_job_is_gone():
    todo = decide(SPEC, version(1, SPEC, VersionPhase.EVALUATED, metrics=GOOD_METRICS))
    assert jobs_created(todo) == ["dogs-1-export"]


def test_a_deleted_training_job_is_started_again():
    assert jobs_created(decide(SPEC, version(1, SPEC, VersionPhase.TRAINING))) == ["dogs-1-train"]


def test_an_export_result_publishes_the_version():
    done = job(1, EXPORT, COMPLETE)
    before = version(1, SPEC, VersionPhase.EXPORTING, times={"started": EARLIER}, started_at=EARLIER, classes=10)
    result = export_result(classes=99, times={"started": NOW, "published": NOW})
    todo = decide(SPEC, before, jobs=(done,), pods=(run_pod(done, answer(result)),))
    status = status_of(todo)
    assert todo.create == ()
    assert (status.phase, status.message) == (VersionPhase.PUBLISHED, "is published at s3://models/dogs/1")
    assert status.servable is not None
    assert msgspec.to_builtins(status.servable) == {
        "uri": "s3://models/dogs/1",
        "digest": "sha256:0",
        "bytes": 9,
        "signatures": ("serving_default",),
    }
    assert status.parity == "2.4e-07"
    assert status.classes == 10
    assert status.times == {
        "started": EARLIER,
        "exportJobCreated": EARLIER,
        "exportStarted": NOW,
        "published": NOW,
    }
    assert status.finished_at == NOW
    assert [(c.type, c.status, c.reason) for c in status.conditions] == [("Ready", "True", "Published")]


def test_the_export_of_a_source_brings_what_is_known_of_it():
    spec = brought()
    done = job(1, EXPORT, COMPLETE)
    result = export_result(classes=7, parity=None)
    status = status_of(decide(spec, version(1, spec), jobs=(done,), pods=(run_pod(done, answer(result)),)))
    assert (status.classes, status.parity, status.started_at) == (7, None, EARLIER)


def test_a_result_without_a_servable_still_publishes():
    done = job(1, EXPORT, COMPLETE)
    pods = (run_pod(done, answer(export_result(servable=None))),)
    status = status_of(decide(SPEC, version(1, SPEC, VersionPhase.EXPORTING), jobs=(done,), pods=pods))
    assert (status.message, status.servable) == ("is published", None)


def test_a_published_version_is_never_touched_again():
    before = published(1, SPEC)
    todo = decide(SPEC, before, jobs=(job(1, EXPORT, FAILED),))
    assert status_of(todo) == before.status
    assert todo.create == ()


def test_a_failed_version_is_never_started_again():
    before = version(1, SPEC, VersionPhase.FAILED, reason="NoImages")
    todo = decide(SPEC, before)
    assert status_of(todo) == before.status
    assert todo.create == ()


QUIET = Container(name="train")
CRASH = "Traceback (most recent call last):\n  File x\nValueError: no\n"
NO_IMAGES = failed_result(TRAIN, "NoImages", "no images under s3://datasets/dogs: upload some")

FAILURES = {
    "said by the run": (answer(NO_IMAGES, 65), {}, "NoImages", "no images under s3://datasets/dogs: upload some"),
    "killed for memory": (
        ended(exit_code=137, exit_reason="OOMKilled"),
        {},
        "OutOfMemory",
        "container train of pod dogs-1-train-x was killed for memory: raise its limits.memory, or lower what it needs.",
    ),
    "killed": (
        ended(exit_code=137),
        {},
        "OutOfMemory",
        "container train of pod dogs-1-train-x was killed for memory: raise its limits.memory, or lower what it needs.",
    ),
    "killed for memory with another exit code": (
        ended(exit_code=1, exit_reason="OOMKilled"),
        {},
        "OutOfMemory",
        "container train of pod dogs-1-train-x was killed for memory: raise its limits.memory, or lower what it needs.",
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
            "Job dogs-1-train did not end within 86400 s: raise training.activeDeadlineSeconds, or make the training "
            "smaller"
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


def test_other_failures_give_no_next_number():
    lost = job(1, state=FAILED)
    todo = decide(SPEC, version(1, SPEC), jobs=(lost,), pods=(run_pod(lost, answer(NO_IMAGES, 65)),))
    assert status_of(todo).next_number is None


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
