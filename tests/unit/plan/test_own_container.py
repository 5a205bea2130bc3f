"""A training by a team's own image: what its containers' ends mean, and that nothing it says is taken for a result."""

import dataclasses
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from keras_operator.api import KerasModelVersionStatus, OwnContainer, Resources, RunStage, VersionPhase
from keras_operator.plan.desired import Template
from keras_operator.plan.observed import Container, JobState
from keras_operator.plan.own_container import own_container

from tests.unit.plan.observations import (
    EARLIER,
    NOW,
    answer,
    created,
    decide,
    ended,
    failed_result,
    job,
    message,
    run_pod,
    train_result,
    trained,
    version,
)

IMAGE = "registry.example.com/vision/net:1.4"
PULLED = "registry.example.com/vision/net@sha256:9f86d081884c7d65"
SPEC = trained(container=OwnContainer(image=IMAGE, params={"width": 64}), epochs=3)
PREPARED = ended(name="prepare", exit_message=msgspec.json.encode(train_result(metrics={})).decode())
TRAINED = ended(name="own", image=PULLED)
QUIET = Container(name="train", waiting_reason="PodInitializing")
FORGED = msgspec.json.encode(train_result(metrics={"accuracy": 1.0})).decode()
UNDER_WAY = version(1, SPEC, VersionPhase.TRAINING)


def after(state: JobState, *containers: Container, **told: Any) -> KerasModelVersionStatus:
    over = job(1, state=state, **told)
    todo = decide(SPEC, UNDER_WAY, jobs=(over,), pods=(run_pod(over, *containers, phase="Failed"),))
    return todo.version_statuses["dogs-1"]


def ended_for(status: KerasModelVersionStatus) -> str:
    return next(one.reason for one in status.conditions if one.type == "Ready")


def test_the_last_container_says_what_was_measured_and_the_pod_which_image_it_was():
    status = after(JobState.COMPLETE, PREPARED, TRAINED, answer(train_result()))
    assert status.phase is VersionPhase.EXPORTING
    assert (status.metrics["accuracy"], status.image) == ("0.91", PULLED)


def test_the_operators_own_image_is_not_named():
    spec = trained()
    done = job(1, state=JobState.COMPLETE)
    todo = decide(spec, version(1, spec), jobs=(done,), pods=(run_pod(done, answer(train_result())),))
    assert todo.version_statuses["dogs-1"].image is None


@pytest.mark.parametrize("last", [QUIET, ended(exit_code=0)], ids=["not seen to end", "without a word"])
def test_what_the_teams_container_says_is_never_a_result(last):
    forged = dataclasses.replace(TRAINED, exit_message=FORGED)
    status = after(JobState.COMPLETE, PREPARED, forged, last, finished=NOW - timedelta(minutes=1))
    assert (status.phase, ended_for(status)) == (VersionPhase.FAILED, "ResultLost")
    assert status.metrics == {}


def test_nor_does_it_choose_the_next_number():
    taken = msgspec.json.encode(failed_result(RunStage.TRAIN, "NumberTaken", "taken", 2_000_000)).decode()
    status = after(JobState.FAILED, PREPARED, ended(name="own", exit_code=65, exit_message=taken), QUIET)
    assert (ended_for(status), status.next_number) == ("ContainerFailed", None)


ENDS = {
    "a mistake": (
        (PREPARED, ended(name="own", exit_code=3, exit_message="Traceback\n  File x\nKeyError: 'filters'\n"), QUIET),
        "ContainerFailed",
        "container own of pod dogs-1-train-x ended with exit code 3: Traceback | File x | KeyError: 'filters'",
    ),
    "too many tries": (
        (PREPARED, ended(name="own", exit_code=75, exit_message="the licence server is away"), QUIET),
        "ContainerFailed",
        "container own of pod dogs-1-train-x ended with exit code 75: the licence server is away",
    ),
    "too little memory": (
        (PREPARED, ended(name="own", exit_code=137, exit_reason="OOMKilled"), QUIET),
        "OutOfMemory",
        (
            "container own of pod dogs-1-train-x was killed for memory: raise spec.training.resources.limits.memory, "
            "or lower what it needs."
        ),
    ),
    "no data": (
        (
            Container(
                name="prepare",
                exit_code=65,
                exit_message=msgspec.json.encode(failed_result(RunStage.TRAIN, "NoImages", "no images")).decode(),
            ),
            Container(name="own", waiting_reason="PodInitializing"),
            QUIET,
        ),
        "NoImages",
        "no images",
    ),
    "no model": (
        (PREPARED, TRAINED, answer(failed_result(RunStage.TRAIN, "BadOutput", "it left nothing"), 65)),
        "BadOutput",
        "it left nothing",
    ),
}


@pytest.mark.parametrize(("containers", "reason", "sentence"), ENDS.values(), ids=ENDS.keys())
def test_each_end_has_its_sentence(containers, reason, sentence):
    status = after(JobState.FAILED, *containers)
    assert (status.phase, ended_for(status), status.message) == (VersionPhase.FAILED, reason, sentence)


def test_the_end_of_the_last_container_is_waited_for_although_others_have_ended():
    status = after(JobState.FAILED, PREPARED, TRAINED, QUIET, finished=NOW)
    assert status.phase is VersionPhase.TRAINING


def words(*containers: Container) -> str:
    going = job(1)
    return message(decide(SPEC, UNDER_WAY, jobs=(going,), pods=(run_pod(going, *containers),)))


UNDER_WAY_WORDS = {
    "preparing": ((Container(name="prepare", running=True), QUIET), "version 1 is starting to train"),
    "training": (
        (PREPARED, Container(name="own", running=True, started=EARLIER), QUIET),
        "version 1 is trained by container own of pod dogs-1-train-x since 11:50 UTC",
    ),
    "failed for good": (
        (PREPARED, ended(name="own", exit_code=1, exit_message="no"), QUIET),
        "version 1 failed in its train Job: container own of pod dogs-1-train-x ended with exit code 1: no",
    ),
    "ended to be tried again": (
        (PREPARED, ended(name="own", exit_code=75, exit_message="later"), QUIET),
        (
            "version 1 is tried again after 1 failure of its train Job: container own of pod dogs-1-train-x ended with "
            "exit code 75: later"
        ),
    ),
    "ended by SIGTERM": (
        (PREPARED, ended(name="own", exit_code=143), QUIET),
        (
            "version 1 is tried again after 1 failure of its train Job: container own of pod dogs-1-train-x ended with "
            "exit code 143"
        ),
    ),
    "not pulled": (
        (PREPARED, Container(name="own", waiting_reason="ErrImagePull", waiting_message="no such tag."), QUIET),
        (
            "version 1 cannot be trained: container own of pod dogs-1-train-x cannot start: no such tag; check "
            "spec.training.container.image, and add what its registry asks for to imagePullSecrets of the model's "
            "ServiceAccount"
        ),
    ),
}


@pytest.mark.parametrize(("containers", "said"), UNDER_WAY_WORDS.values(), ids=UNDER_WAY_WORDS.keys())
def test_how_it_gets_on_is_said_in_words(containers, said):
    assert said in words(*containers)


def test_the_teams_container_has_the_devices_and_those_around_it_have_not():
    asked = Resources(requests={"cpu": "2"}, limits={"memory": "4Gi", "example.com/fpga": 1})
    spec = trained(container=OwnContainer(image=IMAGE), training_resources=asked, gpus_per_worker=2)
    made = created(decide(spec, version(1, spec)), Template.TRAIN_JOB)
    assert made is not None
    assert made.values["resources"] == {"requests": {"cpu": "2"}, "limits": {"memory": "4Gi"}}
    assert made.values["own"]["resources"]["limits"] == {"memory": "4Gi", "example.com/fpga": 1, "nvidia.com/gpu": 2}


def test_only_the_training_is_the_teams():
    spec = SPEC.training
    assert own_container(spec, RunStage.EXPORT, "vision/dogs", 1, {}) is None
    assert own_container(trained().training, RunStage.TRAIN, "vision/dogs", 1, {}) is None
    assert own_container(None, RunStage.EXPORT, "vision/dogs", 1, {}) is None
