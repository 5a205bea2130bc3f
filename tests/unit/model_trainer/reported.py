"""A training that is over, without one having been run: what a report is made of, for any number of classes."""

from typing import Any

import numpy as np
from keras_operator.api import Augmentation, Comparison, Data, RunSpec, Store, Training

from model_trainer.data.data_card import data_card
from model_trainer.data.dataset import Dataset, Example
from model_trainer.data.split import Split
from model_trainer.evaluation.answers import Answers
from model_trainer.evaluation.record import evaluation_of
from model_trainer.report.facts import Trained

NASTY = "<script>alert(1)</script>"
EACH = 9


def trained_on(
    classes: int, *, shape: tuple[int, int, int] = (20, 30, 3), right: float = 0.7, comparison: Comparison | None = None
) -> Trained:
    """Nine images of each class, of which the third, sixth and ninth are the test part; `right` is its accuracy."""
    random = np.random.default_rng(classes)
    names = tuple(
        f"{NASTY} & \"class\" '{number}' {'of a breed with a long name' * (number % 3)}" for number in range(classes)
    )
    count = classes * EACH
    labels = np.repeat(np.arange(classes), EACH)
    pixels = random.integers(0, 256, (count, *shape), dtype=np.uint8)
    examples = tuple(
        Example(i, f"{names[label][:3]}/{NASTY}{i}.png", int(label), f"{i:064x}", 1000 + i)
        for i, label in enumerate(labels)
    )
    dataset = Dataset(names, pixels, examples, (), {})
    rows = np.arange(count)
    split = Split(rows[rows % 3 == 0], rows[rows % 3 == 1], rows[rows % 3 == 2])
    true = labels[split.test]
    hit = random.uniform(size=len(true)) < right
    predicted = np.where(hit, true, (true + 1 + random.integers(0, classes - 1, len(true))) % classes)
    answers = Answers(
        classes=classes,
        labels=true,
        predicted=predicted,
        rank=np.where(hit, 0, 1),
        confidence=random.uniform(0.4, 1, len(true)),
        losses=random.uniform(0, 2, len(true)),
    )
    training = Training(
        data=Data(uri="s3://datasets/dogs", image_size=shape[:2]),
        epochs=3,
        augmentation=Augmentation(rotation=20, horizontal_flip=True),
    )
    spec = RunSpec(
        model="vision/dogs",
        model_name="dogs",
        number=4,
        owner="uid",
        store=Store(uri="s3://models/dogs"),
        training=training,
    )
    history: dict[str, Any] = {
        "accuracy": [0.2, 0.5, 0.8],
        "loss": [2.0, 1.0, 0.5],
        "val_accuracy": [0.3, 0.6, 0.7],
        "val_loss": [1.8, 1.1, 0.9],
    }
    return Trained(
        spec=spec,
        training=training,
        dataset=dataset,
        split=split,
        history=history,
        answers=answers,
        evaluation=evaluation_of(answers, names, seed=1),
        comparison=comparison,
        card=data_card(dataset, split),
        lineage={"data": "sha256:0123", "seed": "42"},
    )
