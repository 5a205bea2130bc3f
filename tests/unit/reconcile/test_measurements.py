"""Prometheus is asked about canaries at a bounded rate; what it says leads to what the status says."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import yaml
from keras_operator.api import (
    Analysis,
    Canary,
    CanaryQuery,
    CanaryStatus,
    KerasModelStatus,
    Rollout,
    Strategy,
    decode_model,
)
from keras_operator.cluster.clock import ManualClock
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.prometheus import Answer, Prometheus
from keras_operator.measurements import Measurements
from keras_operator.plan import Observed, plan
from keras_operator.plan.observed import Measured

from model_server.runtime import monitoring
from model_server.runtime.errors import Code
from tests.unit.cluster_layer.prometheus_process import exporters, of_exporters, prometheus, until
from tests.unit.plan.observations import INSTALLATION, message, model, published, trained
from tests.unit.plan.test_canary import STEPS
from tests.unit.plan.test_comparison import traffic
from tests.unit.plan.test_hot import pod, seen

ERRORS = CanaryQuery(
    name="errors",
    query=(
        'sum({__name__=":tensorflow:serving:request_count",namespace="{{namespace}}",pod=~"{{pods}}",status!="OK"}) '
        '/ sum({__name__=":tensorflow:serving:request_count",namespace="{{namespace}}",pod=~"{{pods}}"})'
    ),
    max=0.05,
)


class Scripted:
    """Answers as a test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.says: list[Answer] = [Answer((0.01,))]
        self.asked: list[list[str]] = []

    async def ask(self, queries: Sequence[str]) -> list[Answer]:
        self.asked.append(list(queries))
        return self.says


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def measurements(scripted: Scripted, clock: ManualClock, metrics: Metrics) -> Measurements:
    return Measurements(cast("Prometheus", scripted), clock, metrics)


def watched(clock: ManualClock, *queries: CanaryQuery, step: int = 1, **looks: Any) -> Observed:
    """A model whose canary's step began a minute ago, on pod `new-1`."""
    analysis = Analysis(queries=queries or (ERRORS,))
    rollout = Rollout(strategy=Strategy.CANARY, canary=Canary(steps=STEPS, analysis=analysis))
    spec = trained(epochs=20, rollout=rollout, replicas=2)
    known = CanaryStatus(version=2, step=step, since=clock.now() - timedelta(minutes=1))
    it = model(spec, KerasModelStatus(serving_version=1, canary=known))
    pods = looks.pop("pods", (pod("new-1", 2), pod("old-1", 1)))
    return Observed(it, versions=(published(1, trained(epochs=10)), published(2, spec)), **seen(*pods), **looks)


SAMPLES = {
    "one": (Answer((0.01,)), Measured(0.01), "number"),
    "none": (Answer(), Measured(), "empty"),
    "not a number": (Answer((float("nan"),)), Measured(), "empty"),
    "more than one": (
        Answer((1.0, 2.0, 3.0)),
        Measured(wrong="gives 3 numbers, and one is wanted: put sum(…) or max(…) around it"),
        "wrong",
    ),
    "refused": (Answer(wrong="is refused by Prometheus: x"), Measured(wrong="is refused by Prometheus: x"), "wrong"),
    "away": (Answer(silent="cannot be reached"), Measured(silent="cannot be reached"), "silent"),
}


@pytest.mark.parametrize(("answer", "measured", "counted"), SAMPLES.values(), ids=SAMPLES.keys())
async def test_an_answer_is_one_number_or_why_there_is_none(
    measurements, scripted, clock, metrics, answer, measured, counted
):
    scripted.says = [answer]
    assert await measurements.of(watched(clock)) == {"errors": measured}
    assert metrics.registry.get_sample_value("keras_operator_prometheus_queries_total", {"result": counted}) == 1


async def test_it_is_asked_every_four_seconds_and_believed_in_between(measurements, scripted, clock):
    about = watched(clock)
    for _ in range(3):
        assert await measurements.of(about) == {"errors": Measured(0.01)}
    assert len(scripted.asked) == 1
    clock.advance(4)
    await measurements.of(about)
    assert len(scripted.asked) == measurements.requests == 2


async def test_what_it_said_of_another_step_or_of_other_pods_says_nothing(measurements, scripted, clock):
    await measurements.of(watched(clock))
    scripted.says = [Answer((0.5,))]
    assert await measurements.of(watched(clock, step=2)) == {"errors": Measured(0.5)}
    await measurements.of(watched(clock, step=2, pods=(pod("new-1", 2), pod("new-2", 2), pod("old-1", 1))))
    assert 'pod=~"new-1|new-2"' in scripted.asked[-1][0]
    assert len(scripted.asked) == 3


async def test_while_it_is_away_it_is_asked_less_often_and_old_numbers_of_other_pods_are_forgotten(
    measurements, scripted, clock
):
    busy = CanaryQuery(name="busy", query="b", max=1.0)
    scripted.says = [Answer((0.01,)), Answer(silent="cannot be reached")]
    both = {"errors": Measured(0.01), "busy": Measured(silent="cannot be reached")}
    assert await measurements.of(watched(clock, ERRORS, busy)) == both
    clock.advance(13)
    others = watched(clock, ERRORS, busy, pods=(pod("new-2", 2), pod("old-1", 1)))
    assert await measurements.of(others) == {"busy": both["busy"]}
    assert len(scripted.asked) == 1
    clock.advance(1)
    scripted.says = [Answer((0.01,)), Answer((0.5,))]
    assert await measurements.of(others) == {"errors": Measured(0.01), "busy": Measured(0.5)}


async def test_the_log_says_once_that_it_is_away_and_that_it_is_back(measurements, scripted, clock, caplog):
    caplog.set_level("INFO")
    for says in (Answer(silent="cannot be reached"), Answer(silent="cannot be reached"), Answer((1.0,)), Answer()):
        scripted.says = [says]
        await measurements.of(watched(clock))
        clock.advance(14)
    said = [record.getMessage() for record in caplog.records if record.name == "keras_operator.measurements"]
    assert said == ["canaries wait for Prometheus, which cannot be reached", "Prometheus answers again"]


async def test_nobody_is_asked_where_nobody_said_where_it_is_or_no_canary_asks(scripted, clock, measurements, metrics):
    assert await Measurements(None, clock, metrics).of(watched(clock)) == {}
    plain = watched(clock)
    assert plain.model is not None
    without = dataclasses.replace(plain, model=dataclasses.replace(plain.model, spec=trained()))
    assert await measurements.of(without) == {}
    assert scripted.asked == []


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus that has read three runtimes, of which `new-1` answers errors."""
    pages = {}
    for name, errors in {"new-1": 30, "new-2": 1, "old-1": 1}.items():
        pages[name] = monitoring.Metrics()
        for code, count in ((Code.OK, 99), (Code.INTERNAL, errors)):
            for _ in range(count):
                pages[name].request("dogs", "predict", "REST", code, 1000.0)
    with exporters(pages) as ports, prometheus(tmp_path_factory.mktemp("prometheus"), of_exporters(ports)) as url:
        read = 'count({__name__=":tensorflow:serving:request_count"})'
        until(lambda: asyncio.run(Prometheus(url).ask([read])) == [Answer((6.0,))], "all runtimes read")
        yield url


ENDS = {
    "worse": (
        "new-1",
        "because query errors gave 0.232558 for it, and at most 0.05 is wanted; it is tried again when the spec",
    ),
    "as good": ("new-2", "canary version 2 on 1/2 pods · 1m of 5m held · errors 0.0 % against 0.0 %"),
}


@pytest.mark.parametrize(("name", "words"), ENDS.values(), ids=ENDS.keys())
async def test_a_real_prometheus_decides_about_a_canary(real, clock, metrics, name, words):
    pods = (pod(name, 2), pod("old-1", 1))
    observed = watched(clock, pods=pods, traffic={name: traffic(500), "old-1": traffic(500)})
    measured = await Measurements(Prometheus(real), clock, metrics).of(observed)
    todo = plan(
        dataclasses.replace(observed, measured=measured),
        dataclasses.replace(INSTALLATION, prometheus=True),
        clock.now(),
    )
    assert words in message(todo)
    assert (" · errors 0.01" in message(todo)) == (name == "new-2")


async def test_the_queries_of_the_documentation_are_admitted_and_understood(real, clock, metrics):
    text = (Path(__file__).parents[3] / "docs/rollouts.md").read_text()
    (written,) = re.findall(r"```yaml\n( +analysis:\n +queries:\n.*?)```", text, re.DOTALL)
    queries = msgspec.convert(yaml.safe_load(written)["analysis"], Analysis).queries
    measured = await Measurements(Prometheus(real), clock, metrics).of(watched(clock, *queries))
    assert [query.name for query in queries] == ["error-ratio", "clicks"]
    assert measured["clicks"] == Measured()
    assert not measured["error-ratio"].wrong + measured["error-ratio"].silent
    rollout = {"strategy": "Canary", "canary": {"steps": [{"pods": "10%", "hold": "5m"}]} | yaml.safe_load(written)}
    spec = {"source": {"uri": "s3://uploads/dogs"}, "store": {"uri": "s3://models/dogs"}}
    decode_model(spec | {"serving": {"replicas": 2, "rollout": rollout}})
