"""Watch events: which model each wakes, and which wake nobody."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import kopf
import pytest
from keras_operator.cluster.cache import Cache
from keras_operator.cluster.clock import ManualClock
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.queue import KeyedQueue
from keras_operator.cluster.reference import JOB, POD, Key, Kind, Ref
from keras_operator.handlers import Handlers, owner_key
from keras_operator.kinds import CHILDREN, MODEL, VERSION

DOGS: Key = ("vision", "dogs")


def body(
    name: str = "dogs-1-train", *, version: int = 1, uid: str = "u1", model: str | None = "dogs", **more: Any
) -> Any:
    labels = {"keras-operator.dev/model": model} if model else {}
    metadata = {
        "namespace": "vision", "name": name, "uid": uid, "resourceVersion": str(version), "labels": labels
    }  # fmt: skip
    return {"metadata": metadata, **more}


class Setting:
    """Handlers with everything around them that can be looked at."""

    def __init__(self) -> None:
        self.cache = Cache()
        self.queue: KeyedQueue[Key] = KeyedQueue(ManualClock())
        self.relisted: list[Kind] = []
        self.metrics = Metrics()
        self.handlers = Handlers(self.cache, self.queue, self.project, self.relisted.append, self.metrics)

    def project(self, kind: Kind, body: Mapping[str, Any]) -> object:
        return body["status"]["phase"]

    def woken(self) -> list[Key]:
        keys = list(self.queue._ready)
        for _ in keys:
            with pytest.raises(StopIteration) as got:
                self.queue.get().send(None)
            self.queue.done(got.value.value)
        return keys


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_a_child_wakes_the_model_of_its_label_and_a_model_itself(setting):
    setting.handlers.observe(JOB, "ADDED", body(status={"phase": "Running"}))
    assert setting.woken() == [DOGS]
    setting.handlers.observe(MODEL, "ADDED", body("cats", model=None, status={"phase": ""}))
    assert setting.woken() == [("vision", "cats")]
    assert setting.cache.owned(DOGS, JOB) == ("Running",)


def test_a_heartbeat_that_changes_nothing_planning_needs_wakes_nobody(setting):
    for version in range(1, 100):
        setting.handlers.observe(POD, "MODIFIED", body(version=version, status={"phase": "Running", "beat": version}))
    assert setting.woken() == [DOGS]
    setting.handlers.observe(POD, "MODIFIED", body(version=100, status={"phase": "Failed"}))
    assert setting.woken() == [DOGS]


def test_a_deletion_wakes_the_model_and_empties_the_cache(setting):
    setting.handlers.observe(JOB, "ADDED", body(status={"phase": "Running"}))
    setting.woken()
    setting.handlers.observe(JOB, "DELETED", body(version=2, status={"phase": "Running"}))
    assert setting.woken() == [DOGS]
    assert setting.cache.get(Ref(JOB, "vision", "dogs-1-train")) is None


def test_an_object_of_nobody_wakes_nobody_and_is_accounted_for(setting):
    """Otherwise an audit would wait for it for ever, and anybody could hold the operator up with one label."""
    setting.handlers.observe(JOB, "ADDED", body(model=None))
    assert setting.woken() == []
    entry = setting.cache.entry(Ref(JOB, "vision", "dogs-1-train"))
    assert entry is not None
    assert (entry.resource_version, entry.projection) == ("1", None)


def test_an_object_whose_model_label_is_taken_off_leaves_that_models_view(setting):
    setting.handlers.observe(JOB, "ADDED", body(status={"phase": "Running"}))
    setting.woken()
    setting.handlers.observe(JOB, "MODIFIED", body(version=2, model=None, status={"phase": "Running"}))
    assert setting.woken() == [DOGS]
    assert setting.cache.owned(DOGS, JOB) == ()


def test_a_deletion_without_the_models_label_is_a_deletion(setting):
    setting.handlers.observe(JOB, "ADDED", body(status={"phase": "Running"}))
    setting.woken()
    setting.handlers.observe(JOB, "DELETED", body(version=2, model=None))
    assert setting.woken() == [DOGS]


def test_a_child_whose_label_was_taken_off_comes_back_when_it_is_labelled_again(setting):
    setting.handlers.observe(JOB, "ADDED", body(status={"phase": "Running"}))
    setting.handlers.observe(JOB, "DELETED", body(version=2, status={"phase": "Running"}))
    setting.handlers.observe(JOB, "ADDED", body(version=3, status={"phase": "Complete"}))
    assert setting.cache.owned(DOGS, JOB) == ("Complete",)


def test_objects_listed_anew_are_reported_and_changes_are_not(setting):
    setting.handlers.observe(JOB, None, body(status={"phase": "Running"}))
    assert setting.relisted == [JOB]
    setting.handlers.observe(JOB, "MODIFIED", body(version=2, status={"phase": "Running"}))
    assert setting.relisted == [JOB]


def test_an_object_that_cannot_be_read_is_said_once_and_blinds_nobody(setting, caplog):
    setting.handlers.observe(JOB, "ADDED", body())
    setting.handlers.observe(JOB, "MODIFIED", body(version=2))
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == ["Job vision/dogs-1-train cannot be read and is ignored until it changes"]
    entry = setting.cache.entry(Ref(JOB, "vision", "dogs-1-train"))
    assert entry is not None
    assert entry.resource_version == "2"
    setting.handlers.observe(JOB, "MODIFIED", body(version=3, status={"phase": "Running"}))
    assert setting.cache.owned(DOGS, JOB) == ("Running",)


@pytest.mark.parametrize("labels", [None, {}, {"keras-operator.dev/model": ""}])
def test_a_child_without_the_models_label_belongs_to_nobody(labels):
    assert owner_key(VERSION, {"metadata": {"namespace": "vision", "name": "x", "labels": labels}}) is None


async def test_what_kopf_hands_over_is_observed_and_counted(setting):
    registry = kopf.OperatorRegistry()
    setting.handlers.register(registry)
    handle: Any
    (handle,) = [h.fn for h in registry._watching.get_all_handlers() if h.id == "jobs"]
    event = {"type": "ADDED", "object": body(status={"phase": "Running"})}
    assert await handle(event=event, type="ADDED", body={}, patch={}) is None, "kopf writes what is returned"
    assert setting.woken() == [DOGS]
    labels = {"kind": "Job", "type": "ADDED"}
    assert setting.metrics.registry.get_sample_value("keras_operator_watch_events_total", labels) == 1


def test_every_kind_is_subscribed_to_and_secrets_are_not(setting):
    registry = kopf.OperatorRegistry()
    setting.handlers.register(registry)
    watched = {h.selector.plural for h in registry._watching.get_all_handlers() if h.selector is not None}
    assert watched == {kind.plural for kind in (MODEL, VERSION, *CHILDREN)}
    assert "secrets" not in watched
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()
