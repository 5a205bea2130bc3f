"""Gates: does a version's evaluation meet what the model asks of it?"""

from collections.abc import Mapping, Sequence

from keras_operator.api import Gate, GateResult


def judge(gates: Sequence[Gate], metrics: Mapping[str, str]) -> tuple[GateResult, ...]:
    """One result for each bound of each gate, in the order of the gates.

    `metrics` are decimal numbers in text, as a version's status holds them. A metric that the run did not measure does
    not meet its gate. A value equal to a bound meets it.
    """
    results = []
    for gate in gates:
        measured = metrics.get(gate.metric)
        value = None if measured is None else float(measured)
        if gate.min is not None:
            met = value is not None and value >= gate.min
            results.append(GateResult(metric=gate.metric, bound=f">= {gate.min:g}", value=measured, met=met))
        if gate.max is not None:
            met = value is not None and value <= gate.max
            results.append(GateResult(metric=gate.metric, bound=f"<= {gate.max:g}", value=measured, met=met))
    return tuple(results)


def unmet_sentence(results: Sequence[GateResult]) -> str:
    """What is said of the gates that are not met, empty where all are."""
    return "; ".join(
        f"{result.metric} was not measured, and its gate asks for {result.bound}"
        if result.value is None
        else f"{result.metric} is {result.value}, and its gate asks for {result.bound}"
        for result in results
        if not result.met
    )
