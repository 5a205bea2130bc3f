"""Whether a new version answers worse than the one before, by what pods of both answered in the same time."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from keras_operator.api import Analysis
from keras_operator.plan.observed import Measured, Traffic
from keras_operator.plan.rollout.prediction_drift import distance
from keras_operator.plan.rollout.queries import judge


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both versions side by side.

    `lacks` is what has to be answered yet before all is judged (empty: it is enough), `worse` why the new version is
    worse (empty: it is not), `words` how both do, and `wrong` why that cannot be said until somebody changes a query.
    """

    lacks: str
    worse: str
    words: str
    wrong: str = ""

    @property
    def enough(self) -> bool:
        """Whether enough was answered for the next step."""
        return not self.lacks


def compare(
    analysis: Analysis,
    new: Iterable[Traffic],
    old: Iterable[Traffic],
    old_number: int,
    measured: Mapping[str, Measured] = MappingProxyType({}),
) -> Comparison:
    """Judge the pods with the new version by those with the old one, and by what Prometheus `measured`."""
    ours, theirs = _together(new), _together(old)
    found = _classes(analysis, ours, theirs, old_number, _answers(analysis, ours, theirs, old_number))
    if not analysis.queries:
        return found
    said = judge(analysis.queries, measured)
    # What Prometheus has of a version that has hardly answered anything says as little as its own answers.
    out = said.out if ours.requests >= analysis.min_requests else ""
    lacks = " and ".join(one for one in (found.lacks, said.lacks) if one)
    words = " · ".join(one for one in (found.words, said.words) if one)
    return Comparison(lacks, found.worse or out, words, said.wrong)


def _answers(analysis: Analysis, ours: Traffic, theirs: Traffic, old_number: int) -> Comparison:
    """By errors and latency."""
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
        allowed = _time(pace * analysis.max_latency_ratio)
        worse = (
            f"its {name} latency is {_time(slow)}, {_time(pace)} with version {old_number}, and {allowed} is allowed"
        )
    return Comparison("" if enough else f"{analysis.min_requests} requests", worse, words)


def _classes(analysis: Analysis, ours: Traffic, theirs: Traffic, old_number: int, found: Comparison) -> Comparison:
    """By predicted classes, too."""
    drift = analysis.prediction_drift
    if drift is None:
        return found
    if min(sum(ours.classes.values()), sum(theirs.classes.values())) < drift.min_predictions:
        lacks = found.lacks or f"{drift.min_predictions} predictions of either version"
        return Comparison(lacks, found.worse, found.words)
    apart = distance(ours.classes, theirs.classes)
    worse = found.worse
    if not worse and apart > drift.max_distance:
        worse = (
            f"the classes that it predicts are {apart:.2f} apart from those of version {old_number}, and "
            f"{drift.max_distance:g} is allowed"
        )
    return Comparison(found.lacks, worse, f"{found.words} · classes {apart:.2f} apart")


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
