"""How many models are in which phase, and for how long they were, for dashboards and alerts."""

from prometheus_client import Gauge, Histogram

from keras_operator.api import Phase
from keras_operator.cluster.clock import Clock
from keras_operator.cluster.metrics import Metrics
from keras_operator.cluster.reference import Key

# From a moment to a week: a phase may be a rollout or a long training.
_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600)


class PhaseCounter:
    """Keeps the gauge `keras_operator_models{phase}` true: a model counts once, in the phase it was last seen in.

    `keras_operator_phase_seconds{phase}` has how long phases lasted that this process saw begin and end.
    """

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._clock = clock
        self._gauge = Gauge("keras_operator_models", "Models by phase.", ["phase"], registry=metrics.registry)
        self._seconds = Histogram(
            "keras_operator_phase_seconds",
            "Seconds that a model was in a phase which it has left.",
            ["phase"],
            buckets=_SECONDS,
            registry=metrics.registry,
        )
        self._seen: dict[Key, Phase] = {}
        self._since: dict[Key, float] = {}
        for phase in Phase:
            self._gauge.labels(phase.value).set(0)

    def saw(self, key: Key, phase: Phase) -> None:
        """A model is in a phase."""
        before = self._seen.get(key)
        if before is phase:
            return
        now = self._clock.monotonic()
        if before is not None:
            if (since := self._since.get(key)) is not None:
                self._seconds.labels(before.value).observe(now - since)
            self.forget(key)
            # The first phase that is seen began before this process, nobody knows when.
            self._since[key] = now
        self._seen[key] = phase
        self._gauge.labels(phase.value).inc()

    def forget(self, key: Key) -> None:
        """A model is gone."""
        self._since.pop(key, None)
        if before := self._seen.pop(key, None):
            self._gauge.labels(before.value).dec()
