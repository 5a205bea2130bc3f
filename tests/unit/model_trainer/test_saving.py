import errno
import shutil
from pathlib import Path
from typing import Any

import keras
import pytest

from model_trainer.saving import COPIES, OVERHEAD, save


@pytest.fixture
def model() -> Any:
    """10 x 20 weights and 20 biases, with Adam's two slots for each and its two numbers."""
    network = keras.Sequential([keras.Input((10,)), keras.layers.Dense(20)])
    network.compile("adam", "mean_squared_error")
    network.optimizer.build(network.trainable_variables)
    return network


def with_free(bytes_free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=bytes_free))


def test_both_formats_are_written_where_there_is_room(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with_free(OVERHEAD + COPIES * (3 * 220 * 4 + 12), monkeypatch)
    assert [path.name for path in save(model, tmp_path)] == ["model.keras", "model.h5"]
    assert all(path.stat().st_size > 0 for path in tmp_path.iterdir())


def test_nothing_is_written_where_there_is_not(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with_free(OVERHEAD + COPIES * 3 * 220 * 4 - 1, monkeypatch)
    with pytest.raises(OSError, match="No space left on device") as caught:
        save(model, tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
