"""evaluation.json: what was measured on the test part, and which of it is a version's metric."""

from __future__ import annotations

import msgspec

from model_trainer.evaluation.answers import Answers
from model_trainer.evaluation.calibration import Calibration, calibration
from model_trainer.evaluation.classes import ClassScore, class_scores, macro_f1
from model_trainer.evaluation.confidence import Interval, accuracy_interval

# With five classes or fewer every answer is among the first five.
TOP = 5


class EvaluationRecord(msgspec.Struct, frozen=True, rename="camel"):
    """evaluation.json.

    Attributes:
        accuracy: part of the images that got their own class.
        accuracy_interval: 95 % bootstrap confidence interval of it.
        top_5_accuracy: part of the images whose own class is among the five most probable; None below six classes.
        macro_f1: mean F1 of the classes.
        loss: mean loss.
        images: how many there are.
        calibration: expected calibration error with its bins.
        per_class: precision, recall and F1 of each class.
        confusion_matrix: [i][j] counts the images of class i that were taken for class j, in the order of `per_class`.
        measured: the metrics of Keras that the training asked for.
    """

    accuracy: float
    accuracy_interval: Interval
    top_5_accuracy: float | None
    macro_f1: float
    loss: float
    images: int
    calibration: Calibration
    per_class: tuple[ClassScore, ...]
    confusion_matrix: list[list[int]]
    measured: dict[str, float] = {}

    @property
    def metrics(self) -> dict[str, float]:
        """What a version's status tells, by the names that gates use."""
        measured = {
            "accuracy": self.accuracy,
            "accuracy_low": self.accuracy_interval.low,
            "top_5_accuracy": self.top_5_accuracy,
            "macro_f1": self.macro_f1,
            "ece": self.calibration.ece,
            "loss": self.loss,
            **self.measured,
        }
        return {name: value for name, value in measured.items() if value is not None}


def evaluation_of(answers: Answers, classes: tuple[str, ...], seed: int) -> EvaluationRecord:
    """Everything that is said of the test part; `seed` is of the confidence interval."""
    confusion = answers.confusion
    return EvaluationRecord(
        accuracy=answers.accuracy,
        accuracy_interval=accuracy_interval(int(answers.hits.sum()), len(answers.labels), seed),
        top_5_accuracy=answers.top(TOP) if len(classes) > TOP else None,
        macro_f1=macro_f1(confusion),
        loss=answers.loss,
        images=len(answers.labels),
        calibration=calibration(answers),
        per_class=class_scores(confusion, classes),
        confusion_matrix=confusion.tolist(),
        measured=dict(answers.measured),
    )
