"""A new version beside the old one: when it is worse, and when nothing can be said."""

import pytest
from keras_operator.api import Analysis
from keras_operator.plan.observed import Traffic
from keras_operator.plan.rollout.comparison import compare, quantile

INF = float("inf")


def traffic(requests: int, errors: int = 0, millis: float = 10) -> Traffic:
    """So many requests, all of which took about as long."""
    answered = requests - errors
    limits = [(1000.0 * millis / 1.8, 0), (1000.0 * millis, answered), (INF, answered)]
    return Traffic(requests, errors, tuple(limits))


CASES = {
    "equal": (traffic(1000), traffic(1000), True, ""),
    "too few to judge": (traffic(99, 99), traffic(1000), False, ""),
    "errors": (
        traffic(1000, 30),
        traffic(1000, 10),
        True,
        "3.0 % of its requests ended with an error, 1.0 % with version 3",
    ),
    "as many errors as the old one": (traffic(1000, 100), traffic(1000, 95), True, ""),
    "errors within bounds": (traffic(1000, 20), traffic(1000, 10), True, ""),
    "slow": (
        traffic(1000, millis=50),
        traffic(1000, millis=10),
        True,
        "its p95 latency is 49 ms, 9.8 ms with version 3, and 20 ms is allowed",
    ),
    "somewhat slow": (traffic(1000, millis=15), traffic(1000, millis=10), True, ""),
    "slow against a handful": (traffic(1000, millis=50), traffic(9, millis=10), True, ""),
    "against nothing": (traffic(1000, 5), traffic(0), True, ""),
    "errors against nothing": (traffic(1000, 50), traffic(0), True, "5.0 % of its requests ended with an error, 0.0 %"),
    "nothing at all": (traffic(0), traffic(0), False, ""),
}


@pytest.mark.parametrize(("new", "old", "enough", "worse"), CASES.values(), ids=CASES.keys())
def test_the_new_version_is_judged_by_the_old_one(new, old, enough, worse):
    found = compare(Analysis(), [new], [old], 3)
    assert found.enough == enough
    assert found.worse.startswith(worse)
    assert bool(found.worse) == bool(worse)


def test_pods_of_a_version_count_together():
    halves = [traffic(60, 2), traffic(60, 0)]
    found = compare(Analysis(max_error_increase=0.005), halves, [traffic(1000), traffic(1000)], 3)
    assert found.enough
    assert found.worse == "1.7 % of its requests ended with an error, 0.0 % with version 3"
    assert found.words == "errors 1.7 % against 0.0 % · p95 9.8 ms against 9.8 ms"


def test_without_a_least_number_nothing_has_to_be_answered():
    assert compare(Analysis(min_requests=0), [traffic(0)], [traffic(0)], 3).enough


QUANTILES = {
    "nothing": ((), 0.5, None),
    "no request": (((10.0, 0), (INF, 0)), 0.5, None),
    "in the middle of a bucket": (((10.0, 0), (20.0, 100), (INF, 100)), 0.5, 15.0),
    "in the first": (((10.0, 100), (INF, 100)), 0.9, 9.0),
    "beyond the last limit": (((10.0, 50), (INF, 100)), 0.9, 10.0),
    "on a limit": (((10.0, 50), (20.0, 100), (INF, 100)), 0.5, 10.0),
}


@pytest.mark.parametrize(("latency", "share", "micros"), QUANTILES.values(), ids=QUANTILES.keys())
def test_quantiles_are_those_of_prometheus(latency, share, micros):
    assert quantile(latency, share) == micros
