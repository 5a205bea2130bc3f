"""A model of two numbers that somebody else trained, and rows of which it gets all but one right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import pytest
from keras_operator.api import EvaluationData, EvaluationFormat, EvaluationTable, RunSpec, TargetKind

# The second class is what has the larger sum; the last row says so and is of the first.
ROWS = np.array([[0, 1], [1, 0], [-2, 1], [0, 0], [3, 2], [2, 2], [4, 0], [5, 1]], np.float32)
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 0])
ACCURACY = 7 / 8
SUMS = ROWS.sum(axis=1)
TEXT = "width,length,kind,sum\n" + "".join(
    f"{width:g},{length:g},{('small', 'large')[label]},{width + length:g}\n"
    for (width, length), label in zip(ROWS, LABELS, strict=True)
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def export(store: Path, stage: Callable[..., Any], spec: Callable[..., RunSpec]) -> Callable[..., Any]:
    """Export a source as version 1: (model, test data, table=, number=, gates=, serving=, classes=, …)."""

    def run(path: Path, test: Path, **given: Any) -> Any:
        of_run = {name: given.pop(name) for name in ("gates", "serving") if name in given}
        made = spec(None, store, source=path, number=given.pop("number", 1))
        assert made.source is not None
        forms = {".npz": EvaluationFormat.NPZ, ".csv": EvaluationFormat.CSV}
        form = forms.get(test.suffix, EvaluationFormat.IMAGE_FOLDER)
        data = EvaluationData(uri=test.as_uri(), format=form, table=given.pop("table", None))
        source = msgspec.structs.replace(made.source, test_data=data, **given)
        return stage("export", msgspec.structs.replace(made, source=source, **of_run))

    return run


def saved(folder: Path, activation: str = "softmax", weights: Any = ((-1, 1), (-1, 1)), bias: Any = (1, -1)) -> Path:
    """A file of a model of two numbers, by the weights [2, outputs] of its one layer."""
    kernel = np.array(weights, np.float32)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(kernel.shape[1], activation=activation)])
    model.layers[-1].set_weights([kernel, np.array(bias, np.float32)])
    path = folder / f"{activation}.keras"
    model.save(path)
    return path


def arrays(folder: Path, x: Any = ROWS, y: Any = LABELS, **others: Any) -> Path:
    given = {"x_test": x, "y_test": y, **others}
    np.savez(folder / "test.npz", **{name: array for name, array in given.items() if array is not None})
    return folder / "test.npz"


def table(folder: Path, text: str = TEXT) -> Path:
    (folder / "test.csv").write_text(text)
    return folder / "test.csv"


KIND = EvaluationTable(target="kind", columns=("width", "length"))
SUM = EvaluationTable(target="sum", target_kind=TargetKind.NUMERIC, columns=("width", "length"))
