"""Two models that want one folder: the one with the older right publishes there, the other says so and waits."""

import msgspec
import pytest
from keras_operator.api import KerasModelSpec, KerasModelStatus, Store
from keras_operator.cluster.cache import Cache
from keras_operator.cluster.clock import ManualClock
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.reference import Ref
from keras_operator.kinds import MODEL
from keras_operator.measurements import Measurements
from keras_operator.observation import Observer
from keras_operator.plan.desired import Template
from keras_operator.plan.observed import Identity, Model
from keras_operator.projection import project

from tests.unit.plan.observations import EARLIER, NOW, STORE, created, decide, kept, published, trained, version
from tests.unit.plan.observations import condition as said
from tests.unit.reconcile.operator_run import condition, live, status

HERE, THERE = ("vision", "dogs"), ("audio", "cats")


def a_model(key: tuple[str, str], spec: KerasModelSpec | None, uid: str = "", **more: object) -> Model:
    latest = more.pop("latest", None)
    who = Identity(*key, **({"uid": uid or f"uid-{key[1]}", "created": NOW} | more))  # type: ignore[arg-type]
    return Model(who, spec, KerasModelStatus(latest_version=latest))  # type: ignore[arg-type]


def in_store(uri: str = "s3://models/dogs", endpoint: str | None = None) -> KerasModelSpec:
    return trained(store=Store(uri=uri, endpoint=endpoint))


async def holder(mine: Model, *others: Model) -> str:
    cache = Cache()
    for model in (mine, *others):
        who = model.identity
        key = (who.namespace, who.name)
        cache.put(Ref(MODEL, *key), key, model, uid=who.uid)
    clock = ManualClock()
    measurements = Measurements(None, clock, Metrics())
    observed = await Observer(cache, None, clock, project, measurements).look(HERE)  # type: ignore[arg-type]
    return observed.store_holder


MINE = a_model(HERE, in_store())
SHARED = {
    "nobody else": ((), ""),
    "an older one": ((a_model(THERE, in_store(), created=EARLIER),), "audio/cats"),
    "a younger one": ((a_model(THERE, in_store(), uid="z"),), ""),
    "one of the same second": ((a_model(THERE, in_store(), uid="a"),), "audio/cats"),
    "a younger one that has versions": ((a_model(THERE, in_store(), uid="z", latest=1),), "audio/cats"),
    "the oldest of several": (
        (a_model(THERE, in_store(), uid="b"), a_model(("audio", "frogs"), in_store(), created=EARLIER)),
        "audio/frogs",
    ),
    "an older one that goes away": ((a_model(THERE, in_store(), created=EARLIER, deleting=True),), ""),
    "an older one elsewhere": ((a_model(THERE, in_store("s3://models/cats"), created=EARLIER),), ""),
    "an older one below": ((a_model(THERE, in_store("s3://models/dogs/x"), created=EARLIER),), ""),
    "an older one at another endpoint": (
        (a_model(THERE, in_store(endpoint="http://minio:9000"), created=EARLIER),),
        "",
    ),
    "an older one that writes it otherwise": (
        (a_model(THERE, in_store("s3://models/dogs/"), created=EARLIER),),
        "audio/cats",
    ),
    "an older one whose spec nobody can read": ((a_model(THERE, None, created=EARLIER),), ""),
}


@pytest.mark.parametrize(("others", "named"), SHARED.values(), ids=SHARED.keys())
async def test_the_older_right_to_a_store_is_found(others, named):
    assert await holder(MINE, *others) == named


async def test_an_endpoint_is_the_same_with_and_without_a_slash():
    mine = a_model(HERE, in_store(endpoint="http://minio:9000"))
    other = a_model(THERE, in_store(endpoint="http://minio:9000/"), created=EARLIER)
    assert await holder(mine, other) == "audio/cats"


async def test_versions_of_both_leave_it_to_age():
    mine = a_model(HERE, in_store(), latest=3)
    assert await holder(mine, a_model(THERE, in_store(), created=EARLIER, latest=1)) == "audio/cats"
    assert await holder(mine, a_model(THERE, in_store(), created=EARLIER)) == ""


def test_who_waits_for_the_store_makes_nothing_and_goes_on_serving():
    todo = decide(trained(epochs=20), published(1, trained()), store_holder="audio/cats")
    assert todo.create == ()
    assert kept(todo, Template.DEPLOYMENT) is not None
    stalled = said(todo, "Stalled")
    assert stalled is not None
    assert stalled.reason == "StoreConflict"
    assert todo.requeue_after == 2.0
    assert created(decide(trained()), Template.VERSION) is not None


async def test_the_second_goes_on_when_the_first_is_gone(operator, server, clock):
    other = Ref(MODEL, "audio", "cats")
    spec = msgspec.json.decode(msgspec.json.encode(trained(store=STORE)))
    server.put(other, {"spec": spec, "status": {"latestVersion": 1}})
    for _ in range(3):
        await operator.look()
    assert server.names("KerasModelVersion") == []
    stalled = condition(server, "Stalled")
    assert stalled is not None
    assert (stalled["reason"], "KerasModel audio/cats publishes in" in stalled["message"]) == ("StoreConflict", True)
    server.drop(other)
    await live(operator, server, clock)
    assert status(server)["phase"] == "Serving"


def test_a_version_that_waits_for_the_store_is_not_said_to_be_trained():
    todo = decide(trained(), version(1, trained()), store_holder="audio/cats")
    assert todo.create == ()
    assert todo.version_statuses["dogs-1"].phase is None
