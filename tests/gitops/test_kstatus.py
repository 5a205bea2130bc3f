"""What kstatus makes of an object in every phase: Flux, kpt and others that wait for objects decide by it."""

import pytest
from keras_operator.api import Phase, VersionPhase

from tests.gitops.conftest import Judge
from tests.gitops.states import GOING, MODELS, VERSIONS, State


@pytest.mark.parametrize(
    "state", [*MODELS, *VERSIONS, *GOING], ids=lambda state: f"{state.content['kind']} {state.words}"
)
def test_status(kstatus: Judge, state: State) -> None:
    (found,) = kstatus([state.content])
    assert found["status"] == state.kstatus
    if state.kstatus == "Failed":
        assert found["message"] == state.message, "who waits is not told what to do"


def test_every_phase_is_judged() -> None:
    assert {state.phase for state in MODELS} == {None, *Phase}
    assert {state.phase for state in VERSIONS} == {None, *VersionPhase}


def test_a_stream_of_objects_is_judged_one_by_one(kstatus: Judge) -> None:
    assert [each["status"] for each in kstatus(state.content for state in MODELS)] == [
        state.kstatus for state in MODELS
    ]
