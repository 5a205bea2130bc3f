"""Gates held against what was measured: by the operator before an export, by the export before it publishes.

Both have to come to the same verdict, so both judge here, by the same decimal text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from .evaluation import Gate, Metric
from .run import Comparison
from .version import GateResult, VersionComparison

_NONE_MEASURED: Mapping[str, str] = {}
# As a status bounds it.
_LONGEST_PROBLEM = 1024


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one bound of a gate was met; `sentence` is what is said of it where it was not."""

    result: GateResult
    sentence: str = ""


def measured_text(value: float) -> str:
    """A measurement as a status holds it: six significant digits, which are what is judged."""
    return f"{value:.6g}"


def compared(comparison: Comparison | None) -> VersionComparison | None:
    """What a run says of the version that served, as a status holds it."""
    if comparison is None:
        return None
    texts = {name: measured_text(value) for name, value in sorted(comparison.metrics.items())}
    return VersionComparison(version=comparison.version, metrics=texts, problem=comparison.problem[:_LONGEST_PROBLEM])


def judge(
    gates: Sequence[Gate],
    measured: Mapping[str, str],
    comparison: VersionComparison | None = None,
    *,
    unmeasured: Mapping[str, str] = _NONE_MEASURED,
) -> tuple[Verdict, ...]:
    """One verdict for each bound of each gate, in the order of the gates. A value equal to a bound meets it.

    Args:
        gates: what is asked for.
        measured: decimal numbers in text, by `Gate.measured`. What is not there does not meet its gate.
        comparison: the version that served when the run began, None where nothing did.
        unmeasured: why something could not be measured, by `Gate.measured`.
    """
    verdicts = []
    for gate in gates:
        value = measured.get(gate.measured)
        missing = unmeasured.get(gate.measured) or _NEVER.get(gate.metric, "")
        if gate.min is not None:
            met = value is not None and Decimal(value) >= Decimal(repr(gate.min))
            verdicts.append(_verdict(gate, f">= {gate.min:g}", value, met=met, missing=missing))
        if gate.max is not None:
            met = value is not None and Decimal(value) <= Decimal(repr(gate.max))
            verdicts.append(_verdict(gate, f"<= {gate.max:g}", value, met=met, missing=missing))
        if gate.max_drop_from_serving is not None:
            verdicts.append(_against_serving(gate, gate.max_drop_from_serving, value, comparison, missing))
    return tuple(verdicts)


# Why what a run measures otherwise was not measured.
_NEVER = {
    Metric.TOP_5_ACCURACY: "it says nothing with five classes or fewer",
    Metric.R2: "it says nothing where all test rows have one number",
    Metric.R2_LOW: "it says nothing where all test rows have one number",
}


def _against_serving(
    gate: Gate, drop: float, value: str | None, comparison: VersionComparison | None, missing: str
) -> Verdict:
    side = "above" if gate.less_is_better else "below"
    if comparison is None:
        return _verdict(gate, f"at most {drop:g} {side} what serves", value, met=value is not None, missing=missing)
    bound = f"at most {drop:g} {side} version {comparison.version}"
    other = comparison.metrics.get(gate.measured)
    if other is None:
        why = comparison.problem or f"{gate.measured} was not measured of it"
        return _verdict(gate, bound, value, met=False, missing=missing, more=f", which cannot be compared: {why}")
    limit = Decimal(other) + Decimal(repr(drop)) * (1 if gate.less_is_better else -1)
    met = value is not None and (Decimal(value) <= limit if gate.less_is_better else Decimal(value) >= limit)
    return _verdict(gate, bound, value, met=met, missing=missing, more=f", which has {other} on the same images")


def _verdict(gate: Gate, bound: str, value: str | None, *, met: bool, missing: str, more: str = "") -> Verdict:
    result = GateResult(metric=gate.metric, of_class=gate.of_class, bound=bound, value=value, met=met)
    if met:
        return Verdict(result)
    found = f"is {value}" if value is not None else f"was not measured{f' ({missing})' if missing else ''}"
    return Verdict(result, f"{gate.measured} {found}, and its gate asks for {bound}{more}")
