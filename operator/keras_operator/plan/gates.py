"""Gates: does a version's evaluation meet what the model asks of it?"""

from collections.abc import Mapping, Sequence

from keras_operator.api import Gate, GateResult, KerasModelVersionStatus, Verdict, judge

_NOTHING: Mapping[str, str] = {}


def known_verdicts(gates: Sequence[Gate], status: KerasModelVersionStatus) -> tuple[Verdict, ...]:
    """The verdicts on all gates that can be judged already; the export has to tell about the others."""
    measured = measurements(status)
    known = [gate for gate in gates if not gate.known_after_export or gate.measured in measured]
    return judge(known, measured, status.comparison)


def all_verdicts(
    gates: Sequence[Gate], status: KerasModelVersionStatus, unmeasured: Mapping[str, str] = _NOTHING
) -> tuple[Verdict, ...]:
    """The verdicts on all gates, once an export has told what it measured and why it could not measure the rest."""
    return judge(gates, measurements(status), status.comparison, unmeasured=unmeasured)


def was_asked(gates: Sequence[Gate], status: KerasModelVersionStatus, unmeasured: Mapping[str, str]) -> bool:
    """Whether the last export has said something to everything that these gates need of it."""
    return all(
        gate.measured in status.export_metrics or gate.measured in unmeasured
        for gate in gates
        if gate.known_after_export
    )


def measurements(status: KerasModelVersionStatus) -> dict[str, str]:
    """Everything that was measured, by `Gate.measured`."""
    return {**status.metrics, **status.export_metrics}


def results_of(verdicts: Sequence[Verdict]) -> tuple[GateResult, ...]:
    """What a status says of them."""
    return tuple(verdict.result for verdict in verdicts)


def unmet_sentence(verdicts: Sequence[Verdict]) -> str:
    """What is said of the gates that are not met, empty where all are."""
    return "; ".join(verdict.sentence for verdict in verdicts if not verdict.result.met)
