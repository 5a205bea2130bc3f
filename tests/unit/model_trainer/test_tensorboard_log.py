"""The metrics of each epoch, as TensorBoard reads them."""

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from model_store.local import LocalStore
from model_trainer.tensorboard_log import TensorBoardLog


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """Tag, step and value of everything in the event files of a folder."""
    found: list[tuple[str, int, float]] = []
    for file in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            event: Any = tf.compat.v1.Event.FromString(record)
            for one in event.summary.value:
                assert one.metadata.plugin_data.plugin_name in ("scalars", ""), "TensorBoard shows it as a curve"
                found.append((one.tag, event.step, round(float(tf.make_ndarray(one.tensor)), 6)))
    return found


def test_curves_are_in_the_store_while_the_run_goes_on(tmp_path: Path):
    log = TensorBoardLog(LocalStore(tmp_path / "store"), 3, tmp_path / "log")
    log.write(1, {"loss": 0.7, "val_loss": 0.8, "val_accuracy": 0.5})
    log.send()
    run = tmp_path / "store/.runs/3/tensorboard"
    assert scalars(run / "train") == [("epoch_loss", 1, 0.7)]
    log.write(2, {"loss": 0.6, "val_loss": 0.7})
    log.send()
    assert scalars(run / "train") == [("epoch_loss", 1, 0.7), ("epoch_loss", 2, 0.6)]
    assert scalars(run / "validation") == [("epoch_loss", 1, 0.8), ("epoch_accuracy", 1, 0.5), ("epoch_loss", 2, 0.7)]


def test_what_has_not_changed_is_not_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log = TensorBoardLog(LocalStore(tmp_path / "store"), 3, tmp_path / "log")
    log.write(1, {"loss": 0.7, "val_loss": 0.8})
    log.send()
    monkeypatch.setattr(LocalStore, "upload", None)
    log.send()


def test_another_pod_adds_to_the_log_or_begins_anew(tmp_path: Path):
    store = LocalStore(tmp_path / "store")
    for epoch in (1, 2):
        log = TensorBoardLog(store, 3, tmp_path / f"log-{epoch}")
        log.write(epoch, {"loss": 1 / epoch})
        log.send()
    assert scalars(tmp_path / "store/.runs/3/tensorboard/train") == [("epoch_loss", 1, 1.0), ("epoch_loss", 2, 0.5)]
    TensorBoardLog(store, 3, tmp_path / "log-3").remove_earlier()
    assert list(store.list()) == []
