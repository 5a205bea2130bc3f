"""Whether a new version answers worse than the one before, by what pods of both answered in the same time."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from keras_operator.api import Analysis
from keras_operator.plan.observed import Traffic


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both versions side by side.

    `enough` says whether the new version answered enough to be judged, `worse` why it is worse (empty: it is not), and
    `words` how both do.
    """

    enough: bool
    worse: str
    words: str


def compare(analysis: Analysis, new: Iterable[Traffic], old: Iterable[Traffic], old_number: int) -> Comparison:
    """Judge the pods with the new version by those with the old one."""
    ours, theirs = _together(new), _together(old)
    enough = ours.requests >= analysis.min_requests
    errors, usual = _share(ours), _share(theirs)
    name = f"p{analysis.latency_percentile}"
    slow, pace = (quantile(one.latency, analysis.latency_percentile / 100) for one in (ours, theirs))
    words = f"errors {errors:.1%} against {usual:.1%}".replace("%", " %")
    if slow is not None and pace is not None:
        words += f" · {name} {_time(slow)} against {_time(pace)}"
    worse = ""
    if enough and ours.requests and errors - usual > analysis.max_error_increase:
        worse = f"{errors:.1%} of its requests ended with an error, {usual:.1%} with version {old_number}"
        worse = worse.replace("%", " %")
    # A few requests have no quantile worth the name.
    elif (
        enough
        and slow is not None
        and pace is not None
        and theirs.requests >= min(analysis.min_requests, 100)
        and slow > pace * analysis.max_latency_ratio
    ):
        worse = f"its {name} latency is {_time(slow)}, {_time(pace)} with version {old_number}"
    return Comparison(enough, worse, words)


def quantile(latency: tuple[tuple[float, int], ...], share: float) -> float | None:
    """Microseconds within which this share of the requests was answered, interpolated as Prometheus does it.

    None where there were no requests. Beyond the last finite limit it is that limit.
    """
    total = latency[-1][1] if latency else 0
    if not total:
        return None
    wanted = share * total
    for (lower, before), (upper, count) in pairwise(((0.0, 0), *latency)):
        if count >= wanted:
            if upper == float("inf"):
                return lower
            return lower + (upper - lower) * (wanted - before) / max(1, count - before)
    return latency[-1][0]


def _together(pods: Iterable[Traffic]) -> Traffic:
    pods = tuple(pods)
    counts: dict[float, int] = {}
    for pod in pods:
        for limit, count in pod.latency:
            counts[limit] = counts.get(limit, 0) + count
    latency = tuple(sorted(counts.items()))
    return Traffic(sum(pod.requests for pod in pods), sum(pod.errors for pod in pods), latency)


def _share(traffic: Traffic) -> float:
    return traffic.errors / traffic.requests if traffic.requests else 0.0


def _time(micros: float) -> str:
    return f"{micros / 1000:.0f} ms" if micros >= 10_000 else f"{micros / 1000:.1f} ms"
