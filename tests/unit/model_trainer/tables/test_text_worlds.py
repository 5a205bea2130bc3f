"""A run on texts that is interrupted, or that two workers share, ends as one that never was and one worker's."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_operator.api import Optimizer, RunSpec, Table

from tests.unit.model_trainer.tables.conftest import spec_of, write
from tests.unit.model_trainer.test_killed_runs import Run, after_epoch, epochs, never
from tests.unit.model_trainer.test_workers import world

_EPOCHS = 30
_OPINIONS = [("a great thing", "yes"), ("Broken.", "no"), ("", "no"), ("great, but so very late and broken", "no")]


@pytest.fixture
def run_spec(tmp_path: Path) -> Any:
    """A run in the store of this name, by so many workers: texts of many lengths, some without a word."""
    rows = [
        [f"{text} {'again ' * (row % 7)}" if text else "", row, liked] for row in range(40) for text, liked in _OPINIONS
    ]
    data = write(tmp_path / "reviews.csv", [["review", "price", "liked"], *rows])

    def of(name: str, workers: int = 1) -> RunSpec:
        return spec_of(
            data,
            tmp_path / name,
            Table(target="liked", text=("review",), max_tokens=6, sequence_length=30),
            workers=workers,
            epochs=_EPOCHS,
            optimizer=Optimizer(learning_rate=0.003),
            deterministic=True,
        )

    return of


def history_of(store: Path) -> bytes:
    return (store / ".runs" / "1" / "history.json").read_bytes()


# Four processes, each of which imports TensorFlow.
@pytest.mark.timeout(900)
def test_neither_an_interruption_nor_a_second_worker_makes_another_model(tmp_path: Path, run_spec: Any, stage: Any):
    alone = stage("train", run_spec("alone"))
    assert alone.code == 0, alone.message

    broken = Run(run_spec("broken"), tmp_path / "broken-run")
    code, lines = broken.until(after_epoch(2), signal.SIGTERM)
    assert code == 75
    before = epochs(lines)
    code, lines = broken.until(never, signal.SIGKILL)
    assert code == 0
    assert [*before, *epochs(lines)] == list(range(1, _EPOCHS + 1))
    assert history_of(tmp_path / "broken") == history_of(tmp_path / "alone")
    assert broken.result.metrics == alone.result.metrics

    with world(run_spec("together", 2), tmp_path / "world") as (chief, other):
        code, result = chief.end()
        assert (code, other.end()[0]) == (0, 0)
    one, two = (json.loads(history_of(tmp_path / name)) for name in ("alone", "together"))
    assert one.keys() == two.keys()
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, atol=1e-3, err_msg=name)
    for name, value in alone.result.metrics.items():
        assert result.metrics[name] == pytest.approx(value, abs=1e-3), name
