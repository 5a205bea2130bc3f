"""Fine-tuning: the head learns alone first, then the rest with it; a run that is broken off goes on in its phase."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_operator.api import (
    EarlyStopping,
    FineTuning,
    InitialWeights,
    Optimizer,
    OptimizerName,
    ReduceOnPlateau,
    RunSpec,
)

from model_trainer.data.dataset import Dataset
from model_trainer.failure import Diverged
from model_trainer.pace import Tick
from tests.unit.model_trainer import test_training as of_training
from tests.unit.model_trainer.test_training import SPLIT, fit, silent, training

dataset = of_training.dataset


def model() -> Any:
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((10, 10, 1)),
            layers.Flatten(),
            layers.Dense(4, name="body"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.2),
            layers.Dense(3, activation="softmax", name="head"),
        ]
    )


def tuned(**fields: Any) -> Any:
    wanted = {"epochs": 4, "fine_tuning": FineTuning(head_epochs=2, learning_rate=0.002), **fields}
    return training(**wanted, reduce_on_plateau=ReduceOnPlateau(patience=1, min_delta=1000))


def changed(before: list[Any], after: list[Any]) -> set[str]:
    """The layers of which a variable is another one; a random generator's state is no weight."""
    names = [weight.path.split("/")[-2] for weight in model().weights]
    pairs = zip(names, before, after, strict=True)
    return {name for name, one, other in pairs if not np.array_equal(one, other)}


def test_the_head_learns_alone_and_then_the_rest_by_its_own_rate(dataset: Dataset, tmp_path: Path):
    network, weights, phases = model(), [], []
    begin = network.get_weights()

    def look(tick: Tick) -> None:
        if not tick.step:
            weights.append(network.get_weights())
            phases.append(tick.phase)

    history = fit(network, dataset, SPLIT, tuned(), look, tmp_path).history
    assert phases == ["head", "head", "fine-tuning", "fine-tuning"]
    assert changed(begin, weights[1]) == {"head"}
    assert changed(weights[1], weights[3]) == {"body", "head"}, "the normalisation stays as it came"
    # A plateau lowers the rate within a phase, and is counted anew in the next one.
    assert history["learning_rate"] == pytest.approx([0.001, 0.001, 0.002, 0.002])


def test_layers_that_were_frozen_stay_so_in_both_phases(dataset: Dataset, tmp_path: Path):
    network = model()
    network.get_layer("body").trainable = False
    begin = network.get_weights()
    fit(network, dataset, SPLIT, tuned(), silent, tmp_path)
    assert changed(begin, network.get_weights()) == {"head"}


# Five ticks an epoch: within the head's last epoch, at its end before anything is kept, after that, and at the end.
@pytest.mark.parametrize("ticks", [8, 10, 12, 20])
def test_a_training_that_was_broken_off_goes_on_in_its_phase(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ticks: int
):
    monkeypatch.setattr("model_trainer.pace.SECONDS_BETWEEN_UPDATES", 0.0)
    monkeypatch.setattr("model_trainer.keeping.LARGEST_SHARE", 1e9)
    asked = tuned(early_stopping=EarlyStopping(patience=3), deterministic=True)
    whole, broken = model(), model()
    never_broken = fit(whole, dataset, SPLIT, asked, silent, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        fit(model(), dataset, SPLIT, asked, of_training._EndsAt(ticks), tmp_path / "b")
    assert fit(broken, dataset, SPLIT, asked, silent, tmp_path / "b") == never_broken
    assert of_training.flat(broken) == of_training.flat(whole)


def test_a_rate_that_is_too_high_is_that_of_its_phase(dataset: Dataset, tmp_path: Path):
    network = model()
    asked = training(
        epochs=2,
        fine_tuning=FineTuning(head_epochs=1, learning_rate=10.0),
        optimizer=Optimizer(name=OptimizerName.SGD, learning_rate=1e-9),
    )

    def spoil(tick: Tick) -> None:
        if tick.epoch == 1 and not tick.step:
            network.get_layer("body").kernel.assign(np.full((100, 4), np.nan))

    with pytest.raises(Diverged, match=r"Lower spec\.training\.fineTuning\.learningRate \(it is 10\), choose"):
        fit(network, dataset, SPLIT, asked, spoil, tmp_path)


def test_a_version_is_fine_tuned_from_another_one(
    few_digits: Path,
    simply_trained: Any,
    stage: Callable[[str, RunSpec], Any],
    spec: Callable[..., RunSpec],
    caplog: pytest.LogCaptureFixture,
):
    again = spec(
        few_digits,
        simply_trained.store,
        number=2,
        owner="uid-2",
        epochs=2,
        initial_weights=InitialWeights(version=1),
        fine_tuning=FineTuning(head_epochs=1, learning_rate=0.0005),
    )
    with caplog.at_level("INFO"):
        assert stage("train", again).code == 0
    said = [record.getMessage() for record in caplog.records]
    assert "phase head: 2 of 3 layers with weights are frozen" in said
    assert "phase fine-tuning: 3 layers with weights learn" in said
    before = keras.models.load_model(simply_trained.store / ".runs/1/model.keras").get_weights()
    after = keras.models.load_model(simply_trained.store / ".runs/2/model.keras").get_weights()
    assert not any(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
