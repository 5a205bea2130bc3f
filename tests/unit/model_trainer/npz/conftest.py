"""Arrays as people have them: scikit-learn's digits, as images and as rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_operator.api import (
    Architecture,
    ArchitectureName,
    Data,
    DataFormat,
    Optimizer,
    RunSpec,
    Store,
    Training,
)
from sklearn.datasets import load_digits

from model_trainer.npz.reading import read_npz
from tests.unit.model_trainer.conftest import Trained, run_stage


def spec_of(uri: Path | str, store: Path | str, /, **training: Any) -> RunSpec:
    of_data = training.pop("data", {})
    network = {"name": ArchitectureName.SMALL_CNN, **training.pop("network", {})}
    endpoint = training.pop("endpoint", None)
    return RunSpec(
        model_name="digits",
        model="people/digits",
        number=training.pop("number", 1),
        owner="uid-1",
        store=Store(uri=store.as_uri() if isinstance(store, Path) else store, endpoint=endpoint),
        serving=training.pop("serving", None),
        training=Training(
            data=Data(uri=uri.as_uri() if isinstance(uri, Path) else uri, format=DataFormat.NPZ, **of_data),
            architecture=Architecture(**network),
            **{"epochs": 1, "batch_size": 32, **training},
        ),
    )


@pytest.fixture(scope="session")
def npz_spec() -> Callable[..., RunSpec]:
    """A RunSpec: (file, store, data={…}, network={…}, epochs=, …)."""
    return spec_of


MLP = {"name": ArchitectureName.MLP, "hidden_units": (32,)}


@pytest.fixture
def read(context: Any) -> Callable[..., Any]:
    """Write arrays and read them in this process: (folder, arrays by name, mlp=False, more fields of data)."""

    def read(folder: Path, arrays: dict[str, Any], *, mlp: bool = False, **data: Any) -> Any:
        path = folder / "data.npz"
        np.savez_compressed(path, **arrays)
        training = spec_of(path, folder, data=data, network=MLP if mlp else {}).training
        assert training is not None
        return read_npz(training, None, context)

    return read


def digits() -> tuple[Any, Any]:
    """uint8 [1797, 8, 8] and int64 [1797]."""
    data = load_digits()
    return (data.images * 255 / 16).round().astype(np.uint8), data.target.astype(np.int64)


@pytest.fixture(scope="session")
def digit_arrays() -> dict[str, Any]:
    """The digits with a test part of their own."""
    images, labels = digits()
    return {"x_train": images[:1500], "y_train": labels[:1500], "x_test": images[1500:], "y_test": labels[1500:, None]}


@pytest.fixture(scope="session")
def trained_images(digit_arrays: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """SmallCNN on digits at 16 by 16; costs some ten seconds, once."""
    folder = tmp_path_factory.mktemp("npz-images")
    larger: dict[str, Any] = {
        name: array if name.startswith("y") else np.kron(array, np.ones((1, 2, 2), np.uint8))
        for name, array in digit_arrays.items()
    }
    np.savez_compressed(folder / "digits.npz", **larger)
    run = spec_of(folder / "digits.npz", folder / "store", epochs=4, optimizer=Optimizer(learning_rate=0.01))
    return Trained(folder / "store", run, run_stage("train", run, folder))


@pytest.fixture(scope="session")
def trained_rows(digit_arrays: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """An MLP on digits as rows of 64 numbers, in Fortran's order and as doubles; costs some seconds, once."""
    folder = tmp_path_factory.mktemp("npz-rows")
    rows: dict[str, Any] = {
        name: array if name.startswith("y") else np.asfortranarray(array.reshape(len(array), -1) / 16.0)
        for name, array in digit_arrays.items()
    }
    np.savez(folder / "digits.npz", **rows)
    run = spec_of(
        folder / "digits.npz", folder / "store", network=MLP, epochs=8, optimizer=Optimizer(learning_rate=0.01)
    )
    return Trained(folder / "store", run, run_stage("train", run, folder))
