"""A training that starts from another version's weights waits until it names one that there is."""

import pytest
from keras_operator.api import InitialWeights, VersionPhase
from keras_operator.plan.desired import Template

from tests.unit.plan.observations import brought, created, decide, trained, version

BEFORE = trained(epochs=3)
SPEC = trained(initial_weights=InitialWeights(version=1))


def test_a_published_version_is_started_from():
    todo = decide(SPEC, version(1, BEFORE, VersionPhase.PUBLISHED), version(2, SPEC))
    assert created(todo, Template.TRAIN_JOB) is not None


NONE = (
    "training.initialWeights.version is 1, and there is no such version before version 2: name a published version "
    "that was trained"
)
WRONG = {
    "it is not there": ([], "VersionNotFound", NONE),
    "it failed": (
        [version(1, BEFORE, VersionPhase.FAILED)],
        "VersionNotPublished",
        (
            "training.initialWeights.version is 1, and version 1 is failed, not published: name a published version "
            "that was trained"
        ),
    ),
    "it was brought along": (
        [version(1, brought(), VersionPhase.PUBLISHED)],
        "VersionNotFound",
        (
            "training.initialWeights.version is 1, and version 1 was trained elsewhere: write initialWeights.uri: "
            "s3://models/uploads/dogs"
        ),
    ),
}


@pytest.mark.parametrize(("others", "reason", "sentence"), WRONG.values(), ids=WRONG)
def test_nothing_is_trained_from_a_version_that_cannot_be(others, reason, sentence):
    todo = decide(SPEC, *others, version(2, SPEC))
    assert created(todo, Template.TRAIN_JOB) is None
    status = todo.version_statuses["dogs-2"]
    assert (status.phase, status.message) == (VersionPhase.PENDING, sentence)
    assert todo.status is not None
    assert todo.status.message == f"version 2 cannot be trained: {sentence}"
    assert [(one.type, one.reason) for one in todo.status.conditions if one.type == "Stalled"] == [("Stalled", reason)]


def test_versions_that_could_be_started_from_are_named():
    spec = trained(initial_weights=InitialWeights(version=9))
    todo = decide(spec, version(1, BEFORE, VersionPhase.PUBLISHED), version(2, spec))
    assert todo.version_statuses["dogs-2"].message == (
        "training.initialWeights.version is 9, and there is no such version before version 2: name a published version "
        "that was trained (1)"
    )


def test_a_version_does_not_start_from_itself():
    spec = trained(initial_weights=InitialWeights(version=2))
    assert created(decide(spec, version(2, spec)), Template.TRAIN_JOB) is None
