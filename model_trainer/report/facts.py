"""What a report says, gathered from everything that is known once a version was evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import yaml
from keras_operator.api import API_VERSION, Comparison, RunSpec, Training

from model_trainer.augmentation import is_off
from model_trainer.augmentation.contact_sheet import augmented_samples
from model_trainer.batching import AnyDataset
from model_trainer.data.data_card import ClassCount, DataCard
from model_trainer.data.split import Split
from model_trainer.evaluation.answers import Answers
from model_trainer.evaluation.classes import ClassScore
from model_trainer.evaluation.measuring import AnyAnswers, AnyRecord
from model_trainer.evaluation.numbers import NumberAnswers, NumberRecord
from model_trainer.evaluation.record import EvaluationRecord
from model_trainer.report.charts import Bar, LineChart, Matrix, line_chart, matrix, reliability
from model_trainer.report.figures import Figure
from model_trainer.report.numbers import NumberFacts, number_facts, number_figures
from model_trainer.report.pictures import data_uri
from model_trainer.report.rows import in_words
from model_trainer.tables.card import TableCard
from model_trainer.tables.table import Table

MOST_MISTAKES = 18
SHEET_IMAGES = 4
SHEET_VARIANTS = 7
# Of pairs that were taken for each other, and of classes that are hardest.
LISTED = 10
# Smaller images are shown with their pixels as squares.
_VISIBLE_PIXELS = 48


@dataclass(frozen=True)
class Mistake:
    """An image or a row that was taken for another class: `picture` as a data URI, or what stood in the row."""

    picture: str
    row: str
    true: str
    predicted: str
    confidence: float
    file: str


@dataclass(frozen=True)
class Confused:
    """Two classes, and how many images of the one were taken for the other."""

    true: str
    predicted: str
    count: int
    of: int


@dataclass(frozen=True)
class Facts:
    """Everything on the page, in its order."""

    model: str
    number: int
    figures: tuple[Figure, ...]
    comparison: Comparison | None
    compared: tuple[tuple[str, str, str], ...]
    curves: tuple[LineChart, ...]
    matrix: Matrix
    confused: tuple[Confused, ...]
    scores: tuple[ClassScore, ...]
    hardest: tuple[ClassScore, ...]
    bars: tuple[Bar, ...]
    ece: float
    wrong: int
    images: int
    mistakes: tuple[Mistake, ...]
    trained: bool
    augmented: bool
    sheet: tuple[tuple[str, ...], ...]
    things: str
    card: DataCard | None
    table: TableCard | None
    histogram: tuple[ClassCount, ...]
    pixels: bool
    largest_class: int
    lineage: Mapping[str, str]
    document: str
    numbers: NumberFacts | None = None


@dataclass(frozen=True)
class Trained:
    """What is known once a version was evaluated.

    Of a source there is no `history` and no image to learn from, and `training` says how the images were read.
    """

    spec: RunSpec
    training: Training
    dataset: AnyDataset
    split: Split
    history: Mapping[str, Sequence[float]]
    answers: AnyAnswers
    evaluation: AnyRecord
    comparison: Comparison | None
    card: DataCard | TableCard
    lineage: Mapping[str, str]


def facts_of(trained: Trained) -> Facts:
    """Gather them. Augments and shrinks a few pictures, which takes about a second."""
    evaluation, answers, card = trained.evaluation, trained.answers, trained.card
    table = card if isinstance(card, TableCard) else None
    of_images = None if isinstance(card, TableCard) else card
    things = "images" if table is None else "rows"
    every = Facts(
        model=trained.spec.model,
        number=trained.spec.number,
        figures=(),
        comparison=trained.comparison,
        compared=_compared(evaluation, trained.comparison),
        curves=_curves(trained.history),
        matrix=matrix((), ()),
        confused=(),
        scores=(),
        hardest=(),
        bars=(),
        ece=0.0,
        wrong=0,
        images=len(trained.split.test),
        mistakes=(),
        trained=trained.spec.training is not None,
        augmented=not is_off(trained.training.augmentation),
        sheet=_sheet(trained),
        things=things,
        card=of_images,
        table=table,
        histogram=card.classes,
        pixels=of_images is not None and of_images.image_shape[0] <= _VISIBLE_PIXELS,
        largest_class=max((each.train + each.validation + each.test for each in card.classes), default=0),
        lineage=trained.lineage,
        document=document_of(trained.spec, trained.training),
    )
    if isinstance(evaluation, EvaluationRecord) and isinstance(answers, Answers):
        return _with_classes(every, trained, evaluation, answers)
    if isinstance(evaluation, NumberRecord) and isinstance(answers, NumberAnswers):
        return _with_numbers(every, trained, evaluation, answers)
    raise TypeError(f"{type(answers).__name__} and {type(evaluation).__name__} are not of one kind of target")


def _with_classes(facts: Facts, trained: Trained, evaluation: EvaluationRecord, answers: Answers) -> Facts:
    seen = tuple(score for score in evaluation.per_class if score.images)
    return replace(
        facts,
        figures=_figures(evaluation, facts.things),
        matrix=matrix(trained.dataset.classes, evaluation.confusion_matrix),
        confused=_confused(trained.dataset.classes, evaluation.confusion_matrix),
        scores=evaluation.per_class,
        hardest=tuple(sorted(seen, key=lambda score: (score.f1, score.name))[:LISTED]),
        bars=reliability(evaluation.calibration.bins),
        ece=evaluation.calibration.ece,
        wrong=int((~answers.hits).sum()),
        mistakes=_mistakes(trained, answers),
    )


def _with_numbers(facts: Facts, trained: Trained, evaluation: NumberRecord, answers: NumberAnswers) -> Facts:
    assert isinstance(trained.dataset, Table)
    assert facts.table is not None
    assert facts.table.target is not None
    numbers = number_facts(trained.dataset, facts.table.target, trained.split.test, answers)
    return replace(facts, figures=number_figures(evaluation, trained.training.objective), numbers=numbers)


def document_of(spec: RunSpec, training: Training) -> str:
    """The KerasModel that makes this version again, as YAML."""
    namespace, _, name = spec.model.rpartition("/")
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    made_from = {"source": spec.source} if spec.source else {"training": training}
    body = {**msgspec.to_builtins(made_from), "store": msgspec.to_builtins(spec.store)}
    document = {"apiVersion": API_VERSION, "kind": "KerasModel", "metadata": metadata, "spec": body}
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return text


def _figures(evaluation: EvaluationRecord, things: str) -> tuple[Figure, ...]:
    interval = evaluation.accuracy_interval
    figures = [
        Figure(
            "accuracy",
            f"{evaluation.accuracy:.1%}",
            f"of {evaluation.images} test {things}; {interval.low:.1%} to {interval.high:.1%} with "
            f"{interval.level:.0%} confidence",
        )
    ]
    if evaluation.top_5_accuracy is not None:
        figures.append(
            Figure("top-5 accuracy", f"{evaluation.top_5_accuracy:.1%}", "had their own class among the first five")
        )
    figures += [
        Figure("macro F1", f"{evaluation.macro_f1:.3f}", "mean of the classes, each counting the same"),
        Figure("calibration error", f"{evaluation.calibration.ece:.3f}", "how far confidence is from being right"),
        Figure("loss", f"{evaluation.loss:.4g}", f"mean over the test {things}"),
    ]
    figures += [
        Figure(name.replace("_", " "), f"{value:.4g}", "Keras' metric of this name")
        for name, value in evaluation.measured.items()
    ]
    return tuple(figures)


def _compared(evaluation: AnyRecord, comparison: Comparison | None) -> tuple[tuple[str, str, str], ...]:
    """Each metric of this version and of the one that serves."""
    if comparison is None or comparison.problem:
        return ()
    return tuple(
        (name, f"{value:.4g}", f"{comparison.metrics[name]:.4g}")
        for name, value in evaluation.metrics.items()
        if name in comparison.metrics
    )


def _curves(history: Mapping[str, Sequence[float]]) -> tuple[LineChart, ...]:
    """One chart for each metric, with the validation images' beside it."""
    charts = []
    for name in history:
        if name.startswith("val_"):
            continue
        curves = {"training": history[name]}
        if f"val_{name}" in history:
            curves["validation"] = history[f"val_{name}"]
        if all(len(values) and np.isfinite(values).all() for values in curves.values()):
            charts.append(line_chart(name.replace("_", " "), curves))
    return tuple(charts)


def _confused(names: Sequence[str], counts: Sequence[Sequence[int]]) -> tuple[Confused, ...]:
    pairs = [
        Confused(names[row], names[column], count, sum(of_row))
        for row, of_row in enumerate(counts)
        for column, count in enumerate(of_row)
        if count and row != column
    ]
    return tuple(sorted(pairs, key=lambda pair: (-pair.count, -pair.count / pair.of, pair.true))[:LISTED])


def _mistakes(trained: Trained, answers: Answers) -> tuple[Mistake, ...]:
    """The images or rows that the model was surest about and wrong."""
    dataset = trained.dataset
    wrong = np.flatnonzero(~answers.hits)
    surest = wrong[np.argsort(-answers.confidence[wrong], kind="stable")][:MOST_MISTAKES]
    rows = dataset.rows(trained.split.test)
    return tuple(
        Mistake(
            picture="" if isinstance(dataset, Table) else data_uri(dataset.pixels[rows[place]]),
            row=in_words(dataset, rows[place]) if isinstance(dataset, Table) else "",
            true=dataset.classes[answers.labels[place]],
            predicted=dataset.classes[answers.predicted[place]],
            confidence=float(answers.confidence[place]),
            file=dataset.examples[trained.split.test[place]].key,
        )
        for place in surest
    )


def _sheet(trained: Trained) -> tuple[tuple[str, ...], ...]:
    """A row for each of some training images: the image as it is, and what augmentation made of it."""
    training, dataset, part = trained.training, trained.dataset, trained.split.train
    if isinstance(dataset, Table) or not len(part):
        return ()
    chosen = part[np.unique(np.linspace(0, len(part) - 1, SHEET_IMAGES, dtype=np.int64))]
    pixels = dataset.pixels[dataset.rows(chosen)]
    variants = 0 if is_off(training.augmentation) else SHEET_VARIANTS
    samples = augmented_samples(pixels, training.augmentation, variants=variants, seed=training.seed)
    return tuple(tuple(data_uri(image) for image in of_image) for of_image in samples)
