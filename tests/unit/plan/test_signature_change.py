"""A version that takes other inputs than the one that serves is not rolled out, and says which."""

import pytest
from keras_operator.api import KerasModelSpec, Rollout, SignatureChange, VersionServable
from keras_operator.plan import Plan
from keras_operator.plan.desired import Template

from tests.unit.plan.observations import condition, decide, deployment, kept, message, published, serving_pod, trained

IMAGE = "serving_default image float32 [-1,8,8,1]"
BYTES = "serving_bytes image_bytes string [-1]"
ONE, TWO = trained(), trained(epochs=20)

CHANGES = {
    "nothing": ((IMAGE, BYTES), (IMAGE, BYTES), ""),
    "one more signature": ((IMAGE,), (IMAGE, BYTES), ""),
    "nobody says what it took": ((), (IMAGE,), ""),
    "nobody says what it takes": ((IMAGE,), (), ""),
    "another order": ((IMAGE, BYTES), (BYTES, IMAGE), ""),
    "a signature is gone": ((IMAGE, BYTES), (IMAGE,), "it has no signature serving_bytes any more"),
    "an input is renamed": (
        (IMAGE,),
        ("serving_default pixels float32 [-1,8,8,1]",),
        "signature serving_default has no input image any more, and has pixels",
    ),
    "an input is gone": (
        (IMAGE, "serving_default mask bool [-1]"),
        (IMAGE,),
        "signature serving_default has no input mask any more",
    ),
    "one more input": (
        (IMAGE,),
        (IMAGE, "serving_default mask bool [-1]"),
        "signature serving_default wants one more input, mask",
    ),
    "another shape": (
        (IMAGE,),
        ("serving_default image float32 [-1,16,16,1]",),
        "input image of signature serving_default was float32 [-1,8,8,1] and is float32 [-1,16,16,1]",
    ),
    "a column is gone": (
        ("serving_default shoe%20size%20%25 float32 [-1]", "serving_default age float32 [-1]"),
        ("serving_default age float32 [-1]",),
        "signature serving_default has no input shoe size % any more",
    ),
    "another type": (
        (IMAGE,),
        ("serving_default image uint8 [-1,8,8,1]",),
        "input image of signature serving_default was float32 [-1,8,8,1] and is uint8 [-1,8,8,1]",
    ),
}


def servable(number: int, inputs: tuple[str, ...]) -> VersionServable:
    return VersionServable(uri=f"s3://models/dogs/{number}", digest="sha256:0", bytes=9, inputs=inputs)


def todo(before: tuple[str, ...], after: tuple[str, ...], spec: KerasModelSpec = TWO, serving: int = 1) -> Plan:
    versions = (published(1, ONE, servable=servable(1, before)), published(2, TWO, servable=servable(2, after)))
    return decide(spec, *versions, deployment=deployment(serving), pods=(serving_pod(serving),))


@pytest.mark.parametrize(("before", "after", "how"), CHANGES.values(), ids=CHANGES.keys())
def test_clients_of_the_one_version_can_ask_the_other(before, after, how):
    plan = todo(before, after)
    desired = kept(plan, Template.DEPLOYMENT)
    assert desired is not None
    assert desired.values["number"] == (1 if how else 2)
    stalled = condition(plan, "Stalled")
    assert (stalled is not None) == bool(how)
    if how:
        assert message(plan) == (
            f"version 2 takes something else than version 1: {how}; write serving.rollout.signatureChange: Allow to "
            "roll it out all the same, or change what it is made from; version 1 serves on 1/1 pods"
        )
        assert stalled is not None
        assert stalled.reason == "SignatureChanged"


def test_who_allows_it_gets_it():
    allowing = Rollout(signature_change=SignatureChange.ALLOW)
    spec = trained(epochs=20, rollout=allowing)
    desired = kept(todo((IMAGE,), (BYTES,), spec), Template.DEPLOYMENT)
    assert desired is not None
    assert desired.values["number"] == 2


def test_who_pins_it_gets_it():
    desired = kept(todo((IMAGE,), (BYTES,), trained(epochs=20, version=2)), Template.DEPLOYMENT)
    assert desired is not None
    assert desired.values["number"] == 2


def test_once_it_serves_nothing_is_said():
    plan = todo((IMAGE,), (BYTES,), serving=2)
    assert condition(plan, "Stalled") is None
