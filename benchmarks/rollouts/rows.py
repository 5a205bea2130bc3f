"""One scenario from beginning to end, and what its row of the table says."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Measured
from benchmarks.rollouts.answers import Answer, Spell, between, not_wanted, percentile
from benchmarks.rollouts.load import Load, Rates
from benchmarks.rollouts.model import NAME, Model
from benchmarks.rollouts.scenarios import Scenario
from benchmarks.rollouts.servables import FAILING_WORDS

REST_SECONDS = 30
"""How long clients ask before anything is changed: p99 at rest is theirs."""
_FIRST_SECONDS = 5.0
"""Not counted in it: connections are made, and processors' caches filled."""
_ROOM_SECONDS = 60
"""How long a change may take beyond its own pauses with the clients still there."""


@dataclass(frozen=True)
class Row:
    """What was seen of one scenario.

    Attributes:
        scenario: which one.
        answers: by client.
        began: when the change was asked for, in seconds since the epoch.
        ended: when it was through.
    """

    scenario: Scenario
    answers: dict[str, list[Answer]]
    began: float
    ended: float

    @property
    def everything(self) -> list[Answer]:
        """All answers."""
        return [one for answers in self.answers.values() for one in answers]

    @property
    def failed(self) -> list[Answer]:
        """What failed, but for what the bad version of a canary answered by itself."""
        return [one for one in self.everything if one.fault and FAILING_WORDS not in one.fault]

    @property
    def refused(self) -> list[Answer]:
        """Errors that are a bad version's own."""
        return [one for one in self.everything if FAILING_WORDS in one.fault]

    @property
    def unwanted(self) -> list[Answer]:
        """Answers of a version that was not wanted then."""
        scenario = self.scenario
        meanwhile = frozenset({scenario.before, scenario.after}) | scenario.passing
        return not_wanted(
            self.everything,
            [
                Spell(-math.inf, self.began, frozenset({scenario.before})),
                Spell(self.began, self.ended, meanwhile),
                Spell(self.ended, math.inf, frozenset({scenario.after})),
            ],
        )

    def p99(self, client: str) -> tuple[float | None, float | None]:
        """The 99th percentile of a client's latencies in seconds, at rest and during the change."""
        answers = self.answers[client]
        first = min((one.sent for one in answers), default=0.0)
        return (
            percentile(between(answers, first + _FIRST_SECONDS, self.began), 0.99),
            percentile(between(answers, self.began, self.ended), 0.99),
        )

    def figures(self, requests: int) -> list[Measured]:
        """The figures of this scenario; `requests` were to be sent."""
        name, scenario = self.scenario.name, self.scenario
        figures = [
            Measured(f"{name}: requests", len(self.everything), "requests", f">= {requests}"),
            Measured(f"{name}: failed", len(self.failed), "requests", "<= 0"),
            Measured(f"{name}: answers of a version not wanted", len(self.unwanted), "answers", "<= 0"),
            Measured(f"{name}: time to full", self.ended - self.began, "s"),
        ]
        if scenario.passing:
            figures.append(Measured(f"{name}: errors of the bad version", len(self.refused), "requests"))
        for client, words in (("kept", "REST"), ("grpc", "gRPC")):
            rest, during = self.p99(client)
            bar = None if scenario.p99 is None else f"<= {scenario.p99:g}"
            figures += [
                Measured(f"{name}: {words} p99 at rest", _ms(rest), "ms"),
                Measured(f"{name}: {words} p99 during", _ms(during), "ms"),
                Measured(f"{name}: {words} p99 during against at rest", _ratio(during, rest), "times", bar),
            ]
        return figures


def run(scenario: Scenario, model: Model, rates: Rates, requests: int) -> Row:
    """Bring the model to where the scenario begins, let clients ask, make the change, and wait for all of it."""
    model.apply(rollout=scenario.rollout, version=scenario.before, replicas=2)
    model.wait(lambda: model.serves(scenario.before), f"version {scenario.before} before '{scenario.name}'")
    shortest = REST_SECONDS + scenario.pause + _ROOM_SECONDS
    seconds = max(shortest, math.ceil(1.02 * requests / rates.together))
    with tempfile.TemporaryDirectory(prefix="rollouts-") as folder:
        rest, grpc = model.addresses()
        with Load(rest, grpc, NAME, rates, seconds, Path(folder)) as load:
            time.sleep(REST_SECONDS)  # the time at rest that is measured
            began = time.time()
            ended = scenario.change(model)
            answers = load.answers()
    return Row(scenario, answers, began, ended)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def _ratio(during: float | None, rest: float | None) -> float | None:
    return during / rest if during is not None and rest else None
