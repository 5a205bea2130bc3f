"""When a new version is made, which number it gets, and what is said to have been the reason."""

import msgspec
import pytest
from keras_operator.api import (
    Architecture,
    ArchitectureName,
    Cache,
    ConditionType,
    Data,
    EarlyStopping,
    KerasModelStatus,
    Resources,
    VersionPhase,
    inputs_hash,
)
from keras_operator.plan import Plan
from keras_operator.plan.desired import Removal, Template
from keras_operator.plan.observed import JobState

from tests.unit.plan.observations import (
    NOW,
    STORE,
    brought,
    condition,
    created,
    decide,
    job,
    message,
    phase,
    published,
    said,
    trained,
    version,
)


def due(todo: Plan) -> tuple[int, str] | None:
    """Number and reason of the version that a plan creates, or None."""
    desired = created(todo, Template.VERSION)
    return None if desired is None else (desired.values["number"], desired.values["spec"]["reason"])


def test_a_new_model_gets_version_1_with_all_its_inputs():
    spec = trained(epochs=5)
    desired = created(decide(spec), Template.VERSION)
    assert desired is not None
    assert desired.name == "dogs-1"
    assert desired.values == {
        "model": "dogs",
        "namespace": "vision",
        "name": "dogs-1",
        "owner_kind": "KerasModel",
        "owner_name": "dogs",
        "owner_uid": "uid-dogs",
        "number": 1,
        "spec": {
            "modelName": "dogs",
            "number": 1,
            "inputsHash": inputs_hash(spec),
            "reason": "the first version",
            "training": msgspec.to_builtins(spec.training),
            "store": {"uri": "s3://models/dogs"},
        },
    }


def test_a_source_is_frozen_in_its_version():
    desired = created(decide(brought()), Template.VERSION)
    assert desired is not None
    assert desired.values["spec"]["source"] == {"uri": "s3://models/uploads/dogs"}
    assert "training" not in desired.values["spec"]


def test_a_version_that_is_still_to_be_created_is_not_claimed_in_the_status():
    todo = decide(trained())
    assert todo.status is not None
    assert todo.status.latest_version is None
    assert (phase(todo), message(todo)) == ("Pending", "a new version is being created")


def test_a_creation_that_fails_again_and_again_asks_for_the_same_number():
    status = None
    for _ in range(3):
        todo = decide(trained(), status=status)
        assert due(todo) == (1, "the first version")
        status = todo.status


EPOCHS_10, EPOCHS_20 = trained(), trained(epochs=20)

ROWS = {
    "nothing changed": (EPOCHS_10, [published(1, EPOCHS_10)], 1, None),
    "training changed": (EPOCHS_20, [published(1, EPOCHS_10)], 1, (2, "training.epochs changed from 10 to 20")),
    "training changed to a default": (
        EPOCHS_10,
        [published(1, EPOCHS_20)],
        1,
        (2, "training.epochs changed from 20 to 10"),
    ),
    "only serving changed": (trained(replicas=3, model_name="Dogs"), [published(1, EPOCHS_10)], 1, None),
    "only how the store is reached changed": (
        trained(store=msgspec.structs.replace(STORE, endpoint="http://minio:9000")),
        [published(1, EPOCHS_10)],
        1,
        None,
    ),
    "changed back": (EPOCHS_10, [published(1, EPOCHS_10), published(2, EPOCHS_20)], 2, None),
    "changed back to one that was rejected": (
        EPOCHS_10,
        [version(1, EPOCHS_10, VersionPhase.REJECTED), published(2, EPOCHS_20)],
        2,
        None,
    ),
    "changed back to one that failed": (
        EPOCHS_10,
        [version(1, EPOCHS_10, VersionPhase.FAILED, reason="NoImages"), published(2, EPOCHS_20)],
        2,
        None,
    ),
    "changed back to one that was stopped": (
        EPOCHS_10,
        [version(1, EPOCHS_10, VersionPhase.FAILED, reason="Superseded"), published(2, EPOCHS_20)],
        2,
        (3, "training.epochs changed from 20 to 10"),
    ),
    "the newest was stopped before it finished": (
        EPOCHS_10,
        [version(1, EPOCHS_10, VersionPhase.FAILED, reason="Superseded")],
        1,
        (2, "version 1 did not finish"),
    ),
    "a running version of the same inputs is waited for": (
        EPOCHS_10,
        [version(1, EPOCHS_10, VersionPhase.TRAINING)],
        1,
        None,
    ),
    "a failed version without conditions is a verdict": (
        EPOCHS_10,
        [version(1, EPOCHS_10, VersionPhase.FAILED)],
        1,
        None,
    ),
    "number taken in the store": (
        EPOCHS_10,
        [version(1, EPOCHS_10, VersionPhase.FAILED, reason="NumberTaken", next_number=7)],
        1,
        (7, "number 1 was taken in the store"),
    ),
    "number taken by an older version's answer": (
        EPOCHS_20,
        [version(1, EPOCHS_10, VersionPhase.FAILED, reason="NumberTaken", next_number=7), published(2, EPOCHS_10)],
        2,
        (7, "training.epochs changed from 10 to 20"),
    ),
    "number taken, and a higher one was given since": (
        EPOCHS_20,
        [version(1, EPOCHS_10, VersionPhase.FAILED, reason="NumberTaken", next_number=3), published(5, EPOCHS_10)],
        5,
        (6, "training.epochs changed from 10 to 20"),
    ),
    "the only version was deleted": (EPOCHS_10, [], 4, (5, "version 4 was deleted")),
    "the newest version was deleted": (
        EPOCHS_20,
        [published(1, EPOCHS_10)],
        2,
        (3, "training.epochs changed from 10 to 20"),
    ),
    "the version is on its way out": (
        EPOCHS_10,
        [version(1, EPOCHS_10, VersionPhase.FAILED, reason="NoImages", deleting=True)],
        1,
        (2, "version 1 was deleted"),
    ),
    "the status was lost": (EPOCHS_20, [published(3, EPOCHS_10)], None, (4, "training.epochs changed from 10 to 20")),
    "from training to source": (
        brought(),
        [published(1, EPOCHS_10)],
        1,
        (2, "source was added, training was removed"),
    ),
}


@pytest.mark.parametrize(("spec", "versions", "latest", "expected"), ROWS.values(), ids=ROWS.keys())
def test_a_new_version_is_made_where_the_inputs_ask_for_one(spec, versions, latest, expected):
    todo = decide(spec, *versions, status=KerasModelStatus(latest_version=latest))
    assert due(todo) == expected


@pytest.mark.parametrize(("foreign", "number"), [({3}, 4), ({1, 9}, 10), (set(), 3)])
def test_numbers_of_a_deleted_namesake_are_passed_over(foreign, number):
    todo = decide(EPOCHS_20, published(2, EPOCHS_10), foreign_numbers=frozenset(foreign))
    found = due(todo)
    assert found is not None
    assert found[0] == number


CHANGES = {
    "one": ({"batch_size": 64}, "training.batchSize changed from 32 to 64"),
    "deep": (
        {"architecture": Architecture(name=ArchitectureName.SIMPLE_CNN)},
        "training.architecture.name changed from SmallCNN to SimpleCNN",
    ),
    "a list": (
        {"data": Data(uri="s3://datasets/dogs", image_size=(28, 28))},
        "training.data.imageSize changed from [224, 224] to [28, 28]",
    ),
    "a part": ({"early_stopping": EarlyStopping()}, "training.earlyStopping was added"),
    "three": (
        {"batch_size": 64, "epochs": 2, "seed": 1},
        (
            "training.batchSize changed from 32 to 64, training.epochs changed from 10 to 2, "
            "training.seed changed from 42 to 1"
        ),
    ),
    "four": (
        {"batch_size": 64, "epochs": 2, "seed": 1, "active_deadline_seconds": 60},
        (
            "training.activeDeadlineSeconds changed from 86400 to 60, training.batchSize changed from 32 to 64, "
            "training.epochs changed from 10 to 2 and 1 more"
        ),
    ),
    "five": (
        {"batch_size": 64, "epochs": 2, "seed": 1, "active_deadline_seconds": 60, "loss": "mean_squared_error"},
        (
            "training.activeDeadlineSeconds changed from 86400 to 60, training.batchSize changed from 32 to 64, "
            "training.epochs changed from 10 to 2 and 2 more"
        ),
    ),
}


@pytest.mark.parametrize(("changes", "reason"), CHANGES.values(), ids=CHANGES.keys())
def test_a_version_says_which_fields_made_it(changes, reason):
    assert due(decide(trained(**changes), published(1, EPOCHS_10))) == (2, reason)


def test_where_the_data_is_kept_makes_no_version_and_is_not_frozen_in_one():
    plain, kept = (trained(data=Data(uri="s3://datasets/dogs", cache=one)) for one in (None, Cache(claim_name="data")))
    frozen = [created(decide(spec), Template.VERSION) for spec in (plain, kept)]
    assert frozen[0] is not None
    assert frozen[0] == frozen[1]
    assert due(decide(kept, published(1, plain))) is None
    other = trained(data=Data(uri="s3://datasets/dogs", cache=Cache(claim_name="data")), epochs=2)
    assert due(decide(other, published(1, plain))) == (2, "training.epochs changed from 10 to 2")


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({}, {"cpu": 2}, "training.resources.requests.cpu was added"),
        ({"cpu": 2}, {}, "training.resources.requests.cpu was removed"),
        ({"cpu": 2}, {"cpu": 1}, "training.resources.requests.cpu changed from 2 to 1"),
        (
            {"cpu": 2},
            {"memory": "1Gi"},
            "training.resources.requests.cpu was removed, training.resources.requests.memory was added",
        ),
    ],
    ids=["added", "removed", "changed", "another"],
)
def test_a_version_says_which_resources_made_it(before, after, reason):
    old, new = (trained(training_resources=Resources(requests=requests)) for requests in (before, after))
    assert due(decide(new, published(1, old))) == (2, reason)


def test_the_reason_stays_within_what_its_field_takes():
    long = trained(data=Data(uri="s3://datasets/" + "a" * 1000))
    found = due(decide(trained(data=Data(uri="s3://datasets/" + "b" * 1000)), published(1, long)))
    assert found is not None
    assert len(found[1]) == 900


def test_a_suspended_model_makes_no_version():
    todo = decide(trained(suspend=True))
    assert todo.create == ()
    assert (phase(todo), message(todo)) == ("Suspended", "suspended: no version is made")


def test_a_suspended_model_whose_training_changes_lets_what_runs_finish():
    changed = trained(epochs=20, suspend=True)
    todo = decide(changed, version(1, EPOCHS_10, VersionPhase.TRAINING), jobs=(job(1),))
    assert (todo.create, todo.remove, dict(todo.version_statuses)) == ((), (), {})
    assert message(todo) == "suspended: no version is made; Job dogs-1-train of the spec before runs on"


@pytest.mark.parametrize("gone", [job(1, state=JobState.COMPLETE), job(1, deleting=True)], ids=["over", "going"])
def test_a_suspended_model_speaks_of_no_job_that_does_not_run(gone):
    todo = decide(trained(epochs=20, suspend=True), version(1, EPOCHS_10, VersionPhase.TRAINING), jobs=(gone,))
    assert message(todo) == "suspended: no version is made"


def test_a_version_that_is_no_longer_asked_for_is_stopped_and_says_so():
    old = version(1, EPOCHS_10, VersionPhase.TRAINING)
    running = job(1)
    todo = decide(EPOCHS_20, old, jobs=(running,))
    assert due(todo) == (2, "training.epochs changed from 10 to 20")
    status = todo.version_statuses["dogs-1"]
    assert status.phase is VersionPhase.FAILED
    assert status.message == "the model's spec changed before this version was finished, so it was stopped"
    assert {(c.type, c.status, c.reason, c.last_transition_time) for c in status.conditions} == {
        ("Ready", "False", "Superseded", NOW),
        ("Stalled", "True", "Superseded", NOW),
    }
    assert status.finished_at == NOW
    assert todo.remove == (Removal("Job", "dogs-1-train", running.identity.uid),)


JOBS = {
    "of a stopped version": (job(1), True),
    "of a stopped version, done": (job(1, state=JobState.COMPLETE), False),
    "of a stopped version, failed": (job(1, state=JobState.FAILED), False),
    "of a stopped version, on its way out": (job(1, deleting=True), False),
    "of the current version": (job(2), False),
}


@pytest.mark.parametrize(("running", "removed"), JOBS.values(), ids=JOBS.keys())
@pytest.mark.parametrize("told", [False, True], ids=["status not yet written", "status written before"])
def test_a_stopped_version_leaves_no_job_running(running, removed, told):
    """Also where its status was written and the deletion failed: nobody else would ever stop the Job."""
    old = version(1, EPOCHS_10, VersionPhase.FAILED, reason="Superseded") if told else version(1, EPOCHS_10)
    todo = decide(EPOCHS_20, old, version(2, EPOCHS_20, VersionPhase.TRAINING), jobs=(running,))
    assert bool(todo.remove) is removed


@pytest.mark.parametrize("phase_then", [VersionPhase.PUBLISHED, VersionPhase.REJECTED, VersionPhase.FAILED])
def test_versions_that_ended_stay_as_they_are(phase_then):
    old = version(1, EPOCHS_10, phase_then)
    todo = decide(EPOCHS_20, old, version(2, EPOCHS_20, VersionPhase.TRAINING), jobs=(job(2),))
    assert set(todo.version_statuses) == {"dogs-2"}


@pytest.mark.parametrize("phase_then", [None, VersionPhase.PENDING, VersionPhase.TRAINING, VersionPhase.EXPORTING])
def test_versions_that_did_not_end_are_stopped(phase_then):
    todo = decide(EPOCHS_20, version(1, EPOCHS_10, phase_then), version(2, EPOCHS_20), jobs=())
    assert todo.version_statuses["dogs-1"].phase is VersionPhase.FAILED


def test_of_two_versions_with_the_same_inputs_the_newer_one_counts():
    """The older one may have been there before a number was taken, or an operator of an older release made it."""
    todo = decide(EPOCHS_10, published(2, EPOCHS_10), version(1, EPOCHS_10, VersionPhase.TRAINING))
    assert todo.version_statuses["dogs-1"].phase is VersionPhase.FAILED
    assert "dogs-2" in todo.version_statuses


@pytest.mark.parametrize(("remembered", "latest"), [(None, 2), (1, 2), (3, 3)])
def test_the_latest_version_is_the_highest_number_ever_given(remembered, latest):
    versions = (published(2, EPOCHS_10), published(1, EPOCHS_20))
    todo = decide(EPOCHS_10, *versions, status=KerasModelStatus(latest_version=remembered))
    assert todo.status is not None
    assert todo.status.latest_version == latest


def test_a_version_stopped_now_keeps_when_it_was_finished_before():
    ready = said(ConditionType.READY, "Training")
    old = version(1, EPOCHS_10, VersionPhase.TRAINING, conditions=(ready,))
    todo = decide(EPOCHS_20, old)
    kept_since = {c.type: c.last_transition_time for c in todo.version_statuses["dogs-1"].conditions}
    assert kept_since["Ready"] == ready.last_transition_time
    assert condition(todo, "Trained") is None
