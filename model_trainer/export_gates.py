"""What gates ask of an export: numbers of single classes, and of the servable. It publishes only if they are met."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field

from keras_operator.api import OF_ANYTHING, OF_NUMBER, Gate, compared, judge, measured_text

from model_trainer.evaluation.measuring import AnyRecord
from model_trainer.evaluation.numbers import NumberRecord
from model_trainer.evaluation.record import EvaluationRecord
from model_trainer.evaluation.source_record import SourceRecord


@dataclass(frozen=True)
class Measured:
    """What was measured, by `Gate.measured`, and why something could not be."""

    metrics: dict[str, float] = field(default_factory=dict)
    unmeasured: dict[str, str] = field(default_factory=dict)


def of_classes(gates: Sequence[Gate], evaluation: AnyRecord | None) -> Measured:
    """What the evaluation says of the classes that gates name, and why it says nothing of a gate's kind of target."""
    known = {score.name: score for score in evaluation.per_class} if isinstance(evaluation, EvaluationRecord) else {}
    metrics: dict[str, float] = {}
    unmeasured: dict[str, str] = {}
    for gate in gates:
        if isinstance(evaluation, NumberRecord):
            if gate.metric not in {*OF_NUMBER, *OF_ANYTHING}:
                unmeasured[gate.measured] = "it is of classes, and the test data has numbers that should be answered"
            continue
        if gate.of_class is None:
            if evaluation is not None and gate.metric in OF_NUMBER:
                unmeasured[gate.measured] = "it is of a number that is answered, and the test data has classes"
            continue
        score = known.get(gate.of_class)
        if score is None:
            unmeasured[gate.measured] = f"there is no such class{_nearest(gate.of_class, list(known))}"
        elif not score.images:
            unmeasured[gate.measured] = "no test image is of this class"
        else:
            metrics[gate.measured] = getattr(score, gate.metric)
    return Measured(metrics, unmeasured)


def unmet(gates: Sequence[Gate], measured: Measured, source: SourceRecord | None = None) -> list[str]:
    """What is said of the gates of an export that are not met.

    Those of a source are all judged here; of what was trained, the others were judged before the export began.
    """
    metrics = {**(source.metrics if source else {}), **measured.metrics}
    texts = {name: measured_text(value) for name, value in metrics.items()}
    asked = [gate for gate in gates if source is not None or gate.known_after_export]
    verdicts = judge(asked, texts, compared(source.comparison) if source else None, unmeasured=measured.unmeasured)
    return [verdict.sentence for verdict in verdicts if not verdict.result.met]


def _nearest(name: str, known: list[str]) -> str:
    """For whoever misspelt a class."""
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"; the nearest is {nearest[0]}" if nearest else ""
