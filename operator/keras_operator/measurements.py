"""What Prometheus says of a model's canary: its queries, asked at a bounded rate."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from math import isnan

from keras_operator.cluster.clock import Clock
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.prometheus import Answer, Prometheus
from keras_operator.plan.observed import Measured, Observed
from keras_operator.plan.rollout.queries import questions

logger = logging.getLogger(__name__)

_ASK_EVERY_SECONDS = 4.0
# A Prometheus that is away or overloaded is left alone for longer, and so are those who look at models.
_ASK_AGAIN_SECONDS = 14.0
_REMEMBERED_MODELS = 1000


class Measurements:
    """Asks Prometheus about canaries.

    Args:
        prometheus: whom to ask; None where nobody said where it is.
        clock: when.
        metrics: where queries are counted.

    Attributes:
        requests: how often it was asked.
    """

    def __init__(self, prometheus: Prometheus | None, clock: Clock, metrics: Metrics) -> None:
        self.requests = 0
        self._prometheus = prometheus
        self._clock = clock
        self._metrics = metrics
        # By model: when it was asked, about what, and what was said.
        self._last: OrderedDict[str, tuple[float, object, dict[str, Measured]]] = OrderedDict()
        self._silence = ""

    async def of(self, observed: Observed) -> Mapping[str, Measured]:
        """The answers to the queries about the model's canary, by the query's name; none where there is none."""
        asked = questions(observed, self._clock.now())
        if self._prometheus is None or observed.model is None or not asked:
            return {}
        model, now = observed.model, self._clock.monotonic()
        # The step and the pods of either version: an answer about others says nothing now.
        subject = (
            model.identity.generation,
            model.status.canary,
            frozenset((pod.identity.uid, pod.number) for pod in observed.answering_pods()),
        )
        since, about, last = self._last.get(model.identity.uid, (0.0, None, {}))
        silent = {name: one for name, one in last.items() if one.silent}
        if last and now - since < (_ASK_AGAIN_SECONDS if silent else _ASK_EVERY_SECONDS):
            if about == subject:
                return last
            if silent:
                return silent
        self.requests += 1
        answers = await self._prometheus.ask(list(asked.values()))
        said = {name: _measured(answer) for name, answer in zip(asked, answers, strict=True)}
        self._tell(said)
        self._last[model.identity.uid] = (now, subject, said)
        self._last.move_to_end(model.identity.uid)
        if len(self._last) > _REMEMBERED_MODELS:
            self._last.popitem(last=False)
        return said

    def _tell(self, said: Mapping[str, Measured]) -> None:
        for one in said.values():
            result = "silent" if one.silent else "wrong" if one.wrong else "empty" if one.value is None else "number"
            self._metrics.prometheus_queries.labels(result).inc()
        silence = next((one.silent for one in said.values() if one.silent), "")
        if silence and silence != self._silence:
            logger.warning("canaries wait for Prometheus, which %s", silence)
        elif self._silence and not silence:
            logger.info("Prometheus answers again")
        self._silence = silence


def _measured(answer: Answer) -> Measured:
    if answer.silent or answer.wrong:
        return Measured(silent=answer.silent, wrong=answer.wrong)
    if len(answer.samples) > 1:
        count = len(answer.samples)
        return Measured(wrong=f"gives {count} numbers, and one is wanted: put sum(…) or max(…) around it")
    # 0 / 0, as of requests that nobody made.
    return Measured(next((value for value in answer.samples if not isnan(value)), None))
