"""The children that show trainings: there while they are wanted, and not part of what serves."""

import dataclasses

import pytest
from keras_operator.api import TensorBoard
from keras_operator.plan.desired import Removal, Template

from tests.unit.plan.observations import child, condition, decide, published, trained

SHOWN = trained(tensorboard=TensorBoard(enabled=True))
NOT_SHOWN = [trained(), trained(tensorboard=TensorBoard(enabled=False))]
BOARD = {kind: child(kind) for kind in ("Deployment", "Service")}


@pytest.mark.parametrize("versions", [(), (published(1, SHOWN),)], ids=["nothing trained yet", "published"])
def test_it_is_there_from_the_first_moment(versions):
    todo = decide(SHOWN, *versions)
    made = {one.template: one for one in todo.keep if one.template in (Template.BOARD, Template.BOARD_SERVICE)}
    assert {one.name for one in made.values()} == {"dogs-tensorboard"}
    assert len(made) == 2
    assert made[Template.BOARD].values["owner_uid"] == "uid-dogs"
    assert todo.remove == ()


@pytest.mark.parametrize("spec", NOT_SHOWN, ids=["left out", "switched off"])
def test_it_is_not_there_where_nobody_wants_it(spec):
    assert not [one for one in decide(spec).keep if one.template in (Template.BOARD, Template.BOARD_SERVICE)]


@pytest.mark.parametrize("spec", NOT_SHOWN, ids=["left out", "switched off"])
def test_what_is_left_of_it_is_removed_by_its_uid(spec):
    assert decide(spec, board=BOARD).remove == (
        Removal("Deployment", "dogs-tensorboard", "uid-Deployment"),
        Removal("Service", "dogs-tensorboard", "uid-Service"),
    )


def test_what_is_on_its_way_out_is_not_removed_again():
    going = {
        kind: dataclasses.replace(one, identity=dataclasses.replace(one.identity, deleting=True))
        for kind, one in BOARD.items()
    }
    assert decide(trained(), board=going).remove == ()


def test_the_model_is_no_less_ready_for_it():
    with_it, without = decide(SHOWN, published(1, SHOWN)), decide(trained(), published(1, trained()))
    assert condition(with_it, "Ready") == condition(without, "Ready")
