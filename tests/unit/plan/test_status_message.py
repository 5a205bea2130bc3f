"""The one sentence and the one word that people read about a model.

One long table on purpose: the sentences are to be read side by side.
"""

from datetime import timedelta
from typing import Any

import pytest
from keras_operator.api import (
    Architecture,
    ArchitectureName,
    KerasModelStatus,
    Phase,
    Progress,
    ProgressStage,
    RunStage,
    VersionPhase,
)
from keras_operator.plan.observed import AgentReport, AgentTrouble, Container, JobState

from tests.unit.plan.observations import (
    EARLIER,
    NOW,
    answer,
    brought,
    decide,
    deployment,
    ended,
    failed_result,
    gated,
    job,
    message,
    phase,
    published,
    run_pod,
    serving_pod,
    trained,
    version,
)

ONE, TWO = trained(), trained(epochs=20)
TABLE = trained(architecture=Architecture(name=ArchitectureName.MLP))
TRAINING = version(1, ONE, VersionPhase.TRAINING)
SERVES_ONE: dict[str, Any] = {"deployment": deployment(1), "pods": (serving_pod(1),)}
PENDING_POD = serving_pod(2, ready=False)
LATE: dict[str, Any] = {
    "deployment": deployment(2, 2, total=2, updated=1, stuck=True),
    "pods": (serving_pod(1), PENDING_POD),
}


def training_now(stage: ProgressStage = ProgressStage.TRAINING, **told: Any) -> dict[str, Any]:
    return {"jobs": (job(1),), "progress": Progress(stage=stage, **told)}


def ending(stage: RunStage, exit_code: int) -> dict[str, Any]:
    """A Job that runs, with a pod of its own that is over, and one of another version that does not matter."""
    running, other = job(1, stage), job(2, stage)
    return {
        "jobs": (running,),
        "pods": (run_pod(running, ended(stage, exit_code)), run_pod(other, ended(stage))),
    }


def exporting_now(stage: ProgressStage) -> dict[str, Any]:
    return {"jobs": (job(1, RunStage.EXPORT),), "progress": Progress(stage=stage)}


EXPORTING = version(1, ONE, VersionPhase.EXPORTING)
STUCK_JOB = job(1)
STUCK: dict[str, Any] = {
    "jobs": (STUCK_JOB,),
    "pods": (run_pod(STUCK_JOB, unschedulable="no node fits."),),
}
STUCK_EXPORT = job(1, RunStage.EXPORT)

AGAIN = job(1)
LOST = job(1, state=JobState.FAILED)
LOST_POD = run_pod(AGAIN, answer(failed_result(RunStage.TRAIN, "NoImages", "no images: upload some."), 65))

SAYINGS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], str, str]] = {
    "a new version is due": (ONE, (), {}, "Pending", "a new version is being created"),
    "a new version is due while another serves": (
        TWO,
        (published(1, ONE),),
        SERVES_ONE,
        "Pending",
        "a new version is being created; version 1 serves on 1/1 pods",
    ),
    "a job was just created": (ONE, (version(1, ONE),), {}, "Training", "version 1 is starting to train"),
    "training, nothing heard": (
        ONE,
        (TRAINING,),
        {"jobs": (job(1),)},
        "Training",
        "version 1 is starting to train",
    ),
    "fetching": (ONE, (TRAINING,), training_now(ProgressStage.FETCHING), "Training", "version 1 is fetching its data"),
    "training, no epochs told": (ONE, (TRAINING,), training_now(), "Training", "version 1 is being trained"),
    "the first epoch": (ONE, (TRAINING,), training_now(epochs=10), "Training", "version 1: epoch 0/10"),
    "training with everything": (
        ONE,
        (TRAINING,),
        training_now(
            epoch=3,
            epochs=10,
            metrics={"accuracy": 0.9, "val_accuracy": 0.814, "loss": 0.3, "val_loss": 0.5127},
            seconds_left=240,
            examples_per_second=1234.5,
        ),
        "Training",
        "version 1: epoch 3/10 · accuracy 0.81 · loss 0.513 · 1,200 images/s · about 4 min left",
    ),
    "within an epoch": (
        ONE,
        (TRAINING,),
        training_now(epoch=3, epochs=10, step=40, steps=63, metrics={"val_accuracy": 0.814}),
        "Training",
        "version 1: epoch 4/10 · step 40/63 · accuracy 0.81",
    ),
    "training, measured on the training images only": (
        ONE,
        (TRAINING,),
        training_now(epoch=3, epochs=10, metrics={"accuracy": 0.9}),
        "Training",
        "version 1: epoch 3/10 · accuracy 0.90",
    ),
    "training slowly, on rows": (
        TABLE,
        (version(1, TABLE, VersionPhase.TRAINING),),
        training_now(epoch=3, epochs=10, metrics={"loss": 0.3}, examples_per_second=0.125),
        "Training",
        "version 1: epoch 3/10 · loss 0.3 · 0.12 rows/s",
    ),
    "training a number": (
        ONE,
        (TRAINING,),
        training_now(epoch=3, epochs=10, metrics={"mae": 40.1, "val_mae": 43.713, "val_rmse": 55.0}),
        "Training",
        "version 1: epoch 3/10 · mae 43.71",
    ),
    "training the head of a network": (
        ONE,
        (TRAINING,),
        training_now(epoch=3, epochs=10, phase="head", metrics={"accuracy": 0.9}),
        "Training",
        "version 1: epoch 3/10 · head · accuracy 0.90",
    ),
    "training while another serves": (
        TWO,
        (published(1, ONE), version(2, TWO, VersionPhase.TRAINING)),
        SERVES_ONE | {"jobs": (job(2),), "progress": Progress(stage=ProgressStage.TRAINING, epoch=1, epochs=20)},
        "Training",
        "version 2: epoch 1/20; version 1 serves on 1/1 pods",
    ),
    "evaluating": (
        ONE,
        (TRAINING,),
        training_now(ProgressStage.EVALUATING, epochs=10),
        "Training",
        "version 1 is being evaluated",
    ),
    "saving": (ONE, (TRAINING,), training_now(ProgressStage.SAVING), "Training", "version 1 is being saved"),
    "an export was just created": (ONE, (EXPORTING,), {}, "Exporting", "version 1 is starting to be exported"),
    "a training whose pod has ended": (
        ONE,
        (TRAINING,),
        ending(RunStage.TRAIN, 0),
        "Training",
        "version 1 was trained; the result is on its way",
    ),
    "an export whose pod has ended": (
        ONE,
        (EXPORTING,),
        ending(RunStage.EXPORT, 0),
        "Exporting",
        "version 1 was exported; the result is on its way",
    ),
    "a training that is tried again": (
        ONE,
        (TRAINING,),
        ending(RunStage.TRAIN, 75),
        "Training",
        (
            "version 1 is tried again after 1 failure of its train Job: container train of pod dogs-1-train-x ended "
            "with exit code 75"
        ),
    ),
    "an export that is tried once more": (
        ONE,
        (EXPORTING,),
        {
            "jobs": (STUCK_EXPORT,),
            "pods": tuple(run_pod(STUCK_EXPORT, ended(RunStage.EXPORT, 75), name=name) for name in "ab"),
        },
        "Exporting",
        (
            "version 1 is tried again after 2 failures of its export Job: container export of pod b ended with exit "
            "code 75"
        ),
    ),
    "a training that said why it is tried again": (
        ONE,
        (TRAINING,),
        {
            "jobs": (AGAIN,),
            "pods": (
                run_pod(AGAIN, ended(exit_code=137), name="a", created=EARLIER),
                run_pod(AGAIN, answer(failed_result(RunStage.TRAIN, "StoreUnreachable", "it is away"), 75), name="b"),
            ),
        },
        "Training",
        "version 1 is tried again after 2 failures of its train Job: it is away",
    ),
    "a training whose init container failed": (
        ONE,
        (TRAINING,),
        {
            "jobs": (AGAIN,),
            "pods": (
                run_pod(
                    AGAIN,
                    ended(name="setup", exit_code=65, exit_message="one\nno licence"),
                    Container(name="train", waiting_reason="PodInitializing"),
                    phase="Failed",
                ),
            ),
        },
        "Training",
        (
            "version 1 is tried again after 1 failure of its train Job: container setup of pod dogs-1-train-x ended "
            "with exit code 65: one | no licence"
        ),
    ),
    "a training whose injected helper has ended": (
        ONE,
        (TRAINING,),
        {"jobs": (AGAIN,), "pods": (run_pod(AGAIN, ended(name="setup"), Container(name="train", running=True)),)},
        "Training",
        "version 1 is starting to train",
    ),
    "a training that another pod had begun": (
        ONE,
        (TRAINING,),
        training_now(epoch=4, epochs=10, metrics={"val_accuracy": 0.812}, resumed_from=3),
        "Training",
        "version 1: epoch 4/10 · accuracy 0.81 · resumed from epoch 3",
    ),
    "a training that waits for its turn": (
        ONE,
        (TRAINING,),
        {"jobs": (job(1, suspended=True, queue="team-vision"),)},
        "Training",
        "version 1 waits for its turn in queue team-vision (kubectl get workloads tells more)",
    ),
    "a training that failed for good": (
        ONE,
        (TRAINING,),
        {"jobs": (AGAIN,), "pods": (LOST_POD,)},
        "Training",
        "version 1 failed in its train Job: no images: upload some",
    ),
    "a training that was killed for memory": (
        ONE,
        (TRAINING,),
        ending(RunStage.TRAIN, 137),
        "Training",
        (
            "version 1 failed in its train Job: container train of pod dogs-1-train-x was killed for memory: raise "
            "spec.training.resources.limits.memory, or lower what it needs, such as spec.training.batchSize or "
            "data.imageSize"
        ),
    ),
    "a training that was evicted": (
        ONE,
        (TRAINING,),
        {
            "jobs": (AGAIN,),
            "pods": (
                run_pod(
                    AGAIN,
                    answer(failed_result(RunStage.TRAIN, "Interrupted", "it was told to end"), 75),
                    reason="Evicted",
                    message="The node was low on resource: memory.",
                    phase="Failed",
                ),
            ),
        },
        "Training",
        (
            "version 1 cannot be trained: pod dogs-1-train-x was evicted from its node: The node was low on resource: "
            "memory; request what it needs under spec.training.resources.requests, and it is not the first to go"
        ),
    ),
    "a training whose Job somebody suspended": (
        ONE,
        (TRAINING,),
        {"jobs": (job(1, suspended=True),)},
        "Training",
        (
            "version 1 cannot be trained: somebody suspended Job dogs-1-train: set its spec.suspend to false for it to "
            "go on"
        ),
    ),
    "an export that fetches what was trained": (
        ONE,
        (EXPORTING,),
        exporting_now(ProgressStage.FETCHING),
        "Exporting",
        "version 1 is fetching the trained model",
    ),
    "an export that fetches what was brought": (
        brought(),
        (version(1, brought(), VersionPhase.EXPORTING),),
        exporting_now(ProgressStage.FETCHING),
        "Exporting",
        "version 1 is fetching its source",
    ),
    "exporting": (
        ONE,
        (EXPORTING,),
        exporting_now(ProgressStage.EXPORTING),
        "Exporting",
        "version 1 is being exported",
    ),
    "verifying": (
        ONE,
        (EXPORTING,),
        exporting_now(ProgressStage.VERIFYING),
        "Exporting",
        "version 1 is being verified",
    ),
    "publishing": (
        ONE,
        (EXPORTING,),
        exporting_now(ProgressStage.PUBLISHING),
        "Exporting",
        "version 1 is being published",
    ),
    "a job that cannot start": (
        ONE,
        (TRAINING,),
        STUCK,
        "Training",
        (
            "version 1 cannot be trained: no node can take pod dogs-1-train-x: no node fits; change "
            "spec.training.resources, or add a node that fits"
        ),
    ),
    "an export that cannot start while another version serves": (
        TWO,
        (published(2, ONE), version(1, TWO, VersionPhase.EXPORTING)),
        {
            "jobs": (STUCK_EXPORT,),
            "pods": (run_pod(STUCK_EXPORT, unschedulable="no node fits."), serving_pod(2)),
            "deployment": deployment(2),
        },
        "Exporting",
        (
            "version 1 cannot be exported: no node can take pod dogs-1-export-x: no node fits; change "
            "spec.training.resources, or add a node that fits; version 2 serves on 1/1 pods"
        ),
    ),
    "rejected": (
        gated(),
        (version(1, ONE, VersionPhase.REJECTED, metrics={"accuracy": "0.5"}),),
        {},
        "Rejected",
        (
            "version 1 was rejected: accuracy is 0.5, and its gate asks for >= 0.85. Ease the gate to serve it as it "
            "is, or change spec.training for another version"
        ),
    ),
    "rejected while another serves": (
        gated(epochs=20),
        (published(1, ONE), version(2, TWO, VersionPhase.REJECTED, metrics={"accuracy": "0.5"})),
        SERVES_ONE,
        "Rejected",
        (
            "version 2 was rejected: accuracy is 0.5, and its gate asks for >= 0.85; version 1 serves on 1/1 pods. "
            "Ease the gate to serve it as it is, or change spec.training for another version"
        ),
    ),
    "failed": (
        ONE,
        (TRAINING,),
        {"jobs": (LOST,), "pods": (LOST_POD,)},
        "Failed",
        (
            "version 1 failed: no images: upload some. To try again, delete kerasmodelversion dogs-1, or change "
            "spec.training"
        ),
    ),
    "a source failed while another serves": (
        brought(),
        (
            published(1, ONE),
            version(2, brought(), VersionPhase.FAILED, message="it is broken.", reason="BadSavedModel"),
        ),
        SERVES_ONE,
        "Failed",
        (
            "version 2 failed: it is broken; version 1 serves on 1/1 pods. To try again, delete kerasmodelversion "
            "dogs-2, or change spec.source"
        ),
    ),
    "failed without a word": (
        ONE,
        (version(1, ONE, VersionPhase.FAILED),),
        {},
        "Failed",
        "version 1 failed: nobody says why. To try again, delete kerasmodelversion dogs-1, or change spec.training",
    ),
    "suspended before its first version": (
        trained(suspend=True),
        (),
        {},
        "Suspended",
        "suspended: no version is made",
    ),
    "suspended while another serves": (
        trained(epochs=20, suspend=True),
        (published(1, ONE),),
        SERVES_ONE,
        "Suspended",
        "suspended: no version is made; version 1 serves on 1/1 pods",
    ),
    "suspended before a job": (
        trained(epochs=20, suspend=True),
        (published(1, ONE), version(2, TWO)),
        SERVES_ONE,
        "Suspended",
        "suspended: version 2 waits; version 1 serves on 1/1 pods",
    ),
    "suspended when everything was done": (
        trained(suspend=True),
        (published(1, ONE),),
        SERVES_ONE,
        "Serving",
        "version 1 serves on 1/1 pods",
    ),
    "serving": (ONE, (published(1, ONE),), SERVES_ONE, "Serving", "version 1 serves on 1/1 pods"),
    "serving on several": (
        trained(replicas=3),
        (published(1, ONE),),
        {"deployment": deployment(1, 3), "pods": tuple(serving_pod(1, name=n) for n in "abc")},
        "Serving",
        "version 1 serves on 3/3 pods",
    ),
    "the first rollout begins": (
        ONE,
        (published(1, ONE),),
        {},
        "Deploying",
        "version 1 is being rolled out",
    ),
    "the first rollout goes on": (
        ONE,
        (published(1, ONE),),
        {"deployment": deployment(1, 2, available=1), "pods": (serving_pod(1), serving_pod(1, name="b", ready=False))},
        "Deploying",
        "version 1 is being rolled out: 1/2 pods are ready",
    ),
    "a rollout begins": (
        TWO,
        (published(1, ONE), published(2, TWO)),
        SERVES_ONE,
        "Deploying",
        "version 2 is being rolled out; version 1 serves on 1/1 pods",
    ),
    "a rollout goes on": (
        TWO,
        (published(1, ONE), published(2, TWO)),
        {"deployment": deployment(2, 2, total=3, updated=1), "pods": (serving_pod(1), PENDING_POD)},
        "Deploying",
        "version 2 is being rolled out: 0/2 pods are ready; version 1 serves on 1/1 pods",
    ),
    "a rollout whose pod was not created yet": (
        TWO,
        (published(1, ONE), published(2, TWO)),
        {"deployment": deployment(2, updated=0), "pods": (serving_pod(1),)},
        "Deploying",
        "version 2 is being rolled out; version 1 serves on 1/1 pods",
    ),
    "a rollout that is stuck": (
        TWO,
        (published(1, ONE), published(2, TWO)),
        {"deployment": deployment(2, updated=1, total=2, stuck=True), "pods": (serving_pod(1), PENDING_POD)},
        "Deploying",
        (
            "version 2 cannot serve: pod dogs-2-pod is still not ready: nobody says why; see kubectl describe pod "
            "-n vision dogs-2-pod; version 1 serves on 1/1 pods"
        ),
    ),
    "a rollout whose pod still fetches when the Deployment's time is over": (
        TWO,
        (published(1, ONE), published(2, TWO)),
        LATE | {"agent_reports": {"dogs-2-pod": AgentReport(2, None, 0, fetching=True)}},
        "Deploying",
        "version 2 is being rolled out: 0/2 pods are ready; version 1 serves on 1/1 pods",
    ),
    "a rollout whose pod has lately fetched when the Deployment's time is over": (
        TWO,
        (published(1, ONE), published(2, TWO)),
        LATE | {"agent_reports": {"dogs-2-pod": AgentReport(2, None, 0, fetched=NOW - timedelta(minutes=9))}},
        "Deploying",
        "version 2 is being rolled out: 0/2 pods are ready; version 1 serves on 1/1 pods",
    ),
    "a rollout whose pod has long fetched when the Deployment's time is over": (
        TWO,
        (published(1, ONE), published(2, TWO)),
        LATE | {"agent_reports": {"dogs-2-pod": AgentReport(2, None, 0, fetched=NOW - timedelta(minutes=11))}},
        "Deploying",
        (
            "version 2 cannot serve: pod dogs-2-pod is still not ready: nobody says why; see kubectl describe pod "
            "-n vision dogs-2-pod; version 1 serves on 1/1 pods"
        ),
    ),
    "a rollout whose pod serves and is not ready when the Deployment's time is over": (
        TWO,
        (published(1, ONE), published(2, TWO)),
        LATE | {"agent_reports": {"dogs-2-pod": AgentReport(2, 2, 0, fetched=NOW)}},
        "Deploying",
        (
            "version 2 cannot serve: pod dogs-2-pod is still not ready: nobody says why; see kubectl describe pod "
            "-n vision dogs-2-pod; version 1 serves on 1/1 pods"
        ),
    ),
    "a rollout that is stuck for what Kubernetes says": (
        ONE,
        (published(1, ONE),),
        {
            "deployment": deployment(1, available=0, stuck=True),
            "pods": (serving_pod(1, ready=False, unready="containers with unready status: [runtime]"),),
        },
        "Deploying",
        (
            "version 1 cannot serve: pod dogs-1-pod is still not ready: containers with unready status: [runtime]; see "
            "kubectl describe pod -n vision dogs-1-pod"
        ),
    ),
    "a rollout that is stuck without pods": (
        TWO,
        (published(1, ONE), published(2, TWO)),
        {"deployment": deployment(2, updated=1, total=2, stuck=True), "pods": (serving_pod(1),)},
        "Deploying",
        (
            "version 2 cannot serve: its pods are not created in time; see kubectl describe deployment; version 1 "
            "serves on 1/1 pods"
        ),
    ),
    "a rollout of another version was stuck": (
        TWO,
        (published(1, ONE), published(2, TWO)),
        {"deployment": deployment(1, updated=1, total=2, stuck=True), "pods": (serving_pod(1),)},
        "Deploying",
        "version 2 is being rolled out; version 1 serves on 1/1 pods",
    ),
    "a rollout of another spec was stuck": (
        ONE,
        (published(1, ONE),),
        {"deployment": deployment(1, generation=3, stuck=True), "pods": (serving_pod(1),)},
        "Deploying",
        "version 1 is being rolled out: 1/1 pods are ready",
    ),
    "a write failed": (
        ONE,
        (published(1, ONE),),
        SERVES_ONE | {"behind": True},
        "Deploying",
        "version 1 is being rolled out: 1/1 pods are ready",
    ),
    "a rollout whose agent has trouble": (
        TWO,
        (published(1, ONE), published(2, TWO)),
        {
            "deployment": deployment(2, updated=1, total=2, stuck=True),
            "pods": (serving_pod(1), PENDING_POD),
            "agent_troubles": (AgentTrouble("dogs-2-pod", "Corrupt", "a file differs."),),
        },
        "Deploying",
        "version 2 cannot serve: pod dogs-2-pod: a file differs; version 1 serves on 1/1 pods",
    ),
    "pinned while the newest trains": (
        trained(epochs=20, version=1),
        (published(1, ONE), version(2, TWO, VersionPhase.TRAINING)),
        SERVES_ONE | {"jobs": (job(2),)},
        "Serving",
        "version 1 serves on 1/1 pods",
    ),
    "pinned while the newest was rejected": (
        trained(epochs=20, version=1),
        (published(1, ONE), version(2, TWO, VersionPhase.FAILED, reason="NoImages")),
        SERVES_ONE,
        "Serving",
        "version 1 serves on 1/1 pods",
    ),
    "pinned to nothing while the newest trains": (
        trained(epochs=20, version=7),
        (published(1, ONE), version(2, TWO, VersionPhase.TRAINING)),
        SERVES_ONE | {"jobs": (job(2),)},
        "Training",
        (
            "serving.version is 7, and there is no version 7: name a published version in serving.version, or remove "
            "it to serve the newest; version 1 serves on 1/1 pods"
        ),
    ),
    "pinned to nothing before anything serves": (
        trained(version=7),
        (published(1, ONE),),
        {},
        "Deploying",
        (
            "serving.version is 7, and there is no version 7: name a published version in serving.version, or remove "
            "it to serve the newest"
        ),
    ),
    "another model has the store": (
        ONE,
        (),
        {"store_holder": "vision/cats"},
        "Pending",
        (
            "KerasModel vision/cats publishes in s3://models/dogs too, and was there first: make this model anew with "
            "another store.uri, or delete that one"
        ),
    ),
    "another model has the store of one that serves": (
        TWO,
        (published(1, ONE),),
        SERVES_ONE | {"store_holder": "vision/cats"},
        "Serving",
        (
            "KerasModel vision/cats publishes in s3://models/dogs too, and was there first: make this model anew with "
            "another store.uri, or delete that one; version 1 serves on 1/1 pods"
        ),
    ),
    "refused before anything happened": (
        ONE,
        (),
        {"refusals": ("Service dogs is in the way.", "and another")},
        "Pending",
        "Service dogs is in the way",
    ),
    "refused while serving": (
        ONE,
        (published(1, ONE),),
        SERVES_ONE | {"refusals": ("Service dogs is in the way",), "status": KerasModelStatus(phase=Phase.SUSPENDED)},
        "Serving",
        "Service dogs is in the way; version 1 serves on 1/1 pods",
    ),
    "refused before the first rollout": (
        ONE,
        (published(1, ONE),),
        {"refusals": ("Deployment dogs is in the way",)},
        "Deploying",
        "Deployment dogs is in the way",
    ),
}


@pytest.mark.parametrize(("spec", "versions", "seen", "said", "sentence"), SAYINGS.values(), ids=SAYINGS.keys())
def test_people_read_what_is_going_on(spec, versions, seen, said, sentence):
    todo = decide(spec, *versions, **seen)
    assert (phase(todo), message(todo)) == (said, sentence)


TIMES_LEFT = [
    (0, "about 1 s left"),
    (0.4, "about 1 s left"),
    (1.6, "about 2 s left"),
    (89.4, "about 89 s left"),
    (90, "about 2 min left"),
    (5399, "about 90 min left"),
    (5400, "about 2 h left"),
    (36_000, "about 10 h left"),
]


@pytest.mark.parametrize(("seconds", "words"), TIMES_LEFT)
def test_the_time_left_is_said_in_fitting_units(seconds, words):
    todo = decide(ONE, TRAINING, **training_now(epoch=1, epochs=2, seconds_left=seconds))
    assert message(todo) == f"version 1: epoch 1/2 · {words}"
