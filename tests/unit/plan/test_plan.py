"""The plan as a whole: when nothing is done, which news is worth an Event, when to look again."""

import dataclasses
from typing import Any

import pytest
from keras_operator.api import (
    ConditionType,
    KerasModelStatus,
    Phase,
    Progress,
    ProgressStage,
    RunStage,
    VersionPhase,
)
from keras_operator.plan import Observed, Plan, plan
from keras_operator.plan.desired import Notice
from keras_operator.plan.observed import Container, Identity, JobState, Pod

from tests.unit.plan.observations import (
    EARLIER,
    INSTALLATION,
    NOW,
    answer,
    decide,
    deployment,
    export_result,
    job,
    model,
    published,
    run_pod,
    said,
    serving_pod,
    trained,
    version,
)

ONE, TWO = trained(), trained(epochs=20)
SERVES_ONE: dict[str, Any] = {"deployment": deployment(1), "pods": (serving_pod(1),)}


def test_nothing_is_done_about_a_model_that_is_gone():
    assert plan(Observed(None, versions=(version(1, ONE),)), INSTALLATION, NOW) == Plan()


def test_nothing_is_done_about_a_model_that_is_going():
    seen = Observed(model(ONE, deleting=True), versions=(version(1, TWO),), jobs=(job(1),))
    assert plan(seen, INSTALLATION, NOW) == Plan()


def test_a_spec_that_cannot_be_used_changes_nothing_and_says_so():
    before = KerasModelStatus(
        phase=Phase.SERVING,
        message="version 1 serves on 1/1 pods",
        latest_version=2,
        serving_version=1,
        accuracy="0.912",
        replicas=3,
        selector="a=b",
        url="http://dogs",
    )
    broken = model(None, before, spec_error="spec.training.epochs: expected `int >= 1`")
    todo = plan(Observed(broken, versions=(version(1, ONE),), jobs=(job(1),)), INSTALLATION, NOW)
    sentence = "the spec cannot be used: spec.training.epochs: expected `int >= 1`"
    conditions = (
        said(ConditionType.READY, "InvalidSpec", since=NOW),
        said(ConditionType.STALLED, "InvalidSpec", holds=True, since=NOW),
    )
    worded = tuple(
        type(one)(
            type=one.type,
            status=one.status,
            reason=one.reason,
            message=sentence,
            last_transition_time=NOW,
            observed_generation=4,
        )
        for one in conditions
    )
    assert todo == Plan(
        status=KerasModelStatus(
            observed_generation=4,
            phase=Phase.FAILED,
            message=sentence,
            conditions=worded,
            latest_version=2,
            serving_version=1,
            accuracy="0.912",
            replicas=3,
            selector="a=b",
            url="http://dogs",
        ),
        notices=(Notice("Warning", "InvalidSpec", sentence),),
    )


def test_a_spec_that_stays_broken_is_no_news():
    before = None
    for _ in range(2):
        broken = model(None, before, spec_error="it is")
        todo = plan(Observed(broken), INSTALLATION, NOW)
        before = todo.status
    assert todo.notices == ()


def test_a_version_published_now_has_its_deployment_in_the_same_plan():
    done = job(1, RunStage.EXPORT, JobState.COMPLETE)
    todo = decide(
        ONE, version(1, ONE, VersionPhase.EXPORTING), jobs=(done,), pods=(run_pod(done, answer(export_result())),)
    )
    assert "deployment" in {one.template.value for one in todo.keep}
    assert todo.create == ()


def test_other_versions_are_seen_as_they_are():
    todo = decide(TWO, published(1, ONE), version(2, TWO), deployment=deployment(1))
    assert set(todo.version_statuses) == {"dogs-2"}


def test_a_new_version_and_its_job_are_not_created_in_one_plan():
    """The Job bears the version's uid, which only the API server gives."""
    assert [one.name for one in decide(ONE).create] == ["dogs-1"]
    assert [one.name for one in decide(ONE, version(1, ONE)).create] == ["dogs-1-train"]


def phased(phase: Phase | None, *conditions: Any, serving: int | None = None) -> KerasModelStatus:
    return KerasModelStatus(phase=phase, conditions=conditions, serving_version=serving)


STALLED = said(ConditionType.STALLED, "ChildRefused", holds=True)
OTHERWISE = said(ConditionType.STALLED, "Unschedulable", holds=True)
REFUSED: dict[str, Any] = {"refusals": ("Service dogs is in the way",)}
SERVING = Notice("Normal", "Serving", "version 1 serves on 1/1 pods")
WARNING = Notice("Warning", "ChildRefused", "Service dogs is in the way")

NEWS: dict[str, tuple[KerasModelStatus | None, tuple[Any, ...], dict[str, Any], Notice | None]] = {
    "the first look": (None, (), {}, Notice("Normal", "Pending", "a new version is being created")),
    "the same phase": (phased(Phase.PENDING), (), {}, None),
    "another phase": (phased(Phase.DEPLOYING), (published(1, ONE),), SERVES_ONE, SERVING),
    "another serving version": (phased(Phase.SERVING, serving=2), (published(1, ONE),), SERVES_ONE, SERVING),
    "the same serving version": (phased(Phase.SERVING, serving=1), (published(1, ONE),), SERVES_ONE, None),
    "a problem": (phased(Phase.PENDING), (), REFUSED, WARNING),
    "a problem in a new phase": (None, (), REFUSED, WARNING),
    "the same problem": (phased(Phase.PENDING, STALLED), (), REFUSED, None),
    "the same problem in a new phase": (phased(Phase.SERVING, STALLED), (), REFUSED, None),
    "another problem": (phased(Phase.PENDING, OTHERWISE), (), REFUSED, WARNING),
    "a problem is over": (phased(Phase.PENDING, STALLED), (), {}, None),
}


@pytest.mark.parametrize(("before", "versions", "seen", "notice"), NEWS.values(), ids=NEWS.keys())
def test_only_transitions_are_worth_an_event(before, versions, seen, notice):
    todo = decide(ONE, *versions, status=before, **seen)
    assert todo.notices == (() if notice is None else (notice,))


PROGRESS = Progress(stage=ProgressStage.TRAINING, epoch=1, epochs=10)


def waiting_pod(*, container: str = "agent", running: bool = True, **more: Any) -> Pod:
    """A serving pod that is not ready, with one container."""
    identity = Identity("vision", "dogs-x", "uid-x", NOW)
    whole = {"component": "serving", "ip": "10.0.0.1"} | more
    return Pod(identity, 1, phase="Running", containers=(Container(container, running=running),), **whole)


WAITS: dict[str, tuple[tuple[Any, ...], dict[str, Any], float | None]] = {
    "a version is due": ((), {}, None),
    "a job was created": ((version(1, ONE),), {}, None),
    "a job runs": ((version(1, ONE, VersionPhase.TRAINING),), {"jobs": (job(1),), "progress": PROGRESS}, 10.0),
    "a result is late": ((version(1, ONE),), {"jobs": (job(1, state=JobState.COMPLETE),)}, 1.0),
    "a version failed": ((version(1, ONE, VersionPhase.FAILED),), {}, None),
    "pods are on their way": ((published(1, ONE),), {}, 30.0),
    "pods do not come": ((published(1, ONE),), {"deployment": deployment(1, available=0, stuck=True)}, 30.0),
    "a pod's agent can be asked": ((published(1, ONE),), {"pods": (waiting_pod(),)}, 3.0),
    "its agent has not started": ((published(1, ONE),), {"pods": (waiting_pod(running=False),)}, 30.0),
    "it is a neighbour that runs": ((published(1, ONE),), {"pods": (waiting_pod(container="runtime"),)}, 30.0),
    "the pod has no address yet": ((published(1, ONE),), {"pods": (waiting_pod(ip=""),)}, 30.0),
    "the pod is ready": ((published(1, ONE),), {"pods": (waiting_pod(ready=True),)}, 30.0),
    "the pod is another one": ((published(1, ONE),), {"pods": (waiting_pod(component="train"),)}, 30.0),
    "it serves": ((published(1, ONE),), SERVES_ONE, None),
}


@pytest.mark.parametrize(("versions", "seen", "seconds"), WAITS.values(), ids=WAITS.keys())
def test_it_is_looked_at_again_only_while_something_is_to_be_asked(versions, seen, seconds):
    assert decide(ONE, *versions, **seen).requeue_after == seconds


def test_a_broken_rollout_that_refusals_hide_is_not_polled():
    assert decide(ONE, published(1, ONE), **REFUSED).requeue_after is None


def test_what_is_current_keeps_its_own_job_and_others_lose_theirs():
    jobs = (job(1), dataclasses.replace(job(2), identity=dataclasses.replace(job(2).identity, created=EARLIER)))
    todo = decide(TWO, version(1, ONE), version(2, TWO), jobs=jobs)
    assert [one.name for one in todo.remove] == ["dogs-1-train"]
