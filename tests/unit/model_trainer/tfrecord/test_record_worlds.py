"""Records that two workers share, one of which is killed, end as one worker's: images, and rows of features."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_operator.api import Augmentation, Checkpoint, Optimizer, RunSpec

from tests.unit.model_trainer.conftest import encode
from tests.unit.model_trainer.test_workers import world
from tests.unit.model_trainer.tfrecord.conftest import MLP, Y, digits, numbers, record_spec, write

_EPOCHS = 4


@pytest.fixture
def image_spec(tmp_path: Path) -> Any:
    """A run in the store of this name, by so many workers: digits in two files, the last batch one image."""
    pixels, labels = digits()
    rows = [
        {"image/encoded": encode(each), "image/class/label": int(label)}
        for each, label in zip(pixels[:120], labels[:120], strict=True)
    ]
    for shard in range(2):
        write(tmp_path / "digits" / f"digits-{shard:05}-of-00002", rows[shard::2], "GZIP" if shard else "")

    def of(name: str, workers: int) -> RunSpec:
        return record_spec(
            tmp_path / "digits",
            tmp_path / name,
            data={},
            workers=workers,
            epochs=_EPOCHS,
            batch_size=5,
            augmentation=Augmentation(rotation=10),
            optimizer=Optimizer(learning_rate=0.003, clipnorm=1.0),
            checkpoint=Checkpoint(every_seconds=10),
            deterministic=True,
        )

    return of


@pytest.fixture
def row_spec(tmp_path: Path) -> Any:
    """The same of rows with an array, a number and a word."""
    write(tmp_path / "rows.tfrecord", numbers(60))

    def of(name: str, workers: int) -> RunSpec:
        return record_spec(
            tmp_path / "rows.tfrecord",
            tmp_path / name,
            data={"table": Y},
            network=MLP,
            workers=workers,
            epochs=_EPOCHS,
            batch_size=8,
            deterministic=True,
        )

    return of


def compare(alone: Any, store: Path, together: Path, metrics: dict[str, float]) -> None:
    one, two = (json.loads((where / ".runs" / "1" / "history.json").read_bytes()) for where in (store, together))
    assert one.keys() == two.keys()
    for name, values in one.items():
        assert len(values) == _EPOCHS, name
        np.testing.assert_allclose(two[name], values, atol=1e-3, err_msg=name)
    for name, value in alone.result.metrics.items():
        assert metrics[name] == pytest.approx(value, abs=1e-3), name


# Four processes beside this one's, each of which imports TensorFlow.
@pytest.mark.timeout(900)
def test_workers_learn_from_images_in_records_what_one_does_also_when_one_is_killed(
    tmp_path: Path, image_spec: Any, stage: Any
):
    alone = stage("train", image_spec("alone", 1))
    assert alone.code == 0, alone.message

    with world(image_spec("together", 2), tmp_path / "first") as (chief, other):
        chief.until_epoch(2)
        other.process.send_signal(signal.SIGKILL)
        code, result = chief.end()
        assert code == 76, "its end is the consequence of another's"
        assert result.error is not None
        assert result.error.reason == "Interrupted"
    with world(image_spec("together", 2), tmp_path / "second") as (chief, other):
        code, result = chief.end()
        assert (code, other.end()[0]) == (0, 0)
    compare(alone, tmp_path / "alone", tmp_path / "together", result.metrics)


@pytest.mark.timeout(900)
def test_workers_learn_from_rows_in_records_what_one_does(tmp_path: Path, row_spec: Any, stage: Any):
    alone = stage("train", row_spec("alone", 1))
    assert alone.code == 0, alone.message
    with world(row_spec("together", 2), tmp_path / "world") as (chief, other):
        code, result = chief.end()
        assert (code, other.end()[0]) == (0, 0)
    compare(alone, tmp_path / "alone", tmp_path / "together", result.metrics)
