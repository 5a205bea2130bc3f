"""Whether a new version answers worse than the one before, by what pods of both answered in the same time."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from keras_operator.api import Analysis
from keras_operator.plan.observed import Traffic
from keras_operator.plan.rollout.prediction_drift import distance


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both versions side by side.

    `lacks` is what has to be answered yet before all is judged (empty: it is enough), `worse` why the new version is
    worse (empty: it is not), and `words` how both do.
    """

    lacks: str
    worse: str
    words: str

    @property
    def enough(self) -> bool:
        """Whether enough was answered for the next step."""
        return not self.lacks


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
    lacks = "" if enough else f"{analysis.min_requests} requests"
    drift = analysis.prediction_drift
    if drift is None:
        return Comparison(lacks, worse, words)
    if min(sum(ours.classes.values()), sum(theirs.classes.values())) < drift.min_predictions:
        return Comparison(lacks or f"{drift.min_predictions} predictions of either version", worse, words)
    apart = distance(ours.classes, theirs.classes)
    words += f" · classes {apart:.2f} apart"
    if not worse and apart > drift.max_distance:
        worse = (
            f"the classes that it predicts are {apart:.2f} apart from those of version {old_number}, and "
            f"{drift.max_distance:g} is allowed"
        )
    return Comparison(lacks, worse, words)


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
    classes: Counter[str] = Counter()
    for pod in pods:
        classes.update(pod.classes)
    return Traffic(sum(pod.requests for pod in pods), sum(pod.errors for pod in pods), latency, classes)


def _share(traffic: Traffic) -> float:
    return traffic.errors / traffic.requests if traffic.requests else 0.0


def _time(micros: float) -> str:
    return f"{micros / 1000:.0f} ms" if micros >= 10_000 else f"{micros / 1000:.1f} ms"
