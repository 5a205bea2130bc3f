"""A training of several workers: how they find each other, who is listened to, and who is to blame."""

import dataclasses

import pytest
from keras_operator.api import RunError, RunReason, RunResult, RunStage
from keras_operator.plan.desired import Removal, Template
from keras_operator.plan.observed import Container, JobState, Pod

from tests.unit.plan.observations import (
    answer,
    child,
    created,
    decide,
    ended,
    failed_result,
    job,
    kept,
    message,
    published,
    run_pod,
    train_result,
    trained,
    version,
)

TOGETHER = trained(workers=3)
TRAIN = RunStage.TRAIN
THERE = child("Service")
FOLLOWED = failed_result(TRAIN, "Interrupted", "worker 1 of 3 has ended, so all of them go on together")
STOPPED = failed_result(TRAIN, "Interrupted", "The train stage was stopped by SIGTERM while epoch 3/10 done")
KILLED = Container(name="train", exit_code=137, exit_reason="OOMKilled")
FULL = "0/1 nodes are available: 1 Insufficient cpu."


def run(state: JobState = JobState.ACTIVE, **changes):
    return job(1, state=state, workers=3, **changes)


def worker(index: int, *containers: Container, of=None, **changes) -> Pod:
    return run_pod(of or run(), *containers, index=index, name=f"dogs-1-train-{index}-x", **changes)


def words(*pods: Pod, of=None, **seen) -> str:
    todo = decide(TOGETHER, version(1, TOGETHER), jobs=(of or run(),), pods=pods, **seen)
    return message(todo)


def outcome(state: JobState, *pods: Pod):
    todo = decide(TOGETHER, version(1, TOGETHER), jobs=(run(state),), pods=pods)
    return todo.version_statuses["dogs-1"]


def test_a_service_gives_them_names_from_the_first_moment():
    service = kept(decide(TOGETHER), Template.WORKERS_SERVICE)
    assert service is not None
    assert (service.name, service.values["owner_uid"]) == ("dogs-workers", "uid-dogs")


@pytest.mark.parametrize("workers", [1, 3])
def test_each_training_is_told_how_many_it_is_and_the_export_is_one(workers):
    spec = trained(workers=workers)
    train = created(decide(spec, version(1, spec)), Template.TRAIN_JOB)
    assert train is not None
    assert (train.values["workers"], train.values["chief"]) == (workers, "dogs-1-train-0.dogs-workers:8503")
    assert kept(decide(spec), Template.NETWORK_POLICY).values["workers"] is (workers > 1)  # type: ignore[union-attr]
    trained_version = version(1, spec, metrics={"accuracy": "0.9"})
    export = created(decide(spec, trained_version), Template.EXPORT_JOB)
    assert export is not None
    assert export.values["workers"] == 1


def test_without_workers_there_is_no_service_and_one_that_is_left_goes():
    alone = trained()
    assert kept(decide(alone), Template.WORKERS_SERVICE) is None
    assert decide(alone, workers_service=THERE).remove == (Removal("Service", "dogs-workers", "uid-Service"),)
    going = dataclasses.replace(THERE, identity=dataclasses.replace(THERE.identity, deleting=True))
    assert decide(alone, workers_service=going).remove == ()


def test_a_suspended_model_lets_its_workers_find_each_other_to_the_end():
    alone = trained(suspend=True)
    todo = decide(alone, version(1, TOGETHER), jobs=(run(),), workers_service=THERE)
    assert kept(todo, Template.WORKERS_SERVICE)
    assert todo.remove == ()


def test_nobody_is_trained_again_for_a_field_that_says_what_was_so():
    todo = decide(trained(workers=1), published(1, trained()))
    assert created(todo, Template.VERSION) is None
    assert created(decide(TOGETHER, published(1, trained())), Template.VERSION) is not None


def test_workers_that_have_no_node_are_counted():
    pods = (
        worker(0, Container(name="train", running=True)),
        worker(1, unschedulable=FULL),
        worker(2, unschedulable=FULL),
    )
    assert "2 of 3 workers cannot be scheduled: no node can take pod dogs-1-train-1-x: 0/1 nodes" in words(*pods)


def test_a_worker_that_cannot_start_is_named():
    waiting = Container(name="train", waiting_reason="ErrImagePull", waiting_message="no such host")
    said = words(worker(0, Container(name="train", running=True)), worker(1, waiting))
    assert "worker 1 of 3: container train of pod dogs-1-train-1-x cannot start: no such host" in said


def test_a_worker_that_may_not_be_created_is_said_though_others_run():
    quota = "Error creating: pods is forbidden: exceeded quota: small, requested: cpu=1"
    said = words(worker(0, Container(name="train", running=True)), job_warnings={"dogs-1-train": quota})
    assert "Job dogs-1-train cannot create its pod: it would exceed ResourceQuota small" in said


def test_whoever_ended_for_another_one_is_not_the_failure():
    pods = (worker(1, KILLED_BY_SOMEBODY, phase="Failed"), worker(0, answer(FOLLOWED, 76), phase="Failed"))
    assert "is tried again after 1 failure of its train Job: worker 1 of 3: The train stage was killed" in words(*pods)


KILLED_BY_SOMEBODY = answer(
    RunResult(
        stage=TRAIN,
        ok=False,
        error=RunError(reason=RunReason.INTERRUPTED, message="The train stage was killed by somebody (SIGKILL)"),
    ),
    75,
)

ENDS = {
    "killed for memory": (
        (worker(1, KILLED), worker(0, answer(FOLLOWED, 76)), worker(2, answer(STOPPED, 75))),
        "OutOfMemory",
        (
            "worker 1 of 3: container train of pod dogs-1-train-1-x was killed for memory: raise "
            "spec.training.resources.limits.memory, or lower what it needs, such as spec.training.batchSize or "
            "data.imageSize."
        ),
    ),
    "wrong inputs, which are everybody's": (
        (
            worker(2, answer(failed_result(TRAIN, "NoImages", "no images: upload some"), 65)),
            worker(0, answer(STOPPED, 75)),
        ),
        "NoImages",
        "no images: upload some",
    ),
    "crashed": (
        (worker(0, answer(FOLLOWED, 76)), worker(1, ended(exit_code=1, message="ValueError: no"))),
        "ContainerFailed",
        "worker 1 of 3: container train of pod dogs-1-train-1-x ended with exit code 1: ValueError: no",
    ),
}


@pytest.mark.parametrize(("pods", "reason", "sentence"), ENDS.values(), ids=ENDS)
def test_the_one_that_failed_is_named(pods, reason, sentence):
    status = outcome(JobState.FAILED, *pods)
    assert (status.phase, status.message) == ("Failed", sentence)
    assert next(one.reason for one in status.conditions if one.type == "Ready") == reason


def test_a_job_is_not_judged_before_the_one_that_failed_is_seen():
    assert outcome(JobState.FAILED, worker(0, answer(FOLLOWED, 76))).phase == "Training"


def test_the_result_is_the_first_ones():
    nothing = RunResult(stage=TRAIN, ok=True)
    status = outcome(JobState.COMPLETE, worker(0, answer(train_result())), worker(1, answer(nothing)))
    assert status.metrics["accuracy"] == "0.91"
    assert outcome(JobState.COMPLETE, worker(1, answer(nothing))).phase == "Training", (
        "the first one is still to be seen"
    )
