"""What machines read about a model: conditions, present only while they say something."""

from datetime import timedelta
from typing import Any

import pytest
from keras_operator.api import (
    RunStage,
    VersionPhase,
)

from tests.unit.plan.observations import (
    EARLIER,
    NOW,
    brought,
    condition,
    decide,
    deployment,
    gated,
    job,
    published,
    run_pod,
    serving_pod,
    trained,
    version,
)

ONE, TWO = trained(), trained(epochs=20)
TRAINING = version(1, ONE, VersionPhase.TRAINING)
SERVES_ONE: dict[str, Any] = {"deployment": deployment(1), "pods": (serving_pod(1),)}


EXPORTING = version(1, ONE, VersionPhase.EXPORTING)
STUCK_JOB = job(1)
STUCK: dict[str, Any] = {
    "jobs": (STUCK_JOB,),
    "pods": (run_pod(STUCK_JOB, unschedulable="no node fits."),),
}


def summary(todo: Any) -> dict[str, tuple[str, str]]:
    return {c.type: (str(c.status), c.reason) for c in todo.status.conditions}


NOTHING_SERVES = ("False", "NothingServes")
SERVES = ("True", "Serving")

CONDITIONS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], dict[str, tuple[str, str]]]] = {
    "before the first version": (
        ONE,
        (),
        {},
        {"Ready": ("False", "Pending"), "Reconciling": ("True", "Pending"), "Available": NOTHING_SERVES},
    ),
    "training": (
        ONE,
        (TRAINING,),
        {"jobs": (job(1),)},
        {
            "Ready": ("False", "Training"),
            "Reconciling": ("True", "Training"),
            "Trained": ("False", "Training"),
            "Published": ("False", "Training"),
            "Available": NOTHING_SERVES,
        },
    ),
    "exporting": (
        ONE,
        (EXPORTING,),
        {"jobs": (job(1, RunStage.EXPORT),)},
        {
            "Ready": ("False", "Exporting"),
            "Reconciling": ("True", "Exporting"),
            "Trained": ("True", "Trained"),
            "GatesMet": ("True", "NoGates"),
            "Published": ("False", "Exporting"),
            "Available": NOTHING_SERVES,
        },
    ),
    "exporting, gates met": (
        gated(),
        (EXPORTING,),
        {"jobs": (job(1, RunStage.EXPORT),)},
        {
            "Ready": ("False", "Exporting"),
            "Reconciling": ("True", "Exporting"),
            "Trained": ("True", "Trained"),
            "GatesMet": ("True", "GatesMet"),
            "Published": ("False", "Exporting"),
            "Available": NOTHING_SERVES,
        },
    ),
    "exporting a source": (
        brought(),
        (version(1, brought()),),
        {},
        {
            "Ready": ("False", "Exporting"),
            "Reconciling": ("True", "Exporting"),
            "Trained": ("True", "NotTrainedHere"),
            "Published": ("False", "Exporting"),
            "Available": NOTHING_SERVES,
        },
    ),
    "held up": (
        ONE,
        (TRAINING,),
        STUCK,
        {
            "Ready": ("False", "Unschedulable"),
            "Stalled": ("True", "Unschedulable"),
            "Trained": ("False", "Unschedulable"),
            "Published": ("False", "Unschedulable"),
            "Available": NOTHING_SERVES,
        },
    ),
    "rejected while another serves": (
        gated(epochs=20),
        (published(1, ONE), version(2, TWO, VersionPhase.REJECTED, metrics={"accuracy": "0.5"})),
        SERVES_ONE,
        {
            "Ready": ("False", "GatesNotMet"),
            "Stalled": ("True", "GatesNotMet"),
            "Trained": ("True", "Trained"),
            "GatesMet": ("False", "GatesNotMet"),
            "Published": ("False", "GatesNotMet"),
            "Available": SERVES,
        },
    ),
    "failed": (
        ONE,
        (version(1, ONE, VersionPhase.FAILED, reason="NoImages"),),
        {},
        {
            "Ready": ("False", "NoImages"),
            "Stalled": ("True", "NoImages"),
            "Trained": ("False", "NoImages"),
            "Published": ("False", "NoImages"),
            "Available": NOTHING_SERVES,
        },
    ),
    "failed, by an older release": (
        ONE,
        (version(1, ONE, VersionPhase.FAILED),),
        {},
        {
            "Ready": ("False", "Pending"),
            "Stalled": ("True", "Pending"),
            "Trained": ("False", "Pending"),
            "Published": ("False", "Pending"),
            "Available": NOTHING_SERVES,
        },
    ),
    "rolling out": (
        ONE,
        (published(1, ONE),),
        {},
        {
            "Ready": ("False", "RollingOut"),
            "Reconciling": ("True", "RollingOut"),
            "Trained": ("True", "Trained"),
            "GatesMet": ("True", "NoGates"),
            "Published": ("True", "Published"),
            "Available": NOTHING_SERVES,
        },
    ),
    "stuck": (
        ONE,
        (published(1, ONE),),
        {"deployment": deployment(1, available=0, stuck=True)},
        {
            "Ready": ("False", "RolloutStuck"),
            "Stalled": ("True", "RolloutStuck"),
            "Trained": ("True", "Trained"),
            "GatesMet": ("True", "NoGates"),
            "Published": ("True", "Published"),
            "Available": NOTHING_SERVES,
        },
    ),
    "serving": (
        ONE,
        (published(1, ONE),),
        SERVES_ONE,
        {
            "Ready": ("True", "Serving"),
            "Trained": ("True", "Trained"),
            "GatesMet": ("True", "NoGates"),
            "Published": ("True", "Published"),
            "Available": SERVES,
        },
    ),
    "suspended": (
        trained(suspend=True),
        (),
        {},
        {"Ready": ("False", "Suspended"), "Available": NOTHING_SERVES},
    ),
    "a pin that cannot be followed": (
        trained(version=9),
        (published(1, ONE),),
        SERVES_ONE,
        {
            "Ready": ("False", "VersionNotFound"),
            "Stalled": ("True", "VersionNotFound"),
            "Trained": ("True", "Trained"),
            "GatesMet": ("True", "NoGates"),
            "Published": ("True", "Published"),
            "Available": SERVES,
        },
    ),
    "refused": (
        ONE,
        (published(1, ONE),),
        SERVES_ONE | {"refusals": ("no",)},
        {
            "Ready": ("False", "ChildRefused"),
            "Stalled": ("True", "ChildRefused"),
            "Trained": ("True", "Trained"),
            "GatesMet": ("True", "NoGates"),
            "Published": ("True", "Published"),
            "Available": SERVES,
        },
    ),
}


@pytest.mark.parametrize(("spec", "versions", "seen", "expected"), CONDITIONS.values(), ids=CONDITIONS.keys())
def test_machines_read_conditions(spec, versions, seen, expected):
    assert summary(decide(spec, *versions, **seen)) == expected


CONDITION_WORDS = {
    "nothing serves": (ONE, (), {}, "Available", "no pod answers predictions yet"),
    "one serves": (ONE, (published(1, ONE),), SERVES_ONE, "Available", "version 1 answers predictions"),
    "trained elsewhere": (brought(), (version(1, brought()),), {}, "Trained", "version 1 was trained elsewhere"),
    "trained": (ONE, (EXPORTING,), {}, "Trained", "version 1 was trained and evaluated"),
    "not trained yet": (ONE, (version(1, ONE),), {}, "Trained", "version 1: is being trained"),
    "no gates": (ONE, (EXPORTING,), {}, "GatesMet", "no gates are set"),
    "gates met": (gated(), (EXPORTING,), {}, "GatesMet", "version 1 met every gate"),
    "not published yet": (ONE, (EXPORTING,), {}, "Published", "version 1: is being exported and published"),
    "published": (ONE, (published(1, ONE),), {}, "Published", "version 1: is published at s3://models/dogs/1"),
    "failed without a word, trained": (
        ONE,
        (version(1, ONE, VersionPhase.FAILED),),
        {},
        "Trained",
        "version 1: not started",
    ),
    "failed without a word, published": (
        ONE,
        (version(1, ONE, VersionPhase.FAILED),),
        {},
        "Published",
        "version 1: not started",
    ),
    "ready says what the message says": (ONE, (), {}, "Ready", "a new version is being created"),
    "reconciling says what the message says": (ONE, (), {}, "Reconciling", "a new version is being created"),
    "a problem says what the message says": (ONE, (), {"refusals": ("no",)}, "Stalled", "no"),
    "a pin's problem is about the pin": (
        trained(version=9),
        (published(1, ONE),),
        SERVES_ONE,
        "Stalled",
        (
            "serving.version is 9, and there is no version 9: name a published version in serving.version, or remove "
            "it to serve the newest"
        ),
    ),
    "a rollout's problem": (
        ONE,
        (published(1, ONE),),
        {"deployment": deployment(1, available=0, stuck=True)},
        "Stalled",
        "version 1 cannot serve: its pods are not created in time; see kubectl describe deployment",
    ),
}


@pytest.mark.parametrize(
    ("spec", "versions", "seen", "kind", "sentence"), CONDITION_WORDS.values(), ids=CONDITION_WORDS.keys()
)
def test_each_condition_says_why(spec, versions, seen, kind, sentence):
    found = condition(decide(spec, *versions, **seen), kind)
    assert found is not None
    assert found.message == sentence


def test_conditions_are_about_the_generation_that_was_read():
    todo = decide(ONE)
    assert todo.status is not None
    assert todo.status.observed_generation == 4
    assert {c.observed_generation for c in todo.status.conditions} == {4}


def test_a_transition_time_moves_only_when_the_status_does():
    before = decide(ONE, at=EARLIER).status
    status = decide(ONE, published(1, ONE), status=before, **SERVES_ONE).status
    assert status is not None
    since = {c.type: c.last_transition_time for c in status.conditions}
    assert since["Ready"] == NOW
    assert since["Available"] == NOW
    again = decide(ONE, published(1, ONE), status=status, at=NOW + timedelta(hours=1), **SERVES_ONE).status
    assert again == status


@pytest.mark.parametrize("pods", [(), (serving_pod(1, ready=False),)], ids=["not seen", "not seen ready"])
def test_a_model_is_ready_only_once_the_pods_that_answer_are_seen(pods):
    """The Deployment's watch may be ahead of the pods': Ready beside "no pod answers" would contradict itself."""
    assert summary(decide(ONE, published(1, ONE), deployment=deployment(1), pods=pods)) == {
        "Ready": ("False", "RollingOut"),
        "Reconciling": ("True", "RollingOut"),
        "Trained": ("True", "Trained"),
        "GatesMet": ("True", "NoGates"),
        "Published": ("True", "Published"),
        "Available": NOTHING_SERVES,
    }
