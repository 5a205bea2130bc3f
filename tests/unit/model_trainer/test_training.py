import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_operator.api import (
    Augmentation,
    Checkpoint,
    Data,
    EarlyStopping,
    Loss,
    MixedPrecision,
    Monitor,
    Optimizer,
    OptimizerName,
    ReduceOnPlateau,
    Resources,
    StopAt,
    Training,
)

from model_store.local import LocalStore
from model_trainer.checkpoints import Checkpoints, History
from model_trainer.data.dataset import Dataset, Example
from model_trainer.data.pipeline import Batches, Shuffling
from model_trainer.data.split import Split
from model_trainer.failure import Diverged
from model_trainer.keeping import Keeper, anywhere, beginning, fingerprint
from model_trainer.network import Network
from model_trainer.pace import Pace, Tick
from model_trainer.patience import Patience
from model_trainer.precision import built_for
from model_trainer.training import Trained, train


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


def model(precision: MixedPrecision | None = None) -> Any:
    keras.utils.set_random_seed(1)
    with built_for(precision):
        return keras.Sequential(
            [keras.Input((10, 10, 1)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
        )


def fit(
    network: Any, dataset: Dataset, split: Split, asked: Training, tell: Callable[[Tick], None], folder: Path
) -> Trained:
    """Train with checkpoints in `folder`, from the last one there on."""
    folder.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder))
    checkpoints = Checkpoints(LocalStore(folder / "store"), 1, fingerprint(asked, dataset, split), scratch)
    with Keeper(checkpoints, scratch, Patience(0), asked.checkpoint.every_seconds) as keeper:
        return train(network, dataset, split, asked, tell, keeper=keeper, start=keeper.restore())


def silent(tick: Tick) -> None:
    del tick


@pytest.mark.parametrize(
    "loss",
    [
        Loss.KL_DIVERGENCE,
        Loss.SPARSE_CATEGORICAL_CROSSENTROPY,
        Loss.CATEGORICAL_GENERALIZED_CROSS_ENTROPY,
        Loss.HINGE,
        Loss.TVERSKY,
    ],
)
def test_losses_of_both_kinds_of_labels_learn(dataset: Dataset, loss: Loss, tmp_path: Path):
    history = fit(model(), dataset, SPLIT, training(loss=loss, epochs=4), silent, tmp_path).history
    assert set(history) == {"accuracy", "loss", "val_accuracy", "val_loss"}
    assert history["loss"][-1] < history["loss"][0]


def test_the_same_seed_gives_the_same_history_and_another_one_does_not(dataset: Dataset, tmp_path: Path):
    asked = training(augmentation=Augmentation(rotation=10, width_shift=0.1), epochs=2)

    def history(seed: int) -> History:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        wanted = training(seed=seed, augmentation=asked.augmentation)
        return fit(model(), dataset, SPLIT, wanted, silent, folder).history

    first, again, other = history(1), history(1), history(2)
    assert first["loss"] == pytest.approx(again["loss"], abs=1e-5)
    assert first["loss"] != pytest.approx(other["loss"], abs=1e-5)


def test_early_stopping_stops_and_restores_the_best_weights(dataset: Dataset, tmp_path: Path):
    network = model()
    asked = training(
        epochs=50,
        optimizer=Optimizer(name=OptimizerName.SGD, learning_rate=0.5),
        early_stopping=EarlyStopping(monitor=Monitor.VAL_LOSS, patience=2, min_delta=0.01),
    )
    trained = fit(network, dataset, SPLIT, asked, silent, tmp_path)
    history = trained.history
    assert len(history["loss"]) < 50
    assert trained.ended == f"val_loss has not got better since epoch {len(history['loss']) - 2}"
    images = dataset.pixels[SPLIT.validation] / np.float32(255)
    labels = keras.utils.to_categorical(dataset.labels(SPLIT.validation), 3)
    best = min(history["val_loss"])
    assert network.evaluate(images, labels, verbose=0)[0] <= best + 0.011


def test_accuracy_is_better_when_it_is_higher(dataset: Dataset, tmp_path: Path):
    stopping = EarlyStopping(monitor=Monitor.ACCURACY, patience=3)
    asked = training(epochs=60, early_stopping=stopping)
    history = fit(model(), dataset, SPLIT, asked, silent, tmp_path).history["accuracy"]
    assert history.index(max(history)) == len(history) - 4 or len(history) == 60


def test_a_loss_that_is_no_number_ends_it_with_whose_files_and_what_to_change(dataset: Dataset, tmp_path: Path):
    asked = training(
        epochs=30, loss=Loss.MEAN_SQUARED_ERROR, optimizer=Optimizer(name=OptimizerName.SGD, learning_rate=1.0)
    )
    network = model()
    network.layers[-1].set_weights([np.full((100, 3), np.nan), np.zeros(3)])
    with pytest.raises(Diverged) as caught:
        fit(network, dataset, SPLIT, asked, silent, tmp_path)
    batches = Batches(
        dataset.pixels, SPLIT.train, dataset.labels(SPLIT.train), batch_size=8, shuffling=Shuffling(42, Augmentation())
    )
    first = [f"{i % 3}/{i}.png" for i in SPLIT.train[batches.batch(0, 0)][:5]]
    assert str(caught.value) == (
        f"The loss is no longer a number at step 1 of 5 in epoch 1 of 30, with the files {', '.join(first)} and 3 "
        "more. Lower spec.training.optimizer.learningRate (it is 1), choose another spec.training.optimizer.name, "
        "or look at these files."
    )


def test_each_epoch_is_told_with_its_metrics_and_the_seconds_left(dataset: Dataset, tmp_path: Path):
    ticks: list[Tick] = []
    fit(model(), dataset, SPLIT, training(epochs=3), ticks.append, tmp_path)
    ends = [tick for tick in ticks if tick.step == 0]
    assert [tick.epoch for tick in ends] == [1, 2, 3]
    assert all(set(tick.metrics) == {"accuracy", "loss", "val_accuracy", "val_loss"} for tick in ends)
    assert ends[0].seconds_left is not None
    assert ends[0].seconds_left > 0
    assert ends[-1].seconds_left == 0


def test_the_pace_is_of_all_examples_since_the_first_step(monkeypatch: pytest.MonkeyPatch):
    """Four steps of 10 examples an epoch, each of 2 s; the first one takes longer, and an epoch ends with 2 s more."""
    now = [0.0]
    monkeypatch.setattr("model_trainer.pace.time.monotonic", lambda: now[0])
    ticks: list[Tick] = []
    pace = Pace(epochs=3, steps=4, examples=40, done=0.0, tell=ticks.append)
    now[0] = 100.0
    for epoch in range(3):
        for step in range(1, 5):
            pace.step_ended(epoch, step)
            now[0] += 2.0
        pace.epoch_ended(epoch + 1, {})
    first, *_, last = ticks[1:]
    assert (ticks[0].per_second, ticks[0].seconds_left) == (None, None)
    assert (first.epoch, first.step, first.steps, first.per_second) == (0, 2, 4, 5.0)
    assert (last.epoch, last.step, last.seconds_left) == (3, 0, 0.0)
    assert last.per_second == pytest.approx(110 / 24)


def test_progress_within_an_epoch_is_told(dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("model_trainer.pace.SECONDS_BETWEEN_UPDATES", 0.0)
    ticks: list[Tick] = []
    fit(model(), dataset, SPLIT, training(epochs=1), ticks.append, tmp_path)
    assert [(tick.step, tick.steps) for tick in ticks] == [(1, 5), (2, 5), (3, 5), (4, 5), (0, 5)]


def flat(network: Any) -> list[list[float]]:
    return [variable.numpy().ravel().tolist() for variable in network.variables]


class _EndsAt:
    """Ends the process's training, in the middle of whatever it does, when so many steps have been told."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def __call__(self, tick: Tick) -> None:
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("steps", "precision"), [(3, None), (5, None), (7, None), (14, None), (7, MixedPrecision.MIXED_FLOAT16)]
)
def test_a_training_that_was_broken_off_goes_on_as_if_it_had_not_been(
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    precision: MixedPrecision | None,
):
    monkeypatch.setattr("model_trainer.pace.SECONDS_BETWEEN_UPDATES", 0.0)
    monkeypatch.setattr("model_trainer.keeping.LARGEST_SHARE", 1e9)
    asked = training(
        epochs=4,
        mixed_precision=precision,
        checkpoint=Checkpoint(every_seconds=10),
        early_stopping=EarlyStopping(patience=3),
        reduce_on_plateau=ReduceOnPlateau(monitor=Monitor.ACCURACY, patience=1, factor=0.5),
        augmentation=Augmentation(rotation=10),
    )
    monkeypatch.setattr("model_trainer.keeping.Keeper.step_ended", lambda self, of, state: self.keep(of, state()))
    whole = model(precision)
    never_broken = fit(whole, dataset, SPLIT, asked, silent, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        fit(model(precision), dataset, SPLIT, asked, _EndsAt(steps), tmp_path / "b")
    ticks: list[Tick] = []
    broken = model(precision)
    broken.set_weights([np.zeros_like(weights) for weights in broken.get_weights()])
    assert fit(broken, dataset, SPLIT, asked, ticks.append, tmp_path / "b") == never_broken
    assert flat(broken) == flat(whole)
    assert len(ticks) < 20 - steps + 2, "what was done is not done again"


def test_a_finished_training_is_not_repeated(dataset: Dataset, tmp_path: Path):
    asked = training(early_stopping=EarlyStopping())
    first, again = model(), model()
    trained = fit(first, dataset, SPLIT, asked, silent, tmp_path)
    ticks: list[Tick] = []
    assert fit(again, dataset, SPLIT, asked, ticks.append, tmp_path) == trained
    assert (ticks, flat(again)) == ([], flat(first))


def test_other_images_begin_anew(dataset: Dataset, tmp_path: Path):
    fit(model(), dataset, SPLIT, training(), silent, tmp_path)
    ticks: list[Tick] = []
    other = Split(SPLIT.train[1:], SPLIT.validation, SPLIT.test)
    fit(model(), dataset, other, training(), ticks.append, tmp_path)
    assert [tick.epoch for tick in ticks if not tick.step] == [1, 2]


def test_a_training_begins_alike_wherever_it_runs_and_not_with_another_network_source_or_rate(dataset: Dataset):
    network = model()

    def begins(asked: Training, builder: str | None = None) -> str:
        return beginning(fingerprint(anywhere(asked), dataset, SPLIT), Network(network, builder))

    usual = begins(training())
    roomy = Resources(limits={"memory": "2Gi", "ephemeral-storage": "9Gi"})
    often = Checkpoint(every_seconds=10)
    assert begins(training(resources=roomy, node_selector={"disk": "ssd"}, checkpoint=often)) == usual
    assert begins(training(active_deadline_seconds=60, queue_name="night", priority_class_name="low")) == usual
    others = [training(seed=7), training(epochs=9), training(batch_size=3)]
    assert len({usual, begins(training(), "sha256:1"), *map(begins, others)}) == 5
    (weights, *_) = network.trainable_variables
    weights.assign(np.asarray(weights) + 1)
    assert begins(training()) != usual


def test_it_stops_as_soon_as_a_metric_is_good_enough(dataset: Dataset, tmp_path: Path):
    wanted = StopAt(monitor=Monitor.VAL_ACCURACY, value=0.6)
    asked = training(epochs=100, stop_at=wanted, optimizer=Optimizer(learning_rate=0.01))
    trained = fit(model(), dataset, SPLIT, asked, silent, tmp_path)
    reached = trained.history["val_accuracy"]
    assert [value >= 0.6 for value in reached] == [False] * (len(reached) - 1) + [True]
    assert trained.ended == f"val_accuracy reached {reached[-1]:.4g} (stopAt 0.6)"


def test_a_plateau_lowers_the_learning_rate(dataset: Dataset, tmp_path: Path):
    plateau = ReduceOnPlateau(monitor=Monitor.VAL_LOSS, patience=1, factor=0.5, min_delta=1000)
    trained = fit(model(), dataset, SPLIT, training(epochs=4, reduce_on_plateau=plateau), silent, tmp_path)
    assert trained.history["learning_rate"] == pytest.approx([0.001, 0.001, 0.0005, 0.00025])


def test_a_training_whose_time_is_over_ends_with_the_best_so_far(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clock = iter(range(1_000_000))
    monkeypatch.setattr("model_trainer.training.time.monotonic", lambda: float(next(clock)))
    network = model()
    trained = fit(network, dataset, SPLIT, training(epochs=1000, max_duration_seconds=60), silent, tmp_path)
    assert len(trained.history["loss"]) < 20
    assert trained.ended == "maxDurationSeconds (60 s) were over, and the best epoch until then counts"
    images = dataset.pixels[SPLIT.validation] / np.float32(255)
    labels = keras.utils.to_categorical(dataset.labels(SPLIT.validation), 3)
    assert network.evaluate(images, labels, verbose=0)[0] == pytest.approx(min(trained.history["val_loss"]), rel=1e-4)
