"""What is measured, each number against scikit-learn's (or scipy's)."""

from dataclasses import replace
from typing import Any

import keras
import msgspec
import numpy as np
import pytest
from keras_operator.api import Average, Data, Loss, LossParameters, MetricName, Training, TrainingMetric
from keras_operator.api.losses import OF_NUMBERS_ALONE
from scipy.stats import bootstrap
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    fbeta_score,
    precision_recall_fscore_support,
    precision_score,
    roc_auc_score,
    top_k_accuracy_score,
)

from model_trainer.data.dataset import Dataset, Example
from model_trainer.evaluation.answers import Answers, ask
from model_trainer.evaluation.calibration import calibration
from model_trainer.evaluation.classes import class_scores, macro_f1
from model_trainer.evaluation.confidence import accuracy_interval
from model_trainer.evaluation.record import EvaluationRecord, evaluation_of

CLASSES = tuple("abcdefg")
IMAGES = 255


class Fixed:
    """A model that answers what it was given for the image that has its number in its pixel."""

    def __init__(self, probabilities: Any) -> None:
        self.probabilities = probabilities

    def predict_on_batch(self, images: Any) -> Any:
        return self.probabilities[np.rint(np.asarray(images)[:, 0, 0, 0] * 255).astype(int)]


@pytest.fixture(scope="module")
def true() -> Any:
    """Classes of 255 images; the last class does not occur."""
    return np.random.default_rng(3).integers(0, len(CLASSES) - 1, IMAGES)


@pytest.fixture(scope="module")
def probabilities(true: Any) -> Any:
    """Answers that are often right; the last class is never the answer."""
    random = np.random.default_rng(4)
    logits = random.normal(size=(IMAGES, len(CLASSES))) + 1.5 * np.eye(len(CLASSES))[true]
    logits[:, -1] -= 10
    return (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)


def dataset(true: Any) -> Dataset:
    pixels = np.broadcast_to(np.arange(len(true), dtype=np.uint8)[:, None, None, None], (len(true), 2, 2, 1))
    examples = tuple(Example(i, f"{i}.png", int(label), "") for i, label in enumerate(true))
    return Dataset(CLASSES, pixels, examples, (), {})


def training(**fields: Any) -> Training:
    return Training(data=Data(uri="s3://datasets/letters"), **fields)


def asked(true: Any, probabilities: Any, loss: Loss = Loss.CATEGORICAL_CROSSENTROPY, **fields: Any) -> Answers:
    return ask(Fixed(probabilities), dataset(true), np.arange(IMAGES), training(loss=loss, **fields))


@pytest.fixture(scope="module")
def answers(true: Any, probabilities: Any) -> Answers:
    return asked(true, probabilities)


@pytest.fixture(scope="module")
def record(answers: Answers) -> EvaluationRecord:
    return evaluation_of(answers, CLASSES, seed=1)


def test_only_the_part_is_asked(true: Any, probabilities: Any):
    part = np.arange(20, 200, 3)
    wanted = training(loss=Loss.SPARSE_CATEGORICAL_CROSSENTROPY, batch_size=16)
    answers = ask(Fixed(probabilities), dataset(true), part, wanted)
    assert answers.labels.tolist() == true[part].tolist()
    assert answers.predicted.tolist() == probabilities[part].argmax(axis=1).tolist()


def test_accuracy_and_confusion_are_scikit_learn_s(record: EvaluationRecord, true: Any, probabilities: Any):
    predicted = probabilities.argmax(axis=1)
    assert record.accuracy == pytest.approx(accuracy_score(true, predicted))
    assert record.confusion_matrix == confusion_matrix(true, predicted, labels=range(7)).tolist()
    assert record.images == IMAGES


def test_metrics_of_keras_are_scikit_learn_s(true: Any, probabilities: Any):
    wanted = (
        TrainingMetric(name=MetricName.F1_SCORE),
        TrainingMetric(name=MetricName.F_BETA_SCORE, beta=2.0, average=Average.WEIGHTED),
        TrainingMetric(name=MetricName.TOP_K_CATEGORICAL_ACCURACY, k=3),
        TrainingMetric(name=MetricName.AUC, multi_label=True, num_thresholds=2000),
        TrainingMetric(name=MetricName.PRECISION, threshold=0.7),
    )
    record = evaluation_of(asked(true, probabilities, metrics=wanted), CLASSES, seed=1)
    predicted, sure = probabilities.argmax(axis=1), probabilities > 0.7
    one_hot = np.eye(len(CLASSES))[true]
    # Of a class without images there is no area; Keras calls it 0.
    areas = [roc_auc_score(one_hot[:, i], probabilities[:, i]) for i in range(len(CLASSES) - 1)]
    assert record.measured == {
        "f1_score": pytest.approx(f1_score(true, predicted, labels=range(7), average="macro", zero_division=0)),
        "f_beta_score": pytest.approx(fbeta_score(true, predicted, beta=2, average="weighted"), abs=1e-6),
        "top_k_categorical_accuracy": pytest.approx(top_k_accuracy_score(true, probabilities, k=3, labels=range(7))),
        "auc": pytest.approx(sum(areas) / len(CLASSES), abs=1e-3),
        "precision": pytest.approx(precision_score(one_hot, sure, average="micro")),
    }
    assert record.measured.items() <= record.metrics.items()


def test_top_5_is_scikit_learn_s(record: EvaluationRecord, true: Any, probabilities: Any):
    expected = top_k_accuracy_score(true, probabilities, k=5, labels=range(7))
    assert 0.5 < expected < 1
    assert record.top_5_accuracy == pytest.approx(expected)


def test_every_class_is_scored_as_by_scikit_learn(record: EvaluationRecord, true: Any, probabilities: Any):
    precision, recall, f1, support = precision_recall_fscore_support(
        true, probabilities.argmax(axis=1), labels=range(7), zero_division=0
    )
    for i, of_class in enumerate(record.per_class):
        assert of_class.name == CLASSES[i]
        assert (of_class.precision, of_class.recall, of_class.f1, of_class.images) == pytest.approx(
            (precision[i], recall[i], f1[i], support[i])
        )


def test_macro_f1_is_scikit_learn_s_which_leaves_out_a_class_that_nobody_saw(
    record: EvaluationRecord, true: Any, probabilities: Any
):
    predicted = probabilities.argmax(axis=1)
    assert record.macro_f1 == pytest.approx(f1_score(true, predicted, average="macro"))
    assert record.macro_f1 > f1_score(true, predicted, average="macro", labels=range(7), zero_division=0)


def test_the_calibration_is_that_of_scikit_learn_s_curve(answers: Answers, record: EvaluationRecord):
    accuracy, confidence = calibration_curve(answers.hits, answers.confidence, n_bins=15, strategy="uniform")
    bins = record.calibration.bins
    assert [each.accuracy for each in bins] == pytest.approx(accuracy.tolist())
    assert [each.confidence for each in bins] == pytest.approx(confidence.tolist())
    counts = np.histogram(answers.confidence, bins=15, range=(0, 1))[0]
    assert [each.images for each in bins] == counts[counts > 0].tolist()
    expected = np.sum(counts[counts > 0] / IMAGES * np.abs(accuracy - confidence))
    assert record.calibration.ece == pytest.approx(expected)
    assert expected > 0.01


def test_a_sure_and_right_model_is_calibrated_and_a_sure_and_wrong_one_is_not(answers: Answers):
    # float32 softmax may sum up to a little above 1.
    sure = replace(answers, confidence=np.full(IMAGES, 1.0000001))
    assert calibration(replace(sure, predicted=sure.labels)).ece == pytest.approx(0, abs=1e-6)
    assert calibration(replace(sure, predicted=(sure.labels + 1) % 7)).ece == pytest.approx(1, abs=1e-6)


def test_the_interval_is_that_of_scipy_s_bootstrap(answers: Answers, record: EvaluationRecord):
    expected = bootstrap(
        (answers.hits.astype(float),), np.mean, n_resamples=5000, method="percentile", random_state=5
    ).confidence_interval
    interval = record.accuracy_interval
    # Both are draws: with 5,000 and 1,000 of them an end wanders by about a twelfth of the interval's width.
    width = expected.high - expected.low
    assert interval.low == pytest.approx(expected.low, abs=width / 6)
    assert interval.high == pytest.approx(expected.high, abs=width / 6)
    assert interval.low < record.accuracy < interval.high


def test_the_interval_follows_from_its_seed():
    assert accuracy_interval(80, 100, seed=1) == accuracy_interval(80, 100, seed=1)
    assert accuracy_interval(80, 100, seed=1) != accuracy_interval(80, 100, seed=2)
    assert (accuracy_interval(9, 9, seed=1).low, accuracy_interval(0, 9, seed=1).high) == (1.0, 0.0)


OF_CLASSES = [loss for loss in Loss if loss not in OF_NUMBERS_ALONE]
PARAMETERS = {
    Loss.BINARY_FOCAL_CROSSENTROPY: LossParameters(alpha=0.4, gamma=1.5, apply_class_balancing=True),
    Loss.CATEGORICAL_FOCAL_CROSSENTROPY: LossParameters(alpha=0.4, gamma=1.5),
    Loss.CATEGORICAL_GENERALIZED_CROSS_ENTROPY: LossParameters(q=0.7),
    Loss.TVERSKY: LossParameters(alpha=0.3, beta=0.6),
}


@pytest.mark.parametrize(("loss", "parameters"), [*((loss, None) for loss in OF_CLASSES), *PARAMETERS.items()], ids=str)
def test_every_loss_is_keras_own_mean(true: Any, probabilities: Any, loss: Loss, parameters: LossParameters | None):
    sparse = loss in {Loss.SPARSE_CATEGORICAL_CROSSENTROPY, Loss.CATEGORICAL_GENERALIZED_CROSS_ENTROPY}
    labels = true if sparse else np.eye(len(CLASSES), dtype=np.float32)[true]
    by_name = {name.lower(): each for name, each in vars(keras.losses).items() if isinstance(each, type)}
    # Keras can take the overlap of a whole batch for one; here it is that of each image.
    arguments: dict[str, Any] = {"axis": -1} if loss in {Loss.DICE, Loss.TVERSKY} else {}
    given = msgspec.structs.asdict(parameters or LossParameters())
    arguments |= {name: value for name, value in given.items() if value is not None}
    expected = float(by_name[loss.replace("_", "")](**arguments)(labels, probabilities))
    measured = asked(true, probabilities, loss, loss_parameters=parameters).loss
    assert measured == pytest.approx(expected, rel=1e-5)


def test_the_overlap_is_of_each_image(true: Any, probabilities: Any):
    chances = probabilities[np.arange(IMAGES), true]
    assert asked(true, probabilities, Loss.DICE).losses == pytest.approx(1 - chances, abs=1e-5)


def test_among_equal_probabilities_the_first_class_wins(true: Any):
    told = asked(true, np.full((IMAGES, 7), 1 / 7, dtype=np.float32))
    assert set(told.predicted) == {0}
    assert told.rank.tolist() == true.tolist()
    assert told.hits.tolist() == (told.rank == 0).tolist()


def test_top_5_is_no_metric_where_there_is_no_sixth_class(answers: Answers):
    few = replace(answers, classes=5, labels=answers.labels % 5, predicted=answers.predicted % 5)
    record = evaluation_of(few, CLASSES[:5], seed=1)
    assert record.top_5_accuracy is None
    assert set(record.metrics) == {"accuracy", "accuracy_low", "macro_f1", "ece", "loss"}


def test_the_metrics_are_those_of_the_record(record: EvaluationRecord):
    assert record.metrics == {
        "accuracy": record.accuracy,
        "accuracy_low": record.accuracy_interval.low,
        "top_5_accuracy": record.top_5_accuracy,
        "macro_f1": record.macro_f1,
        "ece": record.calibration.ece,
        "loss": record.loss,
    }


def test_a_confusion_of_nothing_right_has_no_score():
    wrong = np.array([[0, 3], [2, 0]])
    assert macro_f1(wrong) == 0
    assert [(each.precision, each.recall, each.f1) for each in class_scores(wrong, ("a", "b"))] == [(0, 0, 0)] * 2
