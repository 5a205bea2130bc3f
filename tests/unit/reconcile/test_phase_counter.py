"""Models by phase, and how long they were in each."""

import pytest
from keras_operator.api import Phase
from keras_operator.cluster.clock import ManualClock
from keras_operator.cluster.metrics import Metrics
from keras_operator.phases import PhaseCounter

DOGS, CATS = ("vision", "dogs"), ("vision", "cats")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def counter(metrics, clock: ManualClock) -> PhaseCounter:
    return PhaseCounter(metrics, clock)


def sample(metrics: Metrics, name: str, phase: Phase) -> float | None:
    return metrics.registry.get_sample_value(f"keras_operator_{name}", {"phase": phase.value})


def test_a_model_counts_once_in_the_phase_it_was_last_seen_in(counter, metrics):
    counter.saw(DOGS, Phase.TRAINING)
    counter.saw(DOGS, Phase.TRAINING)
    counter.saw(CATS, Phase.TRAINING)
    counter.saw(CATS, Phase.SERVING)
    assert [sample(metrics, "models", phase) for phase in (Phase.TRAINING, Phase.SERVING)] == [1, 1]
    counter.forget(DOGS)
    assert sample(metrics, "models", Phase.TRAINING) == 0


def test_a_phase_that_was_seen_to_begin_and_to_end_has_lasted_so_long(counter, metrics, clock):
    counter.saw(DOGS, Phase.PENDING)
    clock.advance(7)
    counter.saw(DOGS, Phase.TRAINING)
    clock.advance(40)
    counter.saw(DOGS, Phase.SERVING)
    assert sample(metrics, "phase_seconds_sum", Phase.TRAINING) == 40
    assert sample(metrics, "phase_seconds_count", Phase.PENDING) is None, "nobody knows when it began"


def test_a_namesake_of_a_model_that_is_gone_begins_anew(counter, metrics, clock):
    counter.saw(DOGS, Phase.PENDING)
    counter.saw(DOGS, Phase.TRAINING)
    counter.forget(DOGS)
    clock.advance(100)
    counter.saw(DOGS, Phase.TRAINING)
    counter.saw(DOGS, Phase.SERVING)
    assert sample(metrics, "phase_seconds_count", Phase.TRAINING) is None
