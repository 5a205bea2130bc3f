from typing import Any

import numpy as np
import pytest
from keras_operator.api import Loss
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from model_trainer.data.dataset import Dataset, Example
from model_trainer.evaluation import report, score

CLASSES = ("a", "b", "c", "never seen")


class Fixed:
    """A model that answers what is written in the image: the class it takes it for."""

    def predict_on_batch(self, images: Any) -> Any:
        taken_for = np.rint(np.asarray(images)[:, 0, 0, 0] * 255).astype(int)
        return np.eye(4)[taken_for] * 0.97 + 0.0075


@pytest.fixture
def answers() -> tuple[Any, Any]:
    """(true class, class it is taken for) of 200 images; class 3 neither occurs nor is answered."""
    random = np.random.default_rng(3)
    true = random.integers(0, 3, 200)
    return true, np.where(random.uniform(size=200) < 0.7, true, random.integers(0, 3, 200))


def dataset(true: Any, taken_for: Any) -> Dataset:
    pixels = np.broadcast_to(taken_for.astype(np.uint8)[:, None, None, None], (len(true), 2, 2, 1))
    examples = tuple(Example(i, f"{i}.png", int(label), "") for i, label in enumerate(true))
    return Dataset(CLASSES, pixels, examples, (), {})


def test_scores_and_report_are_scikit_learn_s(answers: tuple[Any, Any]):
    true, taken_for = answers
    part = np.arange(20, 200)
    scores = score(Fixed(), dataset(true, taken_for), part, loss=Loss.CATEGORICAL_CROSSENTROPY, batch_size=32)
    true, taken_for = true[part], taken_for[part]
    assert np.array_equal(scores.confusion, confusion_matrix(true, taken_for, labels=range(4)))
    assert scores.accuracy == pytest.approx((true == taken_for).mean())
    hit, miss = 0.97 + 0.0075, 0.0075
    expected = float(np.mean(np.where(np.equal(true, taken_for), -np.log(hit), -np.log(miss))))
    assert scores.loss == pytest.approx(expected, rel=1e-5)

    told = report(scores, CLASSES)
    precision, recall, f1, support = precision_recall_fscore_support(true, taken_for, labels=range(4), zero_division=0)
    for i, of_class in enumerate(told.per_class):
        assert of_class.name == CLASSES[i]
        assert (of_class.precision, of_class.recall, of_class.f1, of_class.images) == pytest.approx(
            (precision[i], recall[i], f1[i], support[i])
        )
    assert told.confusion_matrix == scores.confusion.tolist()
    assert told.images == 180


@pytest.mark.parametrize("loss", Loss)
def test_every_loss_can_be_measured(answers: Any, loss: Loss):
    assert score(Fixed(), dataset(*answers), np.arange(50), loss=loss, batch_size=16).loss > 0
