"""A training that is over, without one having been run: what a report is made of, for any number of classes."""

from typing import Any

import numpy as np
from keras_operator.api import (
    Architecture,
    ArchitectureName,
    Augmentation,
    Comparison,
    Data,
    DataFormat,
    RunSpec,
    Store,
    TargetKind,
    Training,
)
from keras_operator.api import Table as Wanted

from model_trainer.data.data_card import data_card
from model_trainer.data.dataset import Dataset, Example
from model_trainer.data.split import Split
from model_trainer.evaluation.answers import Answers
from model_trainer.evaluation.numbers import NumberAnswers, numbers_record
from model_trainer.evaluation.record import evaluation_of
from model_trainer.report.facts import Trained
from model_trainer.tables.card import table_card
from model_trainer.tables.columns import Column, Kind
from model_trainer.tables.encoding import learn_encoding
from model_trainer.tables.table import Table
from model_trainer.tables.target import learn_target

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


def trained_on_numbers(rows: int = 90, *, scale: float = 100.0, comparison: Comparison | None = None) -> Trained:
    """A table of which every third row is the test part, and a model that is off by a tenth of its numbers' spread."""
    random = np.random.default_rng(rows)
    numbers = random.normal(0, 1, (rows, 1)).astype(np.float32)
    codes = random.integers(0, 2, (rows, 1)).astype(np.int32)
    words = ((NASTY, "Ulm"),)
    values = scale * (3 + numbers[:, 0].astype(np.float64))
    every = np.arange(rows)
    split = Split(every[every % 3 == 0], every[every % 3 == 1], every[every % 3 == 2])
    table = Table(
        classes=(),
        columns=(Column("age", Kind.NUMERIC), Column(f"town {NASTY}", Kind.CATEGORICAL)),
        numbers=numbers,
        codes=codes,
        words=words,
        examples=tuple(Example(i, f"{NASTY}.csv:{i + 2}", 0, f"{i:064x}") for i in range(rows)),
        encoding=learn_encoding(numbers[split.train], codes[split.train], words),
        ignored=(),
        files=1,
        target=learn_target(f"price {NASTY}", values, values[split.train]),
        values=values,
    )
    true = values[split.test]
    answers = NumberAnswers(true, true + random.normal(0, scale / 10, len(true)), random.uniform(0, 1, len(true)))
    wanted = Wanted(target="price", target_kind=TargetKind.NUMERIC)
    training = Training(
        data=Data(uri="s3://datasets/houses.csv", format=DataFormat.CSV, table=wanted),
        architecture=Architecture(name=ArchitectureName.MLP),
        epochs=3,
    )
    spec = RunSpec(
        model="homes/houses",
        model_name="houses",
        number=4,
        owner="uid",
        store=Store(uri="s3://models/houses"),
        training=training,
    )
    falling = [2.0, 1.0, 0.5]
    history: dict[str, Any] = {f"{part}{name}": falling for part in ("", "val_") for name in ("loss", "mae", "rmse")}
    return Trained(
        spec=spec,
        training=training,
        dataset=table,
        split=split,
        history=history,
        answers=answers,
        evaluation=numbers_record(answers, seed=1),
        comparison=comparison,
        card=table_card(table, split),
        lineage={"data": "sha256:0123", "seed": "42"},
    )
