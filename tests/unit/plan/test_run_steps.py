"""How a version gets on: which Job is created when, with what, and what is said while it runs."""

import dataclasses
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from keras_operator.api import (
    Builder,
    Cache,
    ConfigMapKey,
    Credentials,
    Data,
    KerasModelSpec,
    KerasModelVersionStatus,
    Resources,
    RunSpec,
    RunStage,
    Store,
    VersionPhase,
    inputs_hash,
    store_digest,
)
from keras_operator.plan import Plan
from keras_operator.plan.desired import Removal, Template
from keras_operator.plan.observed import Container, JobState

from tests.unit.plan.observations import (
    EARLIER,
    GOOD_METRICS,
    INSTALLATION,
    NOW,
    answer,
    brought,
    created,
    decide,
    job,
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


def statements(status: KerasModelVersionStatus) -> list[tuple[str, str, str, str, datetime]]:
    return [(c.type, c.status, c.reason, c.message, c.last_transition_time) for c in status.conditions]


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
    assert statements(status) == [
        ("Ready", "False", "Training", "is being trained", NOW),
        ("Reconciling", "True", "Training", "is being trained", NOW),
    ]


def test_only_the_training_job_waits_for_the_builders_config_map():
    builder = Builder(config_map_key_ref=ConfigMapKey(name="my-net", key="net.py"))
    spec = trained(builder=builder)
    training = created(decide(spec, version(1, spec)), Template.TRAIN_JOB)
    assert training is not None
    assert training.values["builder_ref"] == {"name": "my-net", "key": "net.py"}
    export = created(decide(spec, version(1, spec, metrics=GOOD_METRICS)), Template.EXPORT_JOB)
    assert export is not None
    assert export.values["builder_ref"] is None, "it takes the source that the training kept"


def test_the_training_job_is_told_everything_about_its_run():
    resources = Resources(requests={"cpu": "2"}, limits={"memory": "4Gi"})
    store = Store(uri="s3://models/dogs", endpoint="http://minio:9000", credentials=Credentials(secret_name="minio"))
    spec = trained(training_resources=resources, active_deadline_seconds=600, model_name="Dogs", store=store)
    desired = created(decide(spec, version(3, spec)), Template.TRAIN_JOB)
    assert desired is not None
    run = msgspec.json.decode(desired.values["run"], type=RunSpec)
    assert run == RunSpec(
        model_name="Dogs",
        model="vision/dogs",
        number=3,
        owner="uid-dogs-3",
        store=store,
        training=spec.training,
        inputs_hash=inputs_hash(spec),
        image=INSTALLATION.images.trainer,
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
            "node_selector": {},
            "tolerations": (),
            "priority_class": None,
            "queue": None,
            "own": None,
            "active_deadline_seconds": 600,
            "builder_ref": None,
            "store_digest": store_digest(store),
            "cache_claim": None,
            "cache_gigabytes": None,
            "secret_name": "minio",
            "workers": 1,
            "workers_service": "dogs-workers",
            "chief": "dogs-3-train-0.dogs-workers:8503",
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


CORRECTED = Store(uri="s3://models/dogs", credentials=Credentials(secret_name="right"))
NO_SECRET = Container(
    name="train", waiting_reason="CreateContainerConfigError", waiting_message='secret "wrong" not found'
)


@pytest.mark.parametrize("stage", RunStage)
def test_a_job_that_waits_for_a_secret_is_made_anew_when_the_model_names_another(stage: RunStage):
    spec = trained(store=CORRECTED)
    metrics = GOOD_METRICS if stage is EXPORT else {}
    waits = job(1, stage, store=store_digest(SPEC.store))
    pod = run_pod(waits, dataclasses.replace(NO_SECRET, name=stage.value), phase="Pending")
    this = version(1, spec, metrics=metrics)
    todo = decide(spec, this, jobs=(waits,), pods=(pod,))
    assert todo.remove == (Removal("Job", waits.identity.name, waits.identity.uid),)
    assert (todo.create, todo.requeue_after) == ((), 1.0)
    assert "Secret wrong is not in namespace" in str(status_of(todo).message)
    # Its end is waited for, and then comes the next.
    going = dataclasses.replace(waits, identity=dataclasses.replace(waits.identity, deleting=True))
    assert decide(spec, this, jobs=(going,), pods=(pod,)).remove == ()
    assert jobs_created(decide(spec, this)) == [waits.identity.name]


def cached(claim: str | None) -> KerasModelSpec:
    """A model whose data has a cache on this claim."""
    cache = None if claim is None else Cache(claim_name=claim)
    return trained(data=Data(uri="s3://datasets/dogs", cache=cache))


@pytest.mark.parametrize("corrected", ["datasets", None])
def test_a_job_that_waits_for_a_claim_is_made_anew_when_the_model_names_another_or_none(corrected: str | None):
    wrong, right = cached("datsets"), cached(corrected)
    made = created(decide(wrong, version(1, wrong)), Template.TRAIN_JOB)
    assert made is not None
    assert made.values["cache_claim"] == "datsets"
    waits = job(1, store=str(made.values["store_digest"]))
    pod = run_pod(waits, phase="Pending", unschedulable='persistentvolumeclaim "datsets" not found')
    assert decide(wrong, version(1, wrong), jobs=(waits,), pods=(pod,)).remove == ()
    todo = decide(right, version(1, wrong), jobs=(waits,), pods=(pod,))
    assert todo.remove == (Removal("Job", waits.identity.name, waits.identity.uid),)
    again = created(decide(right, version(1, wrong)), Template.TRAIN_JOB)
    assert again is not None
    assert again.values["cache_claim"] == corrected


def test_an_export_has_nothing_to_do_with_the_cache():
    spec = cached("datasets")
    made = created(decide(spec, version(1, spec, metrics=GOOD_METRICS)), Template.EXPORT_JOB)
    assert made is not None
    assert (made.values["cache_claim"], made.values["store_digest"]) == (None, store_digest(spec.store))


@pytest.mark.parametrize(
    ("changes", "container", "suspend"),
    [
        ({"store": store_digest(CORRECTED)}, NO_SECRET, False),
        # Of a release, or a template, that does not say.
        ({}, NO_SECRET, False),
        ({"store": "other"}, NO_SECRET, True),
        ({"store": "other"}, Container(name="train", running=True), False),
    ],
    ids=["reaches the store as the model says", "does not say", "suspended", "works"],
)
def test_any_other_job_goes_on(changes: dict[str, Any], container: Container, suspend: bool):
    spec = trained(store=CORRECTED, suspend=suspend)
    this = job(1, **changes)
    todo = decide(spec, version(1, spec), jobs=(this,), pods=(run_pod(this, container),))
    assert (todo.remove, todo.create) == ((), ())


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
    assert statements(status) == [
        ("Ready", "False", "Suspended", "suspended before its next Job", NOW),
        ("Reconciling", "True", "Suspended", "suspended before its next Job", NOW),
    ]


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
        "no node can take pod dogs-1-train-x: 0/1 nodes are available: 1 Insufficient memory; "
        "lower memory under spec.training.resources, or add a larger node."
    )
