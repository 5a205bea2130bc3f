from typing import Any

import keras
import numpy as np
import pytest
from keras_operator.api import (
    Augmentation,
    Data,
    EarlyStopping,
    Loss,
    Monitor,
    Optimizer,
    OptimizerName,
    Training,
)

from model_trainer.data.dataset import Dataset, Example
from model_trainer.data.split import Split
from model_trainer.failure import Diverged
from model_trainer.training import History, Tick, optimizer_of, train


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Dark, medium and bright images: what any network learns."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    pixels = (labels[:, None, None, None] * 90 + random.integers(0, 40, (60, 10, 10, 1))).astype(np.uint8)
    examples = tuple(Example(i, f"{label}/{i}.png", int(label), "") for i, label in enumerate(labels))
    return Dataset(("dark", "medium", "bright"), pixels, examples, (), {})


SPLIT = Split(np.arange(40), np.arange(40, 50), np.arange(50, 60))


def training(**fields: Any) -> Training:
    return Training(data=Data(uri="s3://x/y"), **{"epochs": 2, "batch_size": 8, **fields})


def model() -> Any:
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [keras.Input((10, 10, 1)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    )


def silent(tick: Tick) -> None:
    del tick


@pytest.mark.parametrize("loss", [Loss.KL_DIVERGENCE, Loss.SPARSE_CATEGORICAL_CROSSENTROPY])
def test_losses_of_both_kinds_of_labels_learn(dataset: Dataset, loss: Loss):
    history = train(model(), dataset, SPLIT, training(loss=loss, epochs=4), silent)
    assert set(history) == {"accuracy", "loss", "val_accuracy", "val_loss"}
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize("name", OptimizerName)
def test_every_optimizer_of_the_api_is_keras_s(name: OptimizerName):
    optimizer = optimizer_of(Optimizer(name=name, learning_rate=0.002))
    assert type(optimizer).__name__.lower() == name
    assert float(optimizer.learning_rate) == pytest.approx(0.002)


def test_the_same_seed_gives_the_same_history_and_another_one_does_not(dataset: Dataset):
    asked = training(augmentation=Augmentation(rotation=10, width_shift=0.1), epochs=2)

    def history(seed: int) -> History:
        return train(model(), dataset, SPLIT, training(seed=seed, augmentation=asked.augmentation), silent)

    first, again, other = history(1), history(1), history(2)
    assert first["loss"] == pytest.approx(again["loss"], abs=1e-5)
    assert first["loss"] != pytest.approx(other["loss"], abs=1e-5)


def test_early_stopping_stops_and_restores_the_best_weights(dataset: Dataset):
    network = model()
    asked = training(
        epochs=50,
        optimizer=Optimizer(name=OptimizerName.SGD, learning_rate=0.5),
        early_stopping=EarlyStopping(monitor=Monitor.VAL_LOSS, patience=2, min_delta=0.01),
    )
    history = train(network, dataset, SPLIT, asked, silent)
    assert len(history["loss"]) < 50
    images = dataset.pixels[SPLIT.validation] / np.float32(255)
    labels = keras.utils.to_categorical(dataset.labels(SPLIT.validation), 3)
    best = min(history["val_loss"])
    assert network.evaluate(images, labels, verbose=0)[0] <= best + 0.011


def test_accuracy_is_better_when_it_is_higher(dataset: Dataset):
    stopping = EarlyStopping(monitor=Monitor.ACCURACY, patience=3)
    history = train(model(), dataset, SPLIT, training(epochs=60, early_stopping=stopping), silent)["accuracy"]
    assert history.index(max(history)) == len(history) - 4 or len(history) == 60


def test_a_loss_that_is_no_number_ends_it_with_what_to_change(dataset: Dataset):
    asked = training(
        epochs=30, loss=Loss.MEAN_SQUARED_ERROR, optimizer=Optimizer(name=OptimizerName.SGD, learning_rate=1.0)
    )
    network = model()
    network.layers[-1].set_weights([np.full((100, 3), np.nan), np.zeros(3)])
    with pytest.raises(Diverged, match=r"no longer a number in epoch 1 of 30\. Lower .*learningRate \(it is 1\)"):
        train(network, dataset, SPLIT, asked, silent)


def test_each_epoch_is_told_with_its_metrics_and_the_seconds_left(dataset: Dataset):
    ticks: list[Tick] = []
    train(model(), dataset, SPLIT, training(epochs=3), ticks.append)
    ends = [tick for tick in ticks if tick.part == 0]
    assert [tick.epoch for tick in ends] == [1, 2, 3]
    assert all(set(tick.metrics) == {"accuracy", "loss", "val_accuracy", "val_loss"} for tick in ends)
    assert ends[0].seconds_left is not None
    assert ends[0].seconds_left > 0
    assert ends[-1].seconds_left == 0


def test_progress_within_an_epoch_is_told(dataset: Dataset, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("model_trainer.training.SECONDS_BETWEEN_UPDATES", 0.0)
    ticks: list[Tick] = []
    train(model(), dataset, SPLIT, training(epochs=1), ticks.append)
    assert [tick.part for tick in ticks] == [0.2, 0.4, 0.6, 0.8, 0.0]
