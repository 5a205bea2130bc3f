"""How many models are in which phase, for dashboards and alerts."""

from prometheus_client import Gauge

from keras_operator.api import Phase
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.reference import Key


class PhaseCounter:
    """Keeps the gauge `keras_operator_models{phase}` true: a model counts once, in the phase it was last seen in."""

    def __init__(self, metrics: Metrics) -> None:
        self._gauge = Gauge("keras_operator_models", "Models by phase.", ["phase"], registry=metrics.registry)
        self._seen: dict[Key, Phase] = {}
        for phase in Phase:
            self._gauge.labels(phase.value).set(0)

    def saw(self, key: Key, phase: Phase) -> None:
        """A model is in a phase."""
        if self._seen.get(key) is phase:
            return
        self.forget(key)
        self._seen[key] = phase
        self._gauge.labels(phase.value).inc()

    def forget(self, key: Key) -> None:
        """A model is gone."""
        if before := self._seen.pop(key, None):
            self._gauge.labels(before.value).dec()
