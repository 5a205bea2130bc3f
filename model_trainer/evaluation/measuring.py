"""Classes or a number: a model is asked, and measured, by what its training learns."""

from __future__ import annotations

from typing import Any

from keras_operator.api import Training

from model_trainer.batching import AnyDataset
from model_trainer.data.split import Indices
from model_trainer.evaluation.answers import Answers, ask
from model_trainer.evaluation.numbers import NumberAnswers, NumberRecord, ask_numbers, numbers_record
from model_trainer.evaluation.record import EvaluationRecord, evaluation_of
from model_trainer.tables.table import Table

AnyAnswers = Answers | NumberAnswers
AnyRecord = EvaluationRecord | NumberRecord


def answers_of(
    model: Any, dataset: AnyDataset, part: Indices, training: Training, *, served: bool = False
) -> AnyAnswers:
    """What the model says to each image or row of `part`; see `ask`."""
    if isinstance(dataset, Table) and dataset.target is not None:
        return ask_numbers(model, dataset, part, training, served=served)
    return ask(model, dataset, part, training, served=served)


def record_of(answers: AnyAnswers, classes: tuple[str, ...], seed: int) -> AnyRecord:
    """Everything that is said of the test part; `seed` is of the confidence intervals."""
    if isinstance(answers, NumberAnswers):
        return numbers_record(answers, seed)
    return evaluation_of(answers, classes, seed)


def of_validation(answers: AnyAnswers) -> dict[str, float]:
    """What a version's status tells of the validation part."""
    if isinstance(answers, NumberAnswers):
        told = {"mae": answers.mae, "rmse": answers.rmse, "r2": answers.r2, "loss": answers.loss}
        measured = {name: value for name, value in told.items() if value is not None} | dict(answers.measured)
    else:
        measured = {"accuracy": answers.accuracy, "loss": answers.loss, **answers.measured}
    return {f"val_{name}": value for name, value in measured.items()}
