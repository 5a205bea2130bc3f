"""How far apart two versions' predictions are, and that chance alone is no distance."""

import random
from collections.abc import Sequence

import pytest
from keras_operator.api import Analysis, PredictionDrift
from keras_operator.plan.observed import Traffic
from keras_operator.plan.rollout.comparison import compare
from keras_operator.plan.rollout.prediction_drift import distance

FEW = Analysis(prediction_drift=PredictionDrift(min_predictions=100))
MANY = 10**12


def named(counts: Sequence[int]) -> dict[str, int]:
    return {f"class {index}": count for index, count in enumerate(counts)}


DISTANCES = {
    "the same shares": ((MANY, MANY), (3 * MANY, 3 * MANY), 0.0),
    "one class for another": ((MANY, 0), (0, MANY), 1.0),
    "one class of three": ((3 * MANY, 0, 0), (MANY, MANY, MANY), 2 / 3),
    "a class that only one knows": ((MANY, MANY), (MANY,), 0.5),
    # 1/2 (0.3 + 0.3), less 2 x 1/2 sqrt(2/pi 0.65 0.35 2/100) as half of each side is chance.
    "less what chance brings": ((80, 20), (50, 50), 0.3 - (2 / 3.141592653589793 * 0.65 * 0.35 * 0.02) ** 0.5),
    "less than what chance brings": ((52, 48), (50, 50), 0.0),
}


@pytest.mark.parametrize(("new", "old", "apart"), DISTANCES.values(), ids=DISTANCES.keys())
def test_the_distance_is_the_share_of_predictions_that_would_have_to_be_others(new, old, apart):
    assert distance(named(new), named(old)) == pytest.approx(apart, abs=1e-5)
    assert distance(named(old), named(new)) == pytest.approx(apart, abs=1e-5)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_two_samples_of_one_distribution_are_hardly_apart(classes):
    """With the total variation alone, 200 predictions of 100 classes are 0.28 apart on average."""
    rng = random.Random(classes)
    found = []
    for _ in range(200):
        samples = [[0] * classes for _ in range(2)]
        for sample in samples:
            for _ in range(200):
                sample[rng.randrange(classes)] += 1
        found.append(distance(*map(named, samples)))
    assert max(found) < 0.15
    assert sum(found) / len(found) < 0.04


def answered(*classes: int, errors: int = 0) -> Traffic:
    requests = max(200, sum(classes)) + errors
    return Traffic(requests, errors, (), named(classes))


JUDGED = {
    "the same classes": (answered(50, 50), answered(60, 60), "", ""),
    "always one class": (
        answered(200, 0),
        answered(100, 100),
        "",
        "the classes that it predicts are 0.47 apart from those of version 3, and 0.2 is allowed",
    ),
    "too few of the new one": (answered(99, 0), answered(50, 50), "100 predictions of either version", ""),
    "too few of the old one": (answered(200, 0), answered(50, 49), "100 predictions of either version", ""),
    "a runtime that does not count": (answered(), answered(), "100 predictions of either version", ""),
    "errors need no predictions": (
        answered(errors=50),
        answered(50, 50),
        "100 predictions of either version",
        "20.0 % of its requests ended with an error, 0.0 % with version 3",
    ),
}


@pytest.mark.parametrize(("new", "old", "lacks", "worse"), JUDGED.values(), ids=JUDGED.keys())
def test_other_classes_take_a_version_back_once_there_are_enough(new, old, lacks, worse):
    found = compare(FEW, [new], [old], 3)
    assert (found.lacks, found.worse) == (lacks, worse)


def test_pods_of_a_version_are_counted_together_and_what_was_found_is_said():
    found = compare(FEW, [answered(60), answered(0, 60)], [answered(60, 60)], 3)
    assert found.enough
    assert found.words == "errors 0.0 % against 0.0 % · classes 0.00 apart"


def test_without_a_word_of_it_classes_are_not_compared():
    found = compare(Analysis(), [answered(200, 0)], [answered(0, 200)], 3)
    assert (found.lacks, found.worse, found.words) == ("", "", "errors 0.0 % against 0.0 %")
