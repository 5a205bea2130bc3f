"""What the agent says of a stretch of time, from the runtime's own page of metrics."""

from __future__ import annotations

import pytest

from model_server.agent.traffic import Traffic, TrafficLog
from model_server.runtime.errors import Code
from model_server.runtime.monitoring import Metrics


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock) -> TrafficLog:
    return TrafficLog("digits", clock)


def _sample(log: TrafficLog, clock: Clock, metrics: Metrics, at: float, version: int = 1) -> None:
    clock.now = at
    log.sample(metrics.page().decode(), version)


def _within(traffic: Traffic, micros: float) -> int:
    """How many requests were answered within some limit of the histogram just above."""
    return next(count for limit, count in traffic.latency if limit is None or limit >= micros)


def test_only_what_was_answered_since_counts(log, clock):
    metrics = Metrics()
    metrics.request("digits", "Predict", "REST", Code.OK, 900.0)
    _sample(log, clock, metrics, 100)
    for micros in (900.0, 5_000.0):
        metrics.request("digits", "Predict", "REST", Code.OK, micros)
    metrics.request("digits", "Predict", "GRPC", Code.OK, 5_000.0)
    metrics.request("digits", "Predict", "REST", Code.INTERNAL, 9.0)
    metrics.request("other", "Predict", "REST", Code.INTERNAL, 9.0)
    _sample(log, clock, metrics, 110)
    found = log.last(10)
    assert (found.seconds, found.requests, found.errors) == (10.0, 4, 1)
    assert (_within(found, 1_000), _within(found, 10_000), found.latency[-1]) == (1, 3, (None, 3))
    assert log.last(5).requests == 0


def test_a_stretch_longer_than_what_is_known_is_cut(log, clock):
    assert log.last(60) == Traffic(0.0, 0, 0, [])
    metrics = Metrics()
    metrics.request("digits", "Predict", "REST", Code.OK, 900.0)
    _sample(log, clock, metrics, 100)
    metrics.request("digits", "Predict", "REST", Code.OK, 900.0)
    _sample(log, clock, metrics, 102)
    assert (log.last(3600).seconds, log.last(3600).requests) == (2.0, 1)


def test_what_another_version_answered_is_not_this_ones(log, clock):
    metrics = Metrics()
    _sample(log, clock, metrics, 100)
    for _ in range(5):
        metrics.request("digits", "Predict", "REST", Code.INTERNAL, 900.0)
    _sample(log, clock, metrics, 102, version=2)
    assert (log.last(60).seconds, log.last(60).requests) == (0.0, 0)
    metrics.request("digits", "Predict", "REST", Code.OK, 900.0)
    _sample(log, clock, metrics, 104, version=2)
    assert (log.last(60).seconds, log.last(60).requests, log.last(60).errors) == (2.0, 1, 0)


def test_a_runtime_that_was_started_anew_counts_from_zero(log, clock):
    metrics = Metrics()
    for _ in range(5):
        metrics.request("digits", "Predict", "REST", Code.OK, 900.0)
    _sample(log, clock, metrics, 100)
    anew = Metrics()
    anew.request("digits", "Predict", "REST", Code.UNAVAILABLE, 900.0)
    _sample(log, clock, anew, 102)
    found = log.last(3600)
    assert (found.requests, found.errors) == (1, 1)


def test_predicted_classes_are_counted_by_their_names(log, clock):
    metrics = Metrics()
    metrics.predicted("digits", {"two": 2, 'a "b"': 5})
    _sample(log, clock, metrics, 100)
    assert log.last(60).classes == {}
    metrics.predicted("digits", {"two": 3, "": 1, "a new one": 4})
    metrics.predicted("other", {"two": 1})
    _sample(log, clock, metrics, 110)
    assert log.last(10).classes == {"two": 3, "": 1, "a new one": 4}
    metrics.predicted("digits", {'a "b"': 1})
    _sample(log, clock, metrics, 120)
    assert log.last(20).classes == {"two": 3, "": 1, "a new one": 4, 'a "b"': 1}


def test_a_name_with_quotes_is_found():
    clock = Clock()
    log, metrics = TrafficLog('a "b" \\ c', clock), Metrics()
    log.sample(metrics.page().decode(), 1)
    metrics.request('a "b" \\ c', "Predict", "REST", Code.OK, 900.0)
    _sample(log, clock, metrics, 101)
    assert log.last(60).requests == 1


def test_the_page_is_served(launch_agent, tmp_path, until):
    """With no runtime nothing was answered."""
    rollout = tmp_path / "rollout"
    rollout.mkdir()
    (rollout / "start").write_text("1")
    agent = launch_agent(tmp_path.as_uri(), rollout, 1)
    assert agent.get("/traffic/60").json == {"seconds": 0.0, "requests": 0, "errors": 0, "latency": [], "classes": {}}
    for wrong in ("/traffic/", "/traffic/0", "/traffic/x", "/traffic/99999999"):
        assert agent.get(wrong).status == 404
