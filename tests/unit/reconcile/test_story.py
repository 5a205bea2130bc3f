"""At INFO the log tells the life of a model as a story that a person reads."""

import logging

from keras_operator.cluster.reference import Key

from tests.unit.plan.observations import trained
from tests.unit.reconcile.operator_run import KEY, live, put_model


def lines(caplog) -> list[tuple[str, str]]:
    return [(r.levelname, r.getMessage()) for r in caplog.records if r.name.startswith("keras_operator")]


async def test_a_life_cycle_is_told_in_less_than_twenty_lines(operator, server, clock, caplog):
    caplog.set_level(logging.INFO)
    await live(operator, server, clock)
    told = lines(caplog)
    assert len(told) < 20
    messages = [message for _, message in told]
    for part in (
        "KerasModelVersion dogs-1",
        "wrote Job dogs-1-train",
        "Training: version 1 is starting to train",
        "wrote Job dogs-1-export",
        "version 1 is published at s3://models/dogs/1",
        "wrote Deployment dogs",
        "Serving: version 1 serves on 1/1 pods",
    ):
        assert any(part in message for message in messages), f"{part!r} is not in {messages}"
    assert messages[-1].startswith("Serving: ")
    assert {level for level, _ in told} == {"INFO"}


async def test_at_rest_nothing_is_told(serving, caplog):
    caplog.set_level(logging.INFO)
    for _ in range(3):
        await serving.look()
    assert lines(caplog) == []


async def test_what_somebody_has_to_do_is_told_as_a_warning_and_once(serving, server, clock, caplog):
    caplog.set_level(logging.INFO)
    put_model(server, trained(epochs=20))
    await live(serving, server, clock, fail=frozenset({"dogs-2-train"}))
    warnings = [message for level, message in lines(caplog) if level == "WARNING"]
    assert len(warnings) == 1
    assert warnings[0].startswith("NoImages: version 2 failed: no images; version 1 serves on 1/1 pods")


async def test_a_model_is_explained_without_a_request(serving, server):
    told = serving.reconcile.explain(KEY)
    assert told is not None
    assert told["observed"].model.identity.name == "dogs"
    assert told["plan"].status == told["observed"].model.status
    assert (server.writes, server.reads) == ([], [])
    nobody: Key = ("vision", "nobody")
    assert serving.reconcile.explain(nobody) is None
