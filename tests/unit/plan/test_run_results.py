"""What becomes of a version when a Job succeeds: its result is written down once."""

from datetime import timedelta

import msgspec
from keras_operator.api import (
    Images,
    KerasModelVersionStatus,
    RunStage,
    VersionPhase,
)
from keras_operator.plan import Plan
from keras_operator.plan.observed import JobState

from tests.unit.plan.observations import (
    EARLIER,
    GOOD_METRICS,
    NOW,
    answer,
    brought,
    decide,
    export_result,
    job,
    published,
    run_pod,
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
    todo = decide(SPEC, version(1, SPEC, VersionPhase.PENDING, metrics=GOOD_METRICS))
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
